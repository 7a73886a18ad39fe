"""Starting and resuming a study: what ``autosearch run`` and ``autosearch.run`` do."""

from __future__ import annotations

import contextlib
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from importlib import metadata
from typing import Any

from autosearch.changes import changes, is_growth
from autosearch.data.files import FileDataset, describe_growth
from autosearch.errors import (
    ChangedDefinitionError,
    DefinitionError,
    NotFoundError,
    StorageError,
)
from autosearch.search.devices import memory_bytes, worker_environments
from autosearch.search.engine import Engine, best_trials
from autosearch.search.evaluators import make_evaluator
from autosearch.search.finals import Finals, plan_finals
from autosearch.search.origins import check_origins, split_words
from autosearch.search.process import Order
from autosearch.search.pruning import check_pruner
from autosearch.search.samplers import check_sampler
from autosearch.search.supervisor import Supervisor
from autosearch.search.warm_start import WarmStart, plan_warm_start
from autosearch.search.worker import Limits, Worker
from autosearch.store.artifacts import ArtifactStore
from autosearch.store.configs import read_configs
from autosearch.store.database import Database, is_plain_optuna
from autosearch.store.judging import judge_anew
from autosearch.store.placement import refuse_shared_folder
from autosearch.store.recorder import Recorder
from autosearch.store.view import Progress, StudyView
from autosearch.study import Study

__all__ = [
    "DEFAULT_TRIAL_TIMEOUT_S",
    "ProgressCallback",
    "RunClock",
    "environment",
    "plan_limits",
    "run",
    "supervise",
]

DEFAULT_TRIAL_TIMEOUT_S = 3600.0
_CLOCK_WRITTEN_S = 10.0
_MIN_MEMORY_BYTES = 1_500_000_000

ProgressCallback = Callable[[StudyView, Progress, Limits], None]


def run(
    study: Study,
    *,
    storage: str | None = None,
    artifacts: str | None = None,
    trials: int | None = None,
    workers: int = 1,
    workers_per_gpu: int | None = None,
    seed: int | None = None,
    accept_changes: bool = False,
    accept_data: bool = False,
    trial_timeout_s: float = DEFAULT_TRIAL_TIMEOUT_S,
    warm_start: str | None = None,
    warm_start_storage: str | None = None,
    on_progress: ProgressCallback | None = None,
    on_message: Callable[[str], None] | None = None,
) -> StudyView:
    """Runs a study, or goes on with it where it stopped.

    A study that its definition or its file can make again is evaluated in worker processes that
    are replaced when they die; one with functions typed elsewhere is evaluated in this process.

    Args:
        study: What to search.
        storage: Database URL; by default ``AUTOSEARCH_STORAGE``, else SQLite in this folder.
        artifacts: Where files go: a folder or fsspec URL; by default beside the database.
        trials: That many trials more; by default what is left of the study's budget.
        workers: Worker processes, each of which samples, evaluates and records by itself; they
            share out the cores, and the GPUs. Several need a study that its definition or its
            file can make again.
        workers_per_gpu: How many workers may share a GPU; by default as many as must.
        seed: Makes sampling and training repeatable; 0 for a new study, a resumed one keeps its.
        accept_changes: Go on although the definition differs from the one in the database. Without
            it only the space may differ, and only by choices more and ranges that reach further;
            earlier trials go on teaching the sampler.
        accept_data: Go on although images were added or removed. Those that were there stay on
            their side of the split, and earlier trials keep their figures.
        trial_timeout_s: How long a trial in a worker process may go without the end of an epoch.
        warm_start: Begin with the best configurations of the study of that name, which may be one
            of Optuna's alone; parameters that do not fit by name and range are sampled.
        warm_start_storage: The database URL of that study; by default the same as ``storage``.
        on_progress: Called a few times a second with the view, its progress and the limits.
        on_message: Called with a sentence of what is done besides, such as what was taken over.

    Returns:
        A read-only view of the study.

    Raises:
        DefinitionError: The study, or an argument, makes no sense.
        ChangedDefinitionError: The study of that name is defined otherwise in the database.
        NothingTrainedError: Every one of the first trials failed.
        StorageError: The database or the artifact store cannot be used.
        KeyboardInterrupt: After what ran was put back, to be gone on with.
    """
    if not isinstance(study, Study):
        raise DefinitionError(
            f"the study is {study!r}; expected a Study, as "
            "autosearch.study.load_study_file(FILE) makes one of a file"
        )
    is_for_processes = study.is_declarative or study.source_file is not None
    _check_workers(study, workers, workers_per_gpu, is_for_processes=is_for_processes)
    if trials is not None and (not isinstance(trials, int) or trials < 1):
        raise DefinitionError(f"trials is {trials!r}; expected a whole number from 1 on")
    if seed is not None and (not isinstance(seed, int) or not 0 <= seed < 2**31):
        raise DefinitionError(f"seed is {seed!r}; expected a whole number from 0 to {2**31 - 1}")
    check_sampler(study.sampler, num_objectives=len(study.objectives))
    check_pruner(study)
    if study.space is not None:
        study.space.dry_run()
    database = Database.open_to_write(storage)
    if workers > 1:
        refuse_shared_folder(database)
    start = _plan_warm_start(study, database, warm_start, warm_start_storage)
    store = ArtifactStore.beside(database, artifacts)
    earlier = _earlier(database, store, study.name)
    before = earlier.data_sides() if earlier is not None else None
    study = study.keeping_sides(earlier.sides() if earlier is not None else None)
    fingerprint = study.dataset.fingerprint() if study.dataset is not None else None
    has_changed = False
    if earlier is not None:
        has_changed = _check_definition(study, earlier, seed=seed, accept_changes=accept_changes)
        if has_changed:
            _check_nobody_works(study, database, earlier)
        if study.dataset is not None and fingerprint != earlier.data_fingerprint:
            _check_data(study, before, accept_data=accept_data)
        seed = earlier.seed
    check_origins(study)
    seed = 0 if seed is None else seed
    # Before the new definition is kept: a run that is cut off in between would not know of it.
    engine = Engine(study, database, seed=seed)
    if has_changed:
        engine.redefine()
    judge = partial(judge_anew, objectives=study.objectives, constraints=study.constraints)
    study_id = Recorder.save_study(
        database,
        name=study.name,
        seed=seed,
        definition=study.definition(),
        definition_sha256=study.definition_sha256(),
        data_fingerprint=fingerprint,
        data_sides=_data_sides(study, earlier),
        environment=environment(),
        judge=judge if accept_changes else None,
    )
    recorder = Recorder(database, study_id)
    view = StudyView(database, store, study.name)
    if has_changed:
        # Optuna's rows were written, and it has read them.
        engine.reopen()
        if on_message is not None:
            on_message("The definition has changed; the trials so far go on teaching the sampler.")
    if start is not None:
        num_taken = engine.start_from(start.points)
        if on_message is not None:
            on_message(start.line(num_taken))
    limits = plan_limits(study, view.progress(), trials=trials, workers=workers)
    finals = plan_finals(study, on_message=on_message)
    clock = RunClock(recorder, is_over=lambda: limits.are_reached(view.progress()))

    def on_tick() -> None:
        clock.tick()
        if on_progress is not None:
            on_progress(view, view.progress(), limits)

    try:
        if is_for_processes:
            supervise(
                study,
                database,
                store,
                view=view,
                engine=engine,
                recorder=recorder,
                limits=limits,
                finals=finals,
                environments=worker_environments(workers, workers_per_gpu),
                is_one_of_several=workers > 1,
                trial_timeout_s=trial_timeout_s,
                on_tick=on_tick,
                on_message=on_message,
            )
        else:
            engine.recover(recorder, view, reason="an earlier run was cut off")

            def should_stop() -> bool:
                clock.tick()
                return False

            worker = Worker(
                study,
                database,
                store,
                study_id=study_id,
                seed=seed,
                evaluator=make_evaluator(study),
                limits=replace(limits, memory_bytes=None),
                finals=finals,
                should_stop=should_stop,
            )
            try:
                worker.run()
            except KeyboardInterrupt:
                engine.recover(
                    recorder, view, reason="the run was interrupted", was_asked_to_end=True
                )
                raise
    finally:
        clock.write()
        on_tick()
    return view


class RunClock:
    """Adds the time that a run takes to what its study has used, while it runs.

    So a plug that is pulled costs a budget of minutes no more than a few seconds, and whoever
    joins knows what is left.

    Args:
        recorder: Writes the study's rows.
        is_over: Whether the search has come to its end: finals come after a study's minutes, and
            a larger budget must not find them spent.
    """

    def __init__(self, recorder: Recorder, *, is_over: Callable[[], bool] = lambda: False) -> None:
        self._recorder = recorder
        self._is_over = is_over
        self._was_over = False
        self._written = time.monotonic()

    def tick(self) -> None:
        """To be called often; writes seldom."""
        if time.monotonic() - self._written >= _CLOCK_WRITTEN_S:
            # What cannot be written now is written later.
            with contextlib.suppress(StorageError):
                self.write()

    def write(self) -> None:
        """Adds what has passed since the last time."""
        now = time.monotonic()
        if not self._was_over:
            self._recorder.add_run_seconds(now - self._written)
        self._was_over = self._is_over()
        self._written = now


def supervise(
    study: Study,
    database: Database,
    store: ArtifactStore,
    *,
    view: StudyView,
    engine: Engine,
    recorder: Recorder,
    limits: Limits,
    finals: Finals | None,
    environments: Sequence[Mapping[str, str]],
    is_one_of_several: bool,
    trial_timeout_s: float,
    on_tick: Callable[[], None],
    on_message: Callable[[str], None] | None = None,
) -> None:
    """Searches a study that its row describes in worker processes, one for each environment."""
    order = Order(
        study_name=study.name,
        study_file=None if study.is_declarative else str(study.source_file),
        storage=database.url,
        artifacts=store.root,
        study_id=view.id,
        seed=view.seed,
        limits=asdict(limits),
        finals=asdict(finals) if finals is not None else None,
        # What is no text there, Python passes over.
        import_path=[folder for folder in sys.path if isinstance(folder, str)],
        num_stops=view.progress().num_stops,
        is_one_of_several=is_one_of_several,
        report_file="",
    )
    Supervisor(
        order,
        environments=environments,
        engine=engine,
        recorder=recorder,
        view=view,
        trial_timeout_s=trial_timeout_s,
        on_tick=on_tick,
        on_message=on_message,
    ).run()


def environment() -> dict[str, Any]:
    """What the figures of a run depend on: versions and the machine."""
    packages = ("autosearch", "keras", "tensorflow", "ai-edge-litert", "ai-edge-quantizer",
                "tflite-micro", "numpy", "pillow", "optuna", "scikit-learn")  # fmt: skip
    versions: dict[str, str | None] = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "versions": versions,
    }


def _plan_warm_start(
    study: Study, database: Database, name: str | None, storage: str | None
) -> WarmStart | None:
    if name is None:
        if storage is not None:
            raise DefinitionError(
                "a database to start from was named, and no study in it; add --warm-start STUDY"
            )
        return None
    if storage is None and name == study.name:
        raise DefinitionError(
            f'study "{name}" cannot start from itself: it goes on where it stopped anyway'
        )
    other = database if storage is None else Database.open_foreign(storage)
    best = best_trials(other, name)

    def configs_of(numbers: Sequence[int]) -> Mapping[int, Mapping[str, Any]]:
        return {} if is_plain_optuna(other.url) else read_configs(other, name, numbers)

    return plan_warm_start(
        name,
        best,
        space=study.space,
        trials_in_budget=study.budget.trials,
        is_front=len(best[0].values) > 1,
        read_configs=configs_of,
    )


def _earlier(database: Database, store: ArtifactStore, name: str) -> StudyView | None:
    try:
        return StudyView(database, store, name)
    except NotFoundError:
        return None


def _check_definition(
    study: Study, earlier: StudyView, *, seed: int | None, accept_changes: bool
) -> bool:
    """Refuses another definition, unless it was accepted or only lets more be sampled.

    Returns:
        Whether it is another one.
    """
    if seed is not None and seed != earlier.seed:
        raise ChangedDefinitionError(
            f'study "{study.name}" was started with seed {earlier.seed}, not {seed}; '
            "leave --seed out, or give the study another name"
        )
    if study.definition_sha256() == earlier.definition_sha256:
        return False
    if study.objectives != earlier.objectives:
        raise ChangedDefinitionError(
            f'study "{study.name}" has other objectives in the database, and trials of different '
            "objectives cannot be ranked together; give the study another name"
        )
    before, after = earlier.definition, study.definition()
    is_drawn = not isinstance(study.dataset, FileDataset) or study.dataset.is_drawn
    if is_drawn and _divides_otherwise(before["dataset"], after["dataset"]):
        raise ChangedDefinitionError(
            f'study "{study.name}" divides its images otherwise than in the database '
            f"({'; '.join(changes(before['dataset'], after['dataset']))}), and what trials have "
            "learned from cannot judge them; give the study another name"
        )
    if not accept_changes and not is_growth(before, after):
        listed = "; ".join(changes(before, after)) or "its code"
        raise ChangedDefinitionError(
            f'study "{study.name}" differs from the one in the database ({listed}); '
            "go on with the new definition with --accept-changes, or give the study another name"
        )
    return True


def _divides_otherwise(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> bool:
    if before is None or after is None or before["kind"] != after["kind"]:
        # Such as the same photos in a table: that is for the fingerprint to tell.
        return False
    return split_words(before) != split_words(after)


def _check_nobody_works(study: Study, database: Database, earlier: StudyView) -> None:
    """Refuses to change a definition under the hands of workers that hold to the old one."""
    if Recorder(database, earlier.id).num_living_workers():
        raise ChangedDefinitionError(
            f'study "{study.name}" has another definition now, and workers are still searching by '
            f"the old one; let them end first: autosearch stop {study.name}"
        )


def _check_data(study: Study, before: dict[str, Any] | None, *, accept_data: bool) -> None:
    """Refuses images that have changed, unless that was accepted; other classes always."""
    if before is not None and list(study.dataset.classes) != before["classes"]:
        raise ChangedDefinitionError(
            f'the classes of study "{study.name}" were {", ".join(before["classes"])} and are now '
            f"{', '.join(study.dataset.classes)}, so earlier networks do not fit; give the study "
            "another name"
        )
    if not accept_data:
        after = study.dataset.sides()
        what = (
            "the images or the split have changed"
            if before is None or after is None
            else describe_growth(before["sides"], after)
        )
        raise ChangedDefinitionError(
            f'the data of study "{study.name}" are not those that it was started on: {what}; '
            "go on with the new ones with --accept-data (what was known keeps its side of the "
            "split), or give the study another name"
        )


def _data_sides(study: Study, earlier: StudyView | None) -> dict[str, Any] | None:
    sides = study.dataset.sides() if study.dataset is not None else None
    if sides is None:
        return None
    before = (earlier.sides() if earlier is not None else None) or {}
    absent = {sha256: side for sha256, side in before.items() if sha256 not in sides}
    return {"classes": list(study.dataset.classes), "sides": sides, "absent": absent}


def _check_workers(
    study: Study, workers: int, workers_per_gpu: int | None, *, is_for_processes: bool
) -> None:
    if workers < 1:
        raise DefinitionError(f"workers is {workers}; expected at least 1")
    if workers_per_gpu is not None and workers_per_gpu < 1:
        raise DefinitionError(f"workers_per_gpu is {workers_per_gpu}; expected at least 1")
    if workers > 1 and not is_for_processes:
        raise DefinitionError(
            f'study "{study.name}" holds functions that only this process knows, and {workers} '
            "workers are processes of their own; put it into a file and start that with: "
            f"autosearch run STUDY_FILE --workers {workers}, or load it with load_study_file"
        )


def plan_limits(study: Study, progress: Progress, *, trials: int | None, workers: int) -> Limits:
    """When the workers of a run are done, by the study's budget or after so many trials more."""
    budget = study.budget
    # With less, TensorFlow itself would outgrow it before the first trial.
    memory = max(_MIN_MEMORY_BYTES, memory_bytes() // (2 * workers))
    if trials is not None:
        return Limits(
            counted_trials=progress.num_counted + trials,
            memory_bytes=memory,
            further_trials=trials,
        )
    if budget.minutes is None:
        deadline = None
    else:
        deadline = time.time() + budget.minutes * 60 - progress.run_seconds
    return Limits(
        counted_trials=budget.trials,
        total_epochs=budget.total_epochs,
        deadline=deadline,
        memory_bytes=memory,
    )
