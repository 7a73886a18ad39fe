"""What a user's function may answer, turned into candidates, or one clear sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

from autosearch.errors import DefinitionError, TrialError
from autosearch.search.facts import as_json
from autosearch.store.view import RESERVED_COLUMNS
from autosearch.values import CandidateResult, Constraint, Evaluator, Objective

__all__ = ["check_candidates", "evaluate", "named", "to_candidates"]


def evaluate(evaluator: Any, trial: Any, objectives: Sequence[Objective]) -> list[CandidateResult]:
    """Calls an evaluator, be it an object or a plain function of the trial."""
    answer = evaluator.evaluate(trial) if isinstance(evaluator, Evaluator) else evaluator(trial)
    return to_candidates(answer, objectives)


def to_candidates(answer: Any, objectives: Sequence[Objective]) -> list[CandidateResult]:
    """The candidates that an answer stands for.

    Args:
        answer: A mapping of metrics, a list of mappings or ``CandidateResult``, or as Optuna
            has it, a number or one number per objective.
        objectives: Name the numbers of an Optuna objective.

    Raises:
        DefinitionError: It is none of these.
    """
    if isinstance(answer, (Mapping, CandidateResult)):
        return [_candidate(answer, "")]
    if isinstance(answer, Real):
        answer = (answer,)
    if isinstance(answer, Sequence) and not isinstance(answer, str) and len(answer):
        if all(isinstance(value, Real) for value in answer):
            if len(answer) != len(objectives):
                raise DefinitionError(
                    f"the evaluator answered {len(answer)} values, the study has "
                    f"{len(objectives)} objectives; answer one for each, in their order"
                )
            values = zip(objectives, answer, strict=True)
            return [CandidateResult(metrics={o.metric: float(v) for o, v in values})]
        if all(isinstance(item, (Mapping, CandidateResult)) for item in answer):
            candidates = [_candidate(item, str(i)) for i, item in enumerate(answer)]
            names = [candidate.quantization for candidate in candidates]
            if len(set(names)) < len(names):
                raise DefinitionError(
                    f"the evaluator answered several candidates of one quantization ({names}); "
                    'give each its own "quantization"'
                )
            return candidates
    raise DefinitionError(
        f"the evaluator answered {_shown(answer)}; expected a mapping of metrics such as "
        '{"accuracy": 0.9}, a list of such mappings, or one number per objective'
    )


def check_candidates(
    candidates: Sequence[CandidateResult],
    *,
    objectives: Sequence[Objective],
    constraints: Sequence[Constraint],
    costs: Mapping[str, float | None],
) -> list[CandidateResult]:
    """The candidates with the costs that were checked earlier, exactly one of them representative.

    A figure of theirs that is no finite number is one that is not to be had.

    Raises:
        DefinitionError: A metric that the study asks for is in none of them.
        TrialError: An objective is no finite number, or no candidate has it, or what is said
            besides has no form in JSON.
    """
    completed = [replace(c, metrics={**costs, **c.metrics}) for c in candidates]
    wanted = [o.metric for o in objectives] + [c.metric for c in constraints]
    for candidate in completed:
        missing = [metric for metric in wanted if metric not in candidate.metrics]
        if missing:
            raise DefinitionError(
                f'the study asks for "{missing[0]}", and the evaluator answered '
                f"{', '.join(candidate.metrics) or 'nothing'}; answer it, or leave it out of the "
                "study"
            )
    chosen = next((i for i, c in enumerate(completed) if c.is_representative), 0)
    for objective in objectives:
        values = [candidate.metrics[objective.metric] for candidate in completed]
        told = values[chosen]
        if all(value is None for value in values) or (told is not None and not math.isfinite(told)):
            reason = completed[chosen].reasons.get(objective.metric)
            raise TrialError(
                f"{objective.metric} is {told}; expected a finite number"
                + (f" ({reason})" if reason else "")
            )
    return [
        replace(
            candidate,
            is_representative=i == chosen,
            metrics={name: _known(value) for name, value in candidate.metrics.items()},
            accuracy_low=_known(candidate.accuracy_low),
            accuracy_high=_known(candidate.accuracy_high),
            conditions=as_json(candidate.conditions, "conditions"),
            reasons=as_json(candidate.reasons, "reasons"),
        )
        for i, candidate in enumerate(completed)
    ]


def _candidate(item: Mapping[str, Any] | CandidateResult, default_name: str) -> CandidateResult:
    if isinstance(item, CandidateResult):
        return item
    name = item.get("quantization", default_name)
    metrics: dict[str, float | None] = {}
    for key, value in item.items():
        if key in ("quantization", "representative"):
            continue
        if key in RESERVED_COLUMNS:
            raise DefinitionError(
                f'the evaluator answered "{key}", which is a column of every frame; '
                "give that metric another name"
            )
        if value is not None and not isinstance(value, Real):
            raise DefinitionError(
                f'the evaluator answered {_shown(value)} for "{key}"; expected a number or None'
            )
        metrics[str(key)] = None if value is None else float(value)
    return CandidateResult(
        metrics=metrics,
        quantization=str(name),
        is_representative=bool(item.get("representative", False)),
        accuracy_low=metrics.pop("accuracy_low", None),
        accuracy_high=metrics.pop("accuracy_high", None),
    )


def _known(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def named(fault: BaseException) -> str:
    """The class and the first line of an exception that is none of ours."""
    lines = str(fault).strip().splitlines()
    return f"{type(fault).__name__}: {lines[0]}" if lines else type(fault).__name__
