"""Ask and tell: Optuna's trials and our rows, kept together.

Our row of a finished trial is written before Optuna is told, so whatever is cut off in between
can be told later from the row: nothing finished is lost.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence

import optuna

from autosearch.errors import StorageError
from autosearch.search.samplers import make_sampler
from autosearch.store.database import Database
from autosearch.store.recorder import Recorder
from autosearch.store.view import StudyView
from autosearch.study import Study
from autosearch.values import CandidateResult, TrialState

__all__ = ["MAX_ATTEMPTS", "Engine", "delete_optuna_study"]

MAX_ATTEMPTS = 3
"""How often a trial is started whose worker dies each time."""

_INFEASIBLE_OBJECTIVE = 1.0


class Engine:
    """The sampler's side of one study.

    Args:
        study: What is searched.
        database: Opened to write.
        seed: The study's seed.

    Raises:
        StorageError: Optuna's storage cannot be opened.
    """

    def __init__(self, study: Study, database: Database, *, seed: int) -> None:
        self._definition = study
        self._database = database
        self._seed = seed
        with database.exclusive(), _quiet(), _explained(database):
            self._storage = _optuna_storage(database)
            self._study = optuna.create_study(
                study_name=study.name,
                storage=self._storage,
                directions=[str(objective.direction) for objective in study.objectives],
                sampler=make_sampler(study.sampler, seed=seed, number=0),
                load_if_exists=True,
            )
            self._study.set_metric_names([objective.metric for objective in study.objectives])

    def ask(self) -> optuna.Trial:
        """The next trial: one that waits, else a new one."""
        with self._database.exclusive(), _quiet(), _explained(self._database):
            waiting = self._trials((optuna.trial.TrialState.WAITING,))
            number = waiting[0].number if waiting else len(self._trials(None))
            self._study.sampler = make_sampler(
                self._definition.sampler, seed=self._seed, number=number
            )
            return self._study.ask()

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
                self._study.tell(
                    frozen_or_trial, state=optuna.trial.TrialState.FAIL, skip_if_finished=True
                )
            elif values is None:
                self._study.tell(
                    frozen_or_trial, state=optuna.trial.TrialState.PRUNED, skip_if_finished=True
                )
            else:
                self._study.tell(frozen_or_trial, values, skip_if_finished=True)

    def put_back(self, number: int) -> None:
        """Puts a running trial back to wait, with the configuration that it has."""
        with _quiet(), _explained(self._database):
            for trial in self._trials((optuna.trial.TrialState.RUNNING,)):
                if trial.number == number:
                    self._storage.set_trial_state_values(
                        trial._trial_id, state=optuna.trial.TrialState.WAITING
                    )

    def recover(self, recorder: Recorder, view: StudyView, *, reason: str) -> None:
        """Sorts out the trials of a worker that is no more.

        A trial that our rows hold as finished is told to Optuna; another one is put back to wait,
        or failed once it was started ``MAX_ATTEMPTS`` times.

        Args:
            recorder: Writes the study's rows.
            view: Reads them.
            reason: Why the worker is gone, for the trial's record.
        """
        running = self._trials((optuna.trial.TrialState.RUNNING,))
        if not running:
            return
        trials = view.trials_frame().set_index("number")
        for frozen in running:
            number = frozen.number
            row = trials.loc[number] if number in trials.index else None
            state = TrialState(row["state"]) if row is not None else None
            if row is not None and state is not None and state.is_finished:
                self._tell_again(number, state, row["violations"], view)
            elif row is not None and row["attempt"] >= MAX_ATTEMPTS:
                recorder.finish_trial(
                    number,
                    TrialState.FAILED,
                    config=dict(frozen.params),
                    stage_seconds={},
                    facts={},
                    error=f"{reason}; tried {MAX_ATTEMPTS} times",
                )
                self.tell(number, TrialState.FAILED)
            else:
                self.put_back(number)
                recorder.put_back_trial(number)

    def _tell_again(
        self, number: int, state: TrialState, violations: Mapping[str, float] | None, view: StudyView
    ) -> None:
        representative = None
        if state is TrialState.COMPLETE:
            frame = view.candidates_frame()
            told = frame[(frame["trial"] == number) & frame["representative"].astype(bool)].iloc[0]
            metrics = {o.metric: _or_none(told[o.metric]) for o in self._definition.objectives}
            representative = CandidateResult(metrics=metrics)
        self.tell(number, state, representative=representative, violations=violations)

    def _values(self, representative: CandidateResult) -> list[float] | None:
        values = [representative.metrics[o.metric] for o in self._definition.objectives]
        known = [value for value in values if value is not None]
        return known if len(known) == len(values) else None

    def _by_number(self, number: int) -> optuna.Trial:
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(
            self._study._study_id, number
        )
        return optuna.Trial(self._study, trial_id)

    def _trials(
        self, states: Sequence[optuna.trial.TrialState] | None
    ) -> list[optuna.trial.FrozenTrial]:
        return self._study.get_trials(
            deepcopy=False, states=tuple(states) if states is not None else None
        )


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
