"""Ask and tell: Optuna's trials and our rows, kept together.

Our row of a finished trial is written before Optuna is told, so whatever is cut off in between
can be told later from the row: nothing finished is lost.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import optuna

from autosearch.errors import StorageError
from autosearch.search.samplers import make_sampler
from autosearch.store.database import Database
from autosearch.store.recorder import Recorder
from autosearch.store.view import StudyView
from autosearch.study import Study
from autosearch.values import CandidateResult, Continuation, TrialState

__all__ = ["MAX_ATTEMPTS", "Engine", "continuation_of", "delete_optuna_study"]

MAX_ATTEMPTS = 3
"""How often a trial is started whose worker dies each time."""

_INFEASIBLE_OBJECTIVE = 1.0
_CONTINUES = "autosearch:continues"


class Engine:
    """The sampler's side of one study.

    Args:
        study: What is searched.
        database: Opened to write.
        seed: The study's seed.

    Attributes:
        is_exhausted: Whether the sampler has nothing left to sample, as a grid once it is used up.

    Raises:
        StorageError: Optuna's storage cannot be opened.
    """

    def __init__(self, study: Study, database: Database, *, seed: int) -> None:
        self._definition = study
        self._database = database
        self._seed = seed
        self.is_exhausted = False
        with database.exclusive(), _quiet(), _explained(database):
            self._storage = _optuna_storage(database)
            self._study = optuna.create_study(
                study_name=study.name,
                storage=self._storage,
                directions=[objective.direction.value for objective in study.objectives],
                sampler=make_sampler(study.sampler, seed=seed, number=0),
                pruner=_optuna_pruner(study.chosen_pruner),
                load_if_exists=True,
            )
            self._study.set_metric_names([objective.metric for objective in study.objectives])

    def start_trial(self, recorder: Recorder, worker_id: int) -> optuna.Trial:
        """The next trial, one that waits or else a new one, recorded as run by that worker.

        Both in one turn: nobody may take a trial that was only just asked for as left behind.
        """
        with self._database.exclusive(), _quiet(), _explained(self._database):
            trial = self._study.ask()
            # In time: nothing is sampled before the trial's first parameter is asked for.
            self._study.sampler = make_sampler(
                self._definition.sampler, seed=self._seed, number=trial.number
            )
            recorder.start_trial(trial.number, worker_id)
            return trial

    def enqueue_continuation(
        self, choose: Callable[[list[Continuation]], Continuation | None]
    ) -> None:
        """Adds a trial that trains an earlier one's network on; it is the next one to be asked for.

        Args:
            choose: Told what was gone on from already, answers what to go on from, if anything.
        """
        with self._database.exclusive(), _quiet(), _explained(self._database):
            trials = self._study.get_trials(deepcopy=False)
            started = [c for trial in trials if (c := continuation_of(trial)) is not None]
            chosen = choose(started)
            if chosen is not None:
                self._study.enqueue_trial(
                    trials[chosen.trial].params, user_attrs={_CONTINUES: asdict(chosen)}
                )

    def params(self, number: int) -> dict[str, Any]:
        """What a trial was sampled as, by the names that Optuna knows it by."""
        with _quiet(), _explained(self._database):
            return dict(self._storage.get_trial(self._by_number(number)._trial_id).params)

    def tell(
        self,
        trial: optuna.Trial | int,
        state: TrialState,
        *,
        representative: CandidateResult | None = None,
        violations: Mapping[str, float] | None = None,
    ) -> None:
        """Tells Optuna how a trial ended; a trial that is finished there already stays as it is.

        Args:
            trial: The trial, or its number.
            state: How it ended.
            representative: Whose figures are told, of a complete trial.
            violations: Constraint to how far it was exceeded; at most 0 is feasible.
        """
        frozen_or_trial = self._by_number(trial) if isinstance(trial, int) else trial
        with _quiet(), _explained(self._database):
            values = self._values(representative) if representative is not None else None
            told = dict(violations or {})
            if state is TrialState.COMPLETE and values is None:
                # Nothing to rank: to the sampler the configuration broke a constraint.
                told["an objective is to be had"] = _INFEASIBLE_OBJECTIVE
            if state is not TrialState.FAILED:
                for name, violation in told.items():
                    frozen_or_trial.set_constraint(name, violation)
            if state is TrialState.FAILED:
                ending = optuna.trial.TrialState.FAIL
            elif values is None:
                ending = optuna.trial.TrialState.PRUNED
            else:
                ending = optuna.trial.TrialState.COMPLETE
            try:
                self._study.tell(frozen_or_trial, values, state=ending, skip_if_finished=True)
            except RuntimeError:
                # A grid that is used up calls Study.stop, which Optuna refuses outside its own
                # loop, though the trial has been told by then.
                if not self._is_finished(frozen_or_trial):
                    raise
                self.is_exhausted = True

    def roll_back(self) -> None:
        """Ends what an interrupt left open in Optuna's storage, and so frees the database."""
        self._storage.remove_session()

    def put_back(self, number: int) -> None:
        """Puts a running trial back to wait, with the configuration that it has."""
        with _quiet(), _explained(self._database):
            for trial in self._running_trials():
                if trial.number == number:
                    self._storage.set_trial_state_values(
                        trial._trial_id, state=optuna.trial.TrialState.WAITING
                    )

    def recover(
        self, recorder: Recorder, view: StudyView, *, reason: str, was_asked_to_end: bool = False
    ) -> None:
        """Sorts out the trials of a worker that is no more.

        A trial that our rows hold as finished is told to Optuna; another one is put back to wait,
        or failed once it was started ``MAX_ATTEMPTS`` times.

        Args:
            recorder: Writes the study's rows.
            view: Reads them.
            reason: Why the worker is gone, for the trial's record.
            was_asked_to_end: The trial is not to blame, and the attempt does not count.
        """
        with self._database.exclusive(), _quiet(), _explained(self._database):
            self._recover(recorder, view, reason, was_asked_to_end)

    def _recover(
        self, recorder: Recorder, view: StudyView, reason: str, was_asked_to_end: bool
    ) -> None:
        running = self._running_trials()
        if not running:
            return
        orphaned = recorder.orphaned_trials()
        rows = view.trials_frame().set_index("number")
        for frozen in running:
            number = frozen.number
            state = TrialState(str(rows.at[number, "state"])) if number in rows.index else None
            if state is not None and state.is_finished:
                self._tell_again(number, state, view)
            elif orphaned.get(number, 0) >= MAX_ATTEMPTS and not was_asked_to_end:
                recorder.finish_trial(
                    number,
                    TrialState.FAILED,
                    config=dict(frozen.params),
                    stage_seconds={},
                    facts={},
                    error=f"{reason}; tried {MAX_ATTEMPTS} times",
                )
                self.tell(number, TrialState.FAILED)
            elif state is not TrialState.RUNNING or number in orphaned:
                # Ours first: a row that waits beside a trial that runs is put back again.
                recorder.put_back_trial(number, counts=not was_asked_to_end)
                self.put_back(number)

    def _tell_again(self, number: int, state: TrialState, view: StudyView) -> None:
        representative = None
        if state is TrialState.COMPLETE:
            frame = view.candidates_frame()
            told = frame[(frame["trial"] == number) & frame["representative"].astype(bool)].iloc[0]
            metrics = {o.metric: _or_none(told[o.metric]) for o in self._definition.objectives}
            representative = CandidateResult(metrics=metrics)
        violations = view.violations(number)
        self.tell(number, state, representative=representative, violations=violations)

    def _values(self, representative: CandidateResult) -> list[float] | None:
        values = [representative.metrics[o.metric] for o in self._definition.objectives]
        known = [value for value in values if value is not None]
        return known if len(known) == len(values) else None

    def _is_finished(self, trial: optuna.Trial) -> bool:
        return self._storage.get_trial(trial._trial_id).state.is_finished()

    def _by_number(self, number: int) -> optuna.Trial:
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(
            self._study._study_id, number
        )
        return optuna.Trial(self._study, trial_id)

    def _running_trials(self) -> list[optuna.trial.FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))


def continuation_of(
    trial: optuna.Trial | optuna.trial.FrozenTrial,
) -> Continuation | None:
    """What a trial goes on from; None for one that begins anew."""
    words = trial.user_attrs.get(_CONTINUES)
    return Continuation(**words) if words is not None else None


def delete_optuna_study(database: Database, name: str) -> bool:
    """Removes Optuna's rows of a study, and answers whether there were any."""
    with database.exclusive(), _quiet(), _explained(database):
        try:
            optuna.delete_study(study_name=name, storage=_optuna_storage(database))
        except KeyError:
            return False
    return True


def _optuna_storage(database: Database) -> optuna.storages.RDBStorage:
    options = {"connect_args": {"timeout": 60}} if database.path is not None else {}
    return optuna.storages.RDBStorage(database.url, engine_kwargs=options)


def _optuna_pruner(pruner: Any) -> optuna.pruners.BasePruner:
    """Optuna's own, or one that keeps all: what else prunes knows nothing of Optuna."""
    is_optunas = isinstance(pruner, optuna.pruners.BasePruner)
    return pruner if is_optunas else optuna.pruners.NopPruner()


def _or_none(value: float | None) -> float | None:
    return None if value is None or value != value else float(value)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Optuna's log lines and experimental warnings off the user's terminal."""
    logger = logging.getLogger("optuna")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", category=optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _explained(database: Database) -> Iterator[None]:
    with database.explained():
        try:
            yield
        except optuna.exceptions.StorageInternalError as error:
            raise (error.__cause__ or StorageError(str(error))) from error
