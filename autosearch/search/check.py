"""A study tried out in about a minute, before it costs anything; nothing is stored."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna

from autosearch.errors import TrialError
from autosearch.search.answers import check_candidates, evaluate
from autosearch.search.engine import quiet
from autosearch.search.facts import as_json
from autosearch.search.origins import check_origins
from autosearch.search.samplers import check_sampler, trial_seed
from autosearch.search.trial import InfeasibleTrial
from autosearch.space.hyperparameters import HyperParameters
from autosearch.space.quantization import MIXED
from autosearch.space.search_space import SearchSpace
from autosearch.study import Study
from autosearch.values import Constraint, Objective, keeps

__all__ = ["CheckReport", "check_study"]

_NUM_CONFIGURATIONS = 20
_SECONDS_FOR_SAMPLING = 40.0
_NUM_EPOCHS = 3
_NUM_IMAGES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What a try of a study showed.

    Attributes:
        study: Its name.
        target: Where the model will run, with its bounds.
        num_configurations: How many were sampled.
        num_feasible: How many of them keep every constraint with at least one scheme.
        num_failed: How many could not be built.
        first_error: Of those, the first one's reason.
        size_bytes: Scheme to the smallest and the largest size that was seen.
        parameters: The smallest and the largest network, in parameters.
        macs: The least and the most multiply-accumulates; an estimate of the time.
        stage_seconds: Stage to its seconds in one whole trial of the study.
        budget_minutes: How long its trials will take, by these figures; finalists come after them.
    """

    study: str
    target: str
    num_configurations: int
    num_feasible: int
    num_failed: int
    first_error: str | None
    size_bytes: dict[str, tuple[int, int]]
    parameters: tuple[int, int] | None
    macs: tuple[int, int] | None
    stage_seconds: dict[str, float]
    budget_minutes: float | None

    def lines(self) -> list[tuple[str, str]]:
        """The report for a person: what, and the figure."""
        share = self.num_feasible / max(self.num_configurations, 1)
        lines = [
            ("target", self.target),
            ("configurations tried", str(self.num_configurations)),
            ("feasible", f"{self.num_feasible} ({share:.0%})"),
        ]
        if self.num_failed:
            lines.append(("failed", f"{self.num_failed}, the first with: {self.first_error}"))
        if self.parameters is not None:
            lines.append(("parameters", "{:,} to {:,}".format(*self.parameters)))
        if self.macs is not None:
            lines.append(("MACs (estimate of time)", "{:,} to {:,}".format(*self.macs)))
        for scheme, (low, high) in self.size_bytes.items():
            # What can be narrowed without harm is known once a network is trained.
            least = ", at the least" if scheme == MIXED else ""
            lines.append((f"size of {scheme}", f"{low:,} to {high:,} bytes{least}"))
        slowest = max(self.stage_seconds, key=self.stage_seconds.__getitem__, default=None)
        for stage, seconds in self.stage_seconds.items():
            mark = "  ← slowest" if stage == slowest and len(self.stage_seconds) > 1 else ""
            figure = f"{seconds:.2f} s" if seconds >= 0.005 else "less than 0.01 s"
            lines.append((f"{stage} of one trial", f"{figure}{mark}"))
        if self.budget_minutes is not None:
            lines.append(("its trials will take about", _duration(self.budget_minutes)))
        return lines


@dataclass
class _Sketch:
    """A trial of no study: samples at random, records nothing, ends on a broken constraint."""

    number: int
    seed: int
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...]
    stage_seconds: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    epoch_seconds: list[float] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    costs: dict[str, Mapping[str, float | None]] = field(default_factory=dict)
    continues: None = None
    num_epochs: None = None

    def __post_init__(self) -> None:
        self._trial = _random_trial(self.seed, self.objectives)
        self.hp = HyperParameters(self._trial)

    def check_cost(self, **metrics: float | None) -> None:
        self.check_costs({"": metrics})

    def check_time(self, seconds: float) -> None:
        """Nothing: nobody waits for this one."""

    def check_costs(self, costs: Mapping[str, Mapping[str, float | None]]) -> list[str]:
        self.costs = dict(costs)
        feasible = [name for name, metrics in costs.items() if keeps(self.constraints, metrics)]
        if not feasible:
            raise InfeasibleTrial
        return feasible

    def identify(self, what: Mapping[str, Any], *, quantization: str = "") -> None:
        """Nothing was trained before."""

    def report(
        self, epoch: float | None = None, step: int | None = None, **metrics: float | None
    ) -> None:
        seconds = metrics.get("seconds")
        if seconds is not None:
            self.epoch_seconds.append(seconds)

    def should_prune(self) -> bool:
        return False

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            self.stage_seconds[name] = self.stage_seconds.get(name, 0.0) + spent

    def describe(self, **facts: Any) -> None:
        self.facts.update({name: as_json(fact, name) for name, fact in facts.items()})

    def store_artifact(self, content: bytes) -> str:
        return "0" * 64

    def __getattr__(self, name: str) -> Any:
        # As in a run, what is not ours is Optuna's: set_user_attr, params and so on.
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._trial, name)


def _random_trial(seed: int, objectives: Sequence[Objective]) -> optuna.Trial:
    """Optuna's own trial, of a study in memory that is told nothing."""
    with quiet():
        study = optuna.create_study(
            directions=[objective.direction.value for objective in objectives],
            sampler=optuna.samplers.RandomSampler(seed=seed),
        )
    return study.ask()


def check_study(study: Study) -> CheckReport:
    """Samples configurations and takes one of them through every stage on a little data.

    Raises:
        DefinitionError: The study or its space makes no sense.
        TrialError: No configuration can be built, or the one that was tried to the end failed.
    """
    check_sampler(study.sampler, num_objectives=len(study.objectives))
    if study.space is not None:
        study.space.dry_run()
    check_origins(study)
    attempt = _try_function if study.evaluator is not None else _keras_attempt(study)
    tried, feasible, errors = [], [], list[TrialError]()
    deadline = time.monotonic() + _SECONDS_FOR_SAMPLING
    for number in range(_NUM_CONFIGURATIONS):
        if number > 1 and time.monotonic() > deadline:
            break
        sketch = _Sketch(number, trial_seed(0, number), study.objectives, study.constraints)
        tried.append(sketch)
        try:
            attempt(study, sketch)
            feasible.append(sketch)
        except InfeasibleTrial:
            pass
        except TrialError as error:
            errors.append(error)
    if len(errors) == len(tried):
        raise errors[0]
    whole = None
    if study.evaluator is None and feasible:
        # Of middling size, so that its time is a fair guess of the others'.
        by_size = sorted(feasible, key=lambda sketch: sketch.facts["parameters"])
        whole = _whole_trial(study, by_size[len(by_size) // 2])
    return _report(study, tried, feasible, errors, whole)


def _try_function(study: Study, sketch: _Sketch) -> None:
    started = time.perf_counter()
    answer = evaluate(study.evaluator, sketch, study.objectives)
    check_candidates(
        answer,
        objectives=study.objectives,
        constraints=study.constraints,
        costs=sketch.costs.get("", {}),
    )
    sketch.stage_seconds["evaluate"] = time.perf_counter() - started


def _keras_attempt(study: Study) -> Callable[[Study, _Sketch], None]:
    from autosearch.evaluation.pipeline import KerasEvaluator

    evaluator = KerasEvaluator(study)

    def attempt(study: Study, sketch: _Sketch) -> None:
        plan = evaluator.plan(sketch)
        files = evaluator.untrained_files(plan, seed=sketch.seed)
        sketch.sizes = {scheme: len(file) for scheme, file in files.items()}
        sketch.check_costs(evaluator.costs(plan, seed=sketch.seed, files=files))

    return attempt


def _whole_trial(study: Study, sketch: _Sketch) -> dict[str, float]:
    """Seconds of each stage of one trial, training scaled to all its epochs and images."""
    from autosearch.evaluation.pipeline import KerasEvaluator

    evaluator = KerasEvaluator(study, max_epochs=_NUM_EPOCHS, max_images=_NUM_IMAGES)
    again = _Sketch(sketch.number, sketch.seed, study.objectives, study.constraints)
    evaluator.evaluate(again)
    seconds = dict(again.stage_seconds)
    if study.space is not None and study.dataset is not None and again.epoch_seconds:
        num_images = len(study.dataset.members("train"))
        # The first epoch builds graphs, and the machine may be busy in any other.
        quickest = min(again.epoch_seconds)
        epoch = quickest * max(1.0, num_images / _NUM_IMAGES)
        start = max(0.0, seconds["train"] - quickest * len(again.epoch_seconds))
        seconds["train"] = start + epoch * _num_epochs(study, study.space)
    return seconds


def _num_epochs(study: Study, space: SearchSpace) -> int:
    """How long a trial of the search is trained; what is trained on is a trial of its own."""
    return space.training.epochs if study.train_on is None else study.train_on.first_epochs


def _report(
    study: Study,
    tried: list[_Sketch],
    feasible: list[_Sketch],
    errors: list[TrialError],
    whole: dict[str, float] | None,
) -> CheckReport:
    if whole is None and study.evaluator is not None and feasible:
        spent = [sketch.stage_seconds["evaluate"] for sketch in feasible]
        whole = {"evaluate": sum(spent) / len(spent)}
    schemes = study.space.quantization.schemes if study.space is not None else ()
    sizes = {scheme: [s.sizes[scheme] for s in tried if scheme in s.sizes] for scheme in schemes}
    sizes = {scheme: of for scheme, of in sizes.items() if of}
    parameters = [s.facts["parameters"] for s in tried if "parameters" in s.facts]
    macs = [s.facts["macs"] for s in tried if "macs" in s.facts]
    return CheckReport(
        study=study.name,
        target=str(study.target),
        num_configurations=len(tried),
        num_feasible=len(feasible),
        num_failed=len(errors),
        first_error=str(errors[0]) if errors else None,
        size_bytes={scheme: (min(of), max(of)) for scheme, of in sizes.items()},
        parameters=(min(parameters), max(parameters)) if parameters else None,
        macs=(min(macs), max(macs)) if macs else None,
        stage_seconds=whole or {},
        budget_minutes=_budget_minutes(study, whole, len(feasible) / len(tried)),
    )


def _budget_minutes(study: Study, whole: dict[str, float] | None, share: float) -> float | None:
    """How long the trials will take, by the limit that comes first."""
    budget = study.budget
    limits = [] if budget.minutes is None else [budget.minutes]
    if whole is not None:
        # An infeasible trial costs no training, only what led to the check.
        cheap = whole.get("build", 0.0) + whole.get("cost", 0.0)
        mean = share * sum(whole.values()) + (1 - share) * cheap
        # Trials that are trained on are longer, and nobody knows how many there will be.
        if budget.trials is not None and study.train_on is None:
            limits.append(budget.trials * mean / 60)
        if budget.total_epochs is not None and study.space is not None:
            num_trials = budget.total_epochs / (share * _num_epochs(study, study.space))
            limits.append(num_trials * mean / 60)
    return min(limits, default=None)


def _duration(minutes: float) -> str:
    if minutes < 1:
        return f"{60 * minutes:.0f} s" if minutes > 1 / 60 else "less than a second"
    return f"{minutes:.1f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
