"""Further workers on a study that was started elsewhere, as on another machine."""

from __future__ import annotations

from collections.abc import Callable

from autosearch.errors import DefinitionError
from autosearch.search.devices import worker_environments
from autosearch.search.engine import Engine
from autosearch.search.runner import (
    DEFAULT_TRIAL_TIMEOUT_S,
    ProgressCallback,
    RunClock,
    plan_limits,
    supervise,
)
from autosearch.search.same import check_same
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
        trial_timeout_s: As for ``run``.
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
    check_same(study, view)
    # Files would be left where nobody finds them.
    files = view.candidates_frame()["artifact_sha256"].dropna()
    if len(files):
        store.get(str(files.iloc[-1]))
    recorder = Recorder(database, view.id)
    limits = plan_limits(study, view.progress(), trials=None, workers=workers)
    clock = RunClock(recorder, is_over=lambda: limits.are_reached(view.progress()))

    def on_tick() -> None:
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
        clock.write()
        on_tick()
    return view
