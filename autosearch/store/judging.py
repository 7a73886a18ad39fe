"""The trials and candidates of a study judged anew, once its bounds are other ones."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from autosearch.store.recorder import candidates_when_found
from autosearch.store.tables import CandidateRow, StudyRow, TrialRow
from autosearch.values import (
    Constraint,
    Estimate,
    Objective,
    TrialState,
    is_feasible,
    violations,
)

__all__ = ["judge_anew", "restated"]

_Metrics = Mapping[str, float | None]
_NOT_TO_BE_HAD = 1.0
"""The violation of a figure that is not there; see ``Constraint.violation``."""

_DIGITS = ".12g"
"""As exactly as a constraint's name says its bound."""

_TRIALS = text(
    "SELECT t.number, t.trial_id FROM trials t JOIN studies s ON s.study_id = t.study_id "
    "WHERE s.study_name = :study AND t.state IN ('COMPLETE', 'PRUNED')"
)
# Bounds alone: what else a trial broke, such as to have no objective, stays as it is.
_DELETE = text(
    "DELETE FROM trial_system_attributes WHERE trial_id = :trial AND key LIKE 'constraints:% ≤ %'"
)
_INSERT = text(
    "INSERT INTO trial_system_attributes (trial_id, key, value_json) VALUES (:trial, :key, :value)"
)


def judge_anew(
    session: Session,
    study: StudyRow,
    *,
    objectives: Sequence[Objective],
    constraints: Sequence[Constraint],
) -> None:
    """Decides anew which candidates are feasible, and tells Optuna how far its trials exceed.

    Samplers and a warm start go by what Optuna holds, and it refuses to change a finished trial:
    so its rows are written here. What our rows hold of a trial stays as it was found.

    A trial that an earlier bound ended and that keeps all of those that hold now was never
    trained. To Optuna it is pruned as before, without a bound that it breaks: samplers take it for
    any pruned trial, known to be allowed and of unknown worth, and never for a complete one.

    Args:
        session: Of a transaction that is open.
        study: The study's row.
        objectives: What a feasible candidate has a figure of.
        constraints: The bounds that hold now.
    """
    candidates = list(candidates_when_found(session, study.id))
    for row, metrics in candidates:
        row.is_feasible = is_feasible(metrics, objectives, constraints)
    by_number = _violations(session, study.id, candidates, constraints)
    found = session.execute(_TRIALS, {"study": study.name})
    trials = {row.number: row.trial_id for row in found}
    known = {trials[number]: of for number, of in by_number.items() if number in trials}
    if not known:
        return
    session.execute(_DELETE, [{"trial": trial} for trial in known])
    rows = [
        {"trial": trial, "key": f"constraints:{name}", "value": json.dumps(violation)}
        for trial, exceeded in known.items()
        for name, violation in exceeded.items()
    ]
    if rows:
        session.execute(_INSERT, rows)


def restated(recorded: Mapping[str, float], constraints: Sequence[Constraint]) -> dict[str, float]:
    """How far a trial exceeds bounds, from how far it exceeded those of its time.

    A bound on what had none then says nothing. What was exactly twice its bound cannot be told
    from a figure that was not to be had, and counts as such.

    Args:
        recorded: Constraint to how far it was exceeded, as a trial's row holds it.
        constraints: The bounds that hold now.

    Example:
        >>> from autosearch import at_most
        >>> restated({"size_bytes ≤ 1000": 0.5}, [at_most("size_bytes", 2000)])
        {'size_bytes ≤ 2000': -0.25}
    """
    figures: dict[str, float | None] = {}
    for words, violation in recorded.items():
        metric, _, shown = words.rpartition(" ≤ ")
        bound = float(shown)
        figure = bound + violation * (abs(bound) or 1.0)
        figures[metric] = None if violation == _NOT_TO_BE_HAD else float(f"{figure:{_DIGITS}}")
    return {
        str(constraint): recorded[str(constraint)]
        if str(constraint) in recorded
        else constraint.violation(figures[constraint.metric])
        for constraint in constraints
        if constraint.metric in figures
    }


def _violations(
    session: Session,
    study_id: int,
    candidates: Sequence[tuple[CandidateRow, _Metrics]],
    constraints: Sequence[Constraint],
) -> dict[int, dict[str, float]]:
    """How far each trial that counts exceeds the bounds, by number."""
    figures, representative = dict[tuple[int, str], _Metrics](), dict[int, str]()
    known = session.execute(
        select(TrialRow.id, TrialRow.number).where(TrialRow.study_id == study_id)
    )
    numbers = {row.id: row.number for row in known}
    for candidate, metrics in candidates:
        if candidate.estimate == Estimate.VALIDATION:
            number = numbers[candidate.trial_id]
            figures[number, candidate.quantization] = metrics
            if candidate.is_representative:
                representative[number] = candidate.quantization
    counted = [state for state in TrialState if state.counts]
    trials = session.execute(
        select(TrialRow.number, TrialRow.facts, TrialRow.violations).where(
            TrialRow.study_id == study_id, TrialRow.state.in_(counted)
        )
    )
    found = dict[int, dict[str, float]]()
    for number, facts, recorded in trials:
        # What did the same as an earlier trial has its figures, and no candidates of its own.
        repeats = facts.get("repeats")
        whose = number if repeats is None else repeats["trial"]
        scheme = representative.get(number) if repeats is None else repeats["quantization"]
        told = None if scheme is None else figures.get((whose, scheme))
        if told is None:
            found[number] = restated(recorded or {}, constraints)
        else:
            named = {c.metric: told.get(c.metric) for c in constraints}
            found[number] = violations(constraints, named)
    return found
