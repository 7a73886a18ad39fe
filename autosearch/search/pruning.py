"""Pruning: which trials are trained on, judged by what others had reached after as many epochs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from autosearch import pareto
from autosearch.errors import DefinitionError
from autosearch.store.database import Database
from autosearch.store.rungs import read_rung
from autosearch.study import Study
from autosearch.values import NoPruner, Objective, ParetoPruner

__all__ = [
    "OptunaPruning",
    "ParetoPruning",
    "Pruning",
    "check_pruner",
    "make_pruning",
    "place_on_rung",
    "survives",
]

Figures = Mapping[str, float | None]


class Pruning:
    """What a trial asks after every epoch; this one prunes nothing."""

    def figures(self, epoch: int, reported: Figures, costs: Figures) -> Figures:
        """What to record of an epoch, so that later trials can be compared with it.

        Args:
            epoch: From 1.
            reported: What the evaluator told of it.
            costs: What its cost check was told.
        """
        del epoch, costs
        return reported

    def reached(self, epoch: int, figures: Figures) -> list[float] | None:
        """The objectives after an epoch, in their order, where it could be pruned; else None."""
        del epoch, figures
        return None

    def why(self, trial: optuna.Trial, epoch: int, figures: Figures) -> dict[str, Any] | None:
        """Why the trial is to end after an epoch whose figures are recorded; None to go on."""
        del trial, epoch, figures
        return None


class ParetoPruning(Pruning):
    """Multi-objective asynchronous successive halving, over the rungs of the database.

    Args:
        rules: Where the rungs are, and how many go on.
        objectives: What trials are compared by.
        database: Holds the rungs.
        study_id: The study's row.
    """

    def __init__(
        self,
        rules: ParetoPruner,
        objectives: Sequence[Objective],
        database: Database,
        study_id: int,
    ) -> None:
        self._rules = rules
        self._objectives = objectives
        self._metrics = [objective.metric for objective in objectives]
        self._database = database
        self._study_id = study_id

    def figures(self, epoch: int, reported: Figures, costs: Figures) -> Figures:
        """On a rung, the costs that are objectives come on top of what was reported."""
        if not self._rules.is_rung(epoch):
            return reported
        return {**{m: costs[m] for m in self._metrics if m in costs}, **reported}

    def reached(self, epoch: int, figures: Figures) -> list[float] | None:
        """The objectives on a rung, if all are known."""
        found = [figures.get(metric) for metric in self._metrics]
        known = [float(figure) for figure in found if figure is not None and math.isfinite(figure)]
        return known if self._rules.is_rung(epoch) and len(known) == len(found) else None

    def why(self, trial: optuna.Trial, epoch: int, figures: Figures) -> dict[str, Any] | None:
        """The place of a trial that is not among the best of its rung.

        A trial that has no figure of an objective cannot be compared, and goes on.
        """
        if self.reached(epoch, figures) is None:
            return None
        rung = read_rung(self._database, self._study_id, epoch, self._metrics)
        numbers = [number for number, known in rung.items() if _is_whole(known)]
        pairs = zip(self._objectives, zip(*(rung[n] for n in numbers), strict=True), strict=True)
        values = np.array([[o.minimized(v) for v in column] for o, column in pairs]).T
        place = place_on_rung(values, numbers.index(trial.number))
        if survives(place, len(numbers), self._rules.eta):
            return None
        return {"epoch": epoch, "place": place, "num_trials": len(numbers)}


class OptunaPruning(Pruning):
    """One of Optuna's pruners, for a study with a single objective.

    Args:
        pruner: The one that the Optuna study was made with.
        objective: Whose figures it is told.
    """

    def __init__(self, pruner: optuna.pruners.BasePruner, objective: Objective) -> None:
        self._name = type(pruner).__name__
        self._metric = objective.metric

    def why(self, trial: optuna.Trial, epoch: int, figures: Figures) -> dict[str, Any] | None:
        """The pruner's name, if it ends the trial."""
        value = figures.get(self._metric)
        if value is None:
            return None
        trial.report(value, epoch)
        return {"epoch": epoch, "by": self._name} if trial.should_prune() else None


def check_pruner(study: Study) -> None:
    """Refuses what cannot prune the study.

    Raises:
        DefinitionError: It is no pruner, or one for a single objective and there are several.
    """
    pruner = study.chosen_pruner
    if isinstance(pruner, ParetoPruner | NoPruner):
        return
    if not isinstance(pruner, optuna.pruners.BasePruner):
        raise DefinitionError(
            f'pruner is {type(pruner).__name__}; expected "mo_asha", ParetoPruner(...), '
            "NoPruner(), or with a single objective one of optuna.pruners"
        )
    if len(study.objectives) > 1:
        raise DefinitionError(
            f"pruner {type(pruner).__name__} compares one figure, and the study has "
            f'{len(study.objectives)} objectives; write pruner="mo_asha", or ask for one objective'
        )


def make_pruning(study: Study, database: Database, study_id: int) -> Pruning:
    """What the study's pruner does, for one worker.

    Raises:
        DefinitionError: As ``check_pruner`` says.
    """
    check_pruner(study)
    pruner = study.chosen_pruner
    if isinstance(pruner, ParetoPruner):
        return ParetoPruning(pruner, study.objectives, database, study_id)
    if isinstance(pruner, NoPruner):
        return Pruning()
    return OptunaPruning(pruner, study.objectives[0])


def survives(place: int, num_trials: int, eta: int) -> bool:
    """Whether the trial at that place (from 1) of its rung goes on.

    The best 1/``eta`` do, rounded up. Before ``eta`` trials are there nothing is known, and all do.
    """
    return num_trials < eta or place <= -(-num_trials // eta)


def place_on_rung(values: NDArray[np.float64], index: int) -> int:
    """The place of one trial among all that reached a rung, from 1.

    Front after front comes first, and within a front a spread of it, as ``_spread_order`` has it:
    the ε-net which Schmucker et al. (arXiv:2106.12639) break ties with.

    Args:
        values: Objectives, shape ``(n, k)``, minimised.
        index: The row of the trial.

    Example:
        >>> place_on_rung(np.array([[1.0, 9.0], [2.0, 8.0], [3.0, 1.0], [4.0, 9.5]]), 1)
        3
    """
    fronts = pareto.non_domination_rank(values)
    before = int(np.count_nonzero(fronts < fronts[index]))
    front = np.flatnonzero(fronts == fronts[index])
    wanted = int(np.searchsorted(front, index))
    return before + 1 + next(i for i, j in enumerate(_spread_order(values[front])) if j == wanted)


def _spread_order(front: NDArray[np.float64]) -> Iterator[int]:
    """The points of a front, each as far as can be from those before it.

    The first is the one that is best in the first objective. Distances are taken between ranks in
    each objective, so that neither units nor a logarithm matter.

    Args:
        front: Objectives, shape ``(n, k)``, minimised.

    Yields:
        Rows, each once.
    """
    if not len(front):
        return
    # Equal values share a rank, or equal sizes would lie apart.
    ranks = np.stack([np.unique(v, return_inverse=True)[1] for v in front.T], axis=1)
    scaled = ranks / np.maximum(ranks.max(axis=0), 1)
    nearest = np.full(len(front), np.inf)
    chosen = int(np.argmin(scaled[:, 0]))
    for _ in range(len(front)):
        yield chosen
        nearest = np.minimum(nearest, np.linalg.norm(scaled - scaled[chosen], axis=1))
        nearest[chosen] = -np.inf
        chosen = int(np.argmax(nearest))


def _is_whole(figures: Sequence[float | None]) -> bool:
    return all(figure is not None and math.isfinite(figure) for figure in figures)
