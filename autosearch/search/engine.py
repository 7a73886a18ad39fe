"""Ask and tell: Optuna's trials and our rows, kept together.

Our row of a finished trial is written before Optuna is told, so whatever is cut off in between
can be told later from the row: nothing finished is lost.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import optuna

from autosearch.errors import StorageError
from autosearch.search.capacities import Capacities
from autosearch.search.finished import CONTINUES, FAILED, RUNGS, SECONDS, num_sampled_before
from autosearch.search.growth import Growth
from autosearch.search.keras_tuner_sampler import KerasTunerSampler
from autosearch.search.samplers import make_sampler
from autosearch.search.warm_start import GIVEN, ORIGIN, StartingPoint, StartingSampler, best_of
from autosearch.search.worth import are_shares
from autosearch.space.first_guesses import first_guesses
from autosearch.space.parameters import Scalar
from autosearch.store.configs import read_configs
from autosearch.store.database import Database
from autosearch.store.frames import trials_of
from autosearch.store.judging import restated
from autosearch.store.recorder import Recorder
from autosearch.store.rungs import forget_reports
from autosearch.store.view import StudyView
from autosearch.study import Study
from autosearch.values import CandidateResult, Continuation, TrialState, violations

__all__ = [
    "MAX_ATTEMPTS",
    "Engine",
    "best_trials",
    "continuation_of",
    "delete_optuna_study",
    "enqueue",
    "quiet",
]

MAX_ATTEMPTS = 3
"""How often a trial is started whose worker dies each time."""

_INFEASIBLE_OBJECTIVE = 1.0
_LATEST_GUESS = 4
"""By so many times as many trials as there are guesses, all of them were had."""

_REDEFINED = "autosearch:trials_before_the_definition_changed"

ContinuationChoice = Callable[[list[Continuation], Mapping[int, Continuation]], Continuation | None]


class Engine:
    """The sampler's side of one study.

    Args:
        study: What is searched.
        database: Opened to write.
        seed: The study's seed.

    Attributes:
        is_exhausted: Whether the sampler has nothing left to sample, as a grid once it is used up.
        growth: Sees to the trials from before the space has grown.

    Raises:
        StorageError: Optuna's storage cannot be opened.
    """

    def __init__(self, study: Study, database: Database, *, seed: int) -> None:
        self._definition = study
        self._database = database
        self._seed = seed
        self._impatience = 0.0
        self._first_guesses: list[dict[str, Scalar]] = []
        self._capacities: Capacities | None = None
        if study.sampler == "pareto" and study.space is not None:
            self._first_guesses = first_guesses(study.space)
            self._capacities = Capacities(study.space)
        self.is_exhausted = False
        with database.exclusive():
            self._storage, self._study = self._open()
        num_earlier = int(self._study.user_attrs.get(_REDEFINED, 0))
        self.growth = Growth(database, study.name, num_earlier=num_earlier)

    def _open(self) -> tuple[optuna.storages.RDBStorage, optuna.Study]:
        definition, database = self._definition, self._database
        with quiet(), _explained(database):
            storage = _optuna_storage(database)
            study = optuna.create_study(
                study_name=definition.name,
                storage=storage,
                directions=[objective.direction.value for objective in definition.objectives],
                sampler=make_sampler(definition.sampler, seed=self._seed, number=0),
                pruner=_optuna_pruner(definition.chosen_pruner),
                load_if_exists=True,
            )
            study.set_metric_names([objective.metric for objective in definition.objectives])
        return storage, study

    def reopen(self) -> None:
        """Reads all trials anew: Optuna reads a finished one only once."""
        with self._database.exclusive():
            self._reopen()

    def _reopen(self) -> None:
        before = self._storage
        self._storage, self._study = self._open()
        # Its connections would stay open for as long as this process lives.
        before.remove_session()
        before.engine.dispose()

    def reopened(self, trial: optuna.Trial) -> optuna.Trial:
        """The same trial, after all trials were read anew; what was drawn of it stays."""
        self.reopen()
        with quiet(), _explained(self._database):
            # Optuna's cache writes only to trials that it has read.
            self._study.get_trials(deepcopy=False)
            self._take_sampler(trial)
            return optuna.Trial(self._study, trial._trial_id)

    def known_trials(self) -> list[optuna.trial.FrozenTrial]:
        """The study's trials as this process knows them."""
        with quiet(), _explained(self._database):
            return self._study.get_trials(deepcopy=False)

    def redefine(self) -> None:
        """Says that the definition has changed: the space of the trials so far was another one."""
        with self._database.exclusive(), quiet(), _explained(self._database):
            num_earlier = len(self._study.get_trials(deepcopy=False))
            self._study.set_user_attr(_REDEFINED, num_earlier)
        self.growth = Growth(self._database, self._definition.name, num_earlier=num_earlier)

    def _take_sampler(self, trial: optuna.Trial) -> None:
        sampler = make_sampler(
            self._definition.sampler,
            seed=self._seed,
            number=trial.number,
            impatience=self._impatience,
            shares=are_shares(self._definition.objectives),
            describe=self._capacities,
        )
        start, given = trial.user_attrs.get(ORIGIN), trial.user_attrs.get(GIVEN)
        if (continues := continuation_of(trial)) is not None:
            configs = read_configs(self._database, self._definition.name, [continues.trial])
            parent = configs.get(continues.trial, {})
            sampler = StartingSampler(parent, sampler, is_counted=False)
        elif start is not None:
            are_values = start.get("is_ours", False)
            sampler = StartingSampler(start["params"], sampler, are_values=are_values)
        elif given is not None:
            sampler = StartingSampler(given, sampler)
        elif (guess := self._first_guess(trial.number)) is not None:
            sampler = StartingSampler(guess, sampler)
        self._study.sampler = sampler

    def _first_guess(self, number: int) -> dict[str, Any] | None:
        """What a trial begins the search with; trials that went on from others do not count."""
        guesses = self._first_guesses
        if number >= len(guesses) * _LATEST_GUESS:
            return None
        place = num_sampled_before(self._study, number)
        return guesses[place] if place < len(guesses) else None

    def start_trial(
        self,
        recorder: Recorder,
        worker_id: int,
        *,
        may_start: Callable[[], bool] = lambda: True,
        is_out_of_date: Callable[[], bool] = lambda: False,
        continue_from: ContinuationChoice | None = None,
        impatience: float = 0.0,
    ) -> optuna.Trial | None:
        """The next trial, one that waits or else a new one, recorded as run by that worker.

        All in one turn: nobody may take a trial that was only just asked for as left behind, and
        no two workers may take what is left of the budget for theirs.

        Args:
            recorder: Writes the study's rows.
            worker_id: The worker that will evaluate it.
            may_start: Whether there is room for one more trial; if not, there is none.
            is_out_of_date: Whether a finished trial has changed since this process read it.
            continue_from: Told what was gone on from already, and the trials among it that have
                not ended, answers what to go on from; None to sample something new.
            impatience: How much the trial's time is to count, from 0 to 1.
        """
        self._impatience = impatience
        with self._database.exclusive(), quiet(), _explained(self._database):
            if not may_start():
                return None
            if is_out_of_date():
                self._reopen()
            if continue_from is not None:
                self._enqueue_continuation(continue_from)
            trial = self._study.ask()
            # In time: nothing is sampled before the trial's first parameter is asked for.
            self._take_sampler(trial)
            recorder.start_trial(trial.number, worker_id)
            return trial

    def _enqueue_continuation(self, choose: ContinuationChoice) -> None:
        """Adds a trial that trains an earlier one's network on, to be asked for next."""
        trials = self._study.get_trials(deepcopy=False)
        if any(trial.state is optuna.trial.TrialState.WAITING for trial in trials):
            return
        started = [(trial, c) for trial in trials if (c := continuation_of(trial)) is not None]
        running = {t.number: c for t, c in started if not t.state.is_finished()}
        chosen = choose([c for _, c in started], running)
        if chosen is not None:
            self._study.enqueue_trial({}, user_attrs={CONTINUES: asdict(chosen)})

    def start_from(self, points: Sequence[StartingPoint]) -> int:
        """Puts another study's configurations first, but for those that were before.

        Returns:
            How many were new.
        """
        with self._database.exclusive(), quiet(), _explained(self._database):
            trials = self._study.get_trials(deepcopy=False)
            starts = [t.user_attrs[ORIGIN] for t in trials if ORIGIN in t.user_attrs]
            known = {(start["study"], start["trial"]) for start in starts}
            new = [point for point in points if (point.study, point.trial) not in known]
            for point in new:
                self._study.enqueue_trial({}, user_attrs={ORIGIN: asdict(point)})
            return len(new)

    def tell(
        self,
        trial: optuna.Trial | int,
        state: TrialState,
        *,
        representative: CandidateResult | None = None,
        violations: Mapping[str, float] | None = None,
        seconds: float | None = None,
        rungs: Mapping[int, Sequence[float]] | None = None,
    ) -> None:
        """Tells Optuna how a trial ended; a trial that is finished there already stays as it is.

        Args:
            trial: The trial, or its number.
            state: How it ended.
            representative: Whose figures are told, of a complete trial.
            violations: Constraint to how far it was exceeded; at most 0 is feasible.
            seconds: How long it took, if the sampler is to know.
            rungs: Epoch to what the objectives were then, where it could be pruned.
        """
        frozen_or_trial = self._by_number(trial) if isinstance(trial, int) else trial
        with quiet(), _explained(self._database):
            values = self._values(representative) if representative is not None else None
            told = dict(violations or {})
            if state is TrialState.COMPLETE and values is None:
                # Nothing to rank: to the sampler the configuration broke a constraint.
                told["an objective is to be had"] = _INFEASIBLE_OBJECTIVE
            if state is TrialState.FAILED:
                # What runs out of memory or of numbers looks as good as its neighbours otherwise.
                told = {FAILED: _INFEASIBLE_OBJECTIVE}
            # One that was finished meanwhile, as by who discarded it, stays as it is.
            with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
                for name, violation in told.items():
                    frozen_or_trial.set_constraint(name, violation)
                if seconds is not None:
                    frozen_or_trial.set_user_attr(SECONDS, round(seconds, 3))
                if rungs:
                    frozen_or_trial.set_user_attr(RUNGS, dict(rungs))
            if state in (TrialState.FAILED, TrialState.DISCARDED):
                ending = optuna.trial.TrialState.FAIL
            elif values is None:
                ending = optuna.trial.TrialState.PRUNED
            else:
                ending = optuna.trial.TrialState.COMPLETE
            try:
                self._study.tell(frozen_or_trial, values, state=ending, skip_if_finished=True)
            except optuna.exceptions.UpdateFinishedTrialError:
                return
            except RuntimeError:
                # A grid that is used up calls Study.stop, which Optuna refuses outside its own
                # loop, though the trial has been told by then.
                if not self._is_finished(frozen_or_trial):
                    raise
                self.is_exhausted = True
            sampler = self._study.sampler
            if isinstance(sampler, KerasTunerSampler) and sampler.is_exhausted:
                self.is_exhausted = True

    def roll_back(self) -> None:
        """Ends what an interrupt left open in Optuna's storage, and so frees the database."""
        self._storage.remove_session()

    def put_back(self, recorder: Recorder, number: int) -> None:
        """Puts a running trial that was asked to end back to wait, with its configuration.

        In one turn: between the two records another worker could take the trial for left behind,
        start it, and then have it put back under its hands.
        """
        with self._database.exclusive(), quiet(), _explained(self._database):
            self._put_back(recorder, number, counts=False)

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
        with self._database.exclusive(), quiet(), _explained(self._database):
            recorder.release_lost(counts=not was_asked_to_end)
            self._recover(recorder, view, reason, was_asked_to_end)

    def _recover(
        self, recorder: Recorder, view: StudyView, reason: str, was_asked_to_end: bool
    ) -> None:
        running = self._running_trials()
        if not running:
            return
        orphaned, alive = recorder.orphaned_trials(), recorder.trials_of_living_workers()
        numbers = [frozen.number for frozen in running]
        rows = trials_of(self._database, view.id, numbers).set_index("number")
        facts: Mapping[Any, dict[str, Any]] = rows["facts"].to_dict()
        for frozen in running:
            number = frozen.number
            state = TrialState(str(rows.at[number, "state"])) if number in rows.index else None
            if state is not None and state.is_finished:
                # A worker that lives is about to tell by itself.
                if number not in alive:
                    self._tell_again(number, state, view, facts[number].get("repeats"))
            elif orphaned.get(number, 0) >= MAX_ATTEMPTS and not was_asked_to_end:
                recorder.finish_trial(
                    number,
                    TrialState.FAILED,
                    # Optuna's names and stand-ins are no values by name.
                    config={},
                    stage_seconds={},
                    facts={"optuna_params": dict(frozen.params)},
                    error=f"{reason}; tried {MAX_ATTEMPTS} times",
                )
                self.tell(number, TrialState.FAILED)
            elif state is not TrialState.RUNNING or number in orphaned:
                self._put_back(recorder, number, counts=not was_asked_to_end)

    def _put_back(self, recorder: Recorder, number: int, *, counts: bool) -> None:
        # Ours first: a row that waits beside a trial that runs is put back again.
        recorder.put_back_trial(number, counts=counts)
        for trial in self._running_trials():
            if trial.number == number:
                forget_reports(self._database, self._definition.name, number)
                self._storage.set_trial_state_values(
                    trial._trial_id, state=optuna.trial.TrialState.WAITING
                )

    def _tell_again(
        self,
        number: int,
        state: TrialState,
        view: StudyView,
        repeats: Mapping[str, Any] | None,
    ) -> None:
        representative = None
        constraints = self._definition.constraints
        exceeded = restated(view.violations(number), constraints)
        if state is TrialState.COMPLETE:
            frame = view.candidates_frame()
            if repeats is None:
                is_told = (frame["trial"] == number) & frame["representative"].astype(bool)
            else:
                is_told = frame["trial"] == repeats["trial"]
                is_told &= frame["quantization"] == repeats["quantization"]
            if not is_told.any():
                # The trial whose figures it took over was discarded: there is nothing to learn.
                self.tell(number, TrialState.DISCARDED)
                return
            told = frame[is_told].iloc[0]
            names = [o.metric for o in self._definition.objectives]
            names += [c.metric for c in constraints]
            metrics = {name: _or_none(told.get(name)) for name in names}
            representative = CandidateResult(metrics=metrics)
            exceeded = violations(constraints, metrics)
        self.tell(number, state, representative=representative, violations=exceeded)

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


def enqueue(
    database: Database,
    name: str,
    choose: Callable[[Sequence[optuna.trial.FrozenTrial]], Mapping[str, Any]],
    record: Callable[[int], None],
) -> int:
    """Puts a configuration before whatever would be sampled next.

    Args:
        database: Opened to write.
        name: The study's name.
        choose: Told the study's trials, answers values by parameter name; what they leave out
            is sampled.
        record: Told the number of the trial before any worker can take it.

    Returns:
        The number of the trial that will evaluate it.
    """
    with database.exclusive(), quiet(), _explained(database):
        study = optuna.load_study(study_name=name, storage=_optuna_storage(database))
        trials = study.get_trials(deepcopy=False)
        study.enqueue_trial({}, user_attrs={GIVEN: dict(choose(trials))})
        record(len(trials))
        return len(trials)


def continuation_of(
    trial: optuna.Trial | optuna.trial.FrozenTrial,
) -> Continuation | None:
    """What a trial goes on from; None for one that begins anew."""
    words = trial.user_attrs.get(CONTINUES)
    return Continuation(**words) if words is not None else None


def delete_optuna_study(database: Database, name: str) -> bool:
    """Removes Optuna's rows of a study, and answers whether there were any."""
    with database.exclusive(), quiet(), _explained(database):
        try:
            optuna.delete_study(study_name=name, storage=_optuna_storage(database))
        except KeyError:
            return False
    return True


def best_trials(database: Database, name: str) -> list[optuna.trial.FrozenTrial]:
    """The best trials of any Optuna study, autosearch's or not.

    Raises:
        NotFoundError: There is no study of that name, or it has no finished trial.
        StorageError: The database has no tables of Optuna's.
    """
    with quiet(), _explained(database):
        return best_of(optuna.storages.RDBStorage(database.url, skip_table_creation=True), name)


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
def quiet() -> Iterator[None]:
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
