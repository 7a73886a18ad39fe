"""Further workers on a study that was started elsewhere, as on another machine."""

from __future__ import annotations

from collections.abc import Callable

from autosearch.changes import changes
from autosearch.errors import ChangedDefinitionError, DefinitionError
from autosearch.search.devices import worker_environments
from autosearch.search.engine import Engine
from autosearch.search.runner import (
    DEFAULT_TRIAL_TIMEOUT_S,
    ProgressCallback,
    RunClock,
    plan_limits,
    supervise,
)
from autosearch.search.samplers import check_sampler
from autosearch.store.artifacts import ArtifactStore
from autosearch.store.database import Database
from autosearch.store.placement import refuse_shared_folder
from autosearch.store.recorder import Recorder
from autosearch.store.view import StudyView
from autosearch.study import Study

__all__ = ["join"]


def join(
    study: Study,
    *,
    storage: str | None = None,
    artifacts: str | None = None,
    workers: int = 1,
    workers_per_gpu: int | None = None,
    trial_timeout_s: float = DEFAULT_TRIAL_TIMEOUT_S,
    on_progress: ProgressCallback | None = None,
    on_message: Callable[[str], None] | None = None,
) -> StudyView:
    """Works on a study that ``run`` has started, until its budget is spent or it is to stop.

    The same workers as those of ``run``, with a supervisor of their own; definition and images
    must be the same. Finalists are left to ``run``.

    Args:
        study: From a file, the same as the one that was started.
        storage: Database URL; by default ``AUTOSEARCH_STORAGE``, else SQLite in this folder.
        artifacts: Where the study's files go; by default beside the database.
        workers: Worker processes here.
        workers_per_gpu: How many may share a GPU here; by default as many as must.
        trial_timeout_s: How long a trial may run.
        on_progress: As for ``run``.
        on_message: Likewise.

    Returns:
        A read-only view of the study.

    Raises:
        NotFoundError: There is no such database, study or artifact store.
        ChangedDefinitionError: The definition or the images are other ones.
        StorageError: The database is no place for several workers.
    """
    check_sampler(study.sampler, num_objectives=len(study.objectives))
    if not study.is_declarative and study.source_file is None:
        raise DefinitionError(
            f'study "{study.name}" holds functions that only this process knows; put it into a '
            "file, and load it with load_study_file"
        )
    database = Database.open_existing(storage)
    refuse_shared_folder(database)
    store = ArtifactStore.beside(database, artifacts)
    view = StudyView(database, store, study.name)
    study = study.keeping_sides(view.sides())
    _check_same(study, view, store)
    recorder = Recorder(database, view.id)
    limits = plan_limits(study, view.progress(), trials=None, workers=workers)
    # Beside others the minutes are those of their run.
    clock = None if recorder.num_living_workers() else RunClock(recorder)

    def on_tick() -> None:
        if clock is not None:
            clock.tick()
        if on_progress is not None:
            on_progress(view, view.progress(), limits)

    try:
        supervise(
            study,
            database,
            store,
            view=view,
            engine=Engine(study, database, seed=view.seed),
            recorder=recorder,
            limits=limits,
            finals=None,
            environments=worker_environments(workers, workers_per_gpu),
            is_one_of_several=True,
            trial_timeout_s=trial_timeout_s,
            on_tick=on_tick,
            on_message=on_message,
        )
    finally:
        if clock is not None:
            clock.write()
        on_tick()
    return view


def _check_same(study: Study, view: StudyView, store: ArtifactStore) -> None:
    """Refuses what would mix trials of two studies, or leave files where nobody finds them."""
    if study.definition_sha256() != view.definition_sha256:
        listed = "; ".join(changes(view.definition, study.definition())) or "its code"
        raise ChangedDefinitionError(
            f'study "{study.name}" differs from the one in the database ({listed}); '
            "work with the file that it was started from"
        )
    if study.dataset is not None and study.dataset.fingerprint() != view.data_fingerprint:
        raise ChangedDefinitionError(
            f'the images of study "{study.name}" are not those that it was started on; '
            "copy the same ones to this machine"
        )
    files = view.candidates_frame()["artifact_sha256"].dropna()
    if len(files):
        store.get(str(files.iloc[-1]))
