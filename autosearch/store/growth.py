"""Parameters as Optuna stores them, rewritten once a study's space has grown.

Optuna refuses a parameter whose choices have changed, and a sampler takes one whose range has
changed for another parameter. So what earlier trials had is written anew, in the terms of what may
be sampled now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, text

from autosearch.store.configs import whole_config
from autosearch.store.database import Database
from autosearch.store.tables import StudyRow, TrialRow

__all__ = ["EarlierTrial", "earlier_trials", "write_parameter"]

_PARAMETERS = text(
    "SELECT t.number, t.trial_id, p.param_value, p.distribution_json FROM trials t "
    "JOIN studies s ON s.study_id = t.study_id AND s.study_name = :study "
    "LEFT JOIN trial_params p ON p.trial_id = t.trial_id AND p.param_name = :name "
    "WHERE t.number < :before ORDER BY t.number"
)
_OTHERS = text(
    "SELECT p.trial_id, p.param_name FROM trial_params p "
    "JOIN trials t ON t.trial_id = p.trial_id AND t.number < :before "
    "JOIN studies s ON s.study_id = t.study_id AND s.study_name = :study "
    "WHERE p.param_name <> :name "
    "AND (p.param_name = :plain OR substr(p.param_name, 1, :length) = :prefix)"
)
_DELETE = text("DELETE FROM trial_params WHERE trial_id = :trial AND param_name = :name")
_INSERT = text(
    "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) "
    "VALUES (:trial, :name, :value, :distribution)"
)


@dataclass(frozen=True, slots=True)
class EarlierTrial:
    """What a trial knows of one parameter.

    Attributes:
        number: The trial's.
        id: Optuna's key of it.
        value: As Optuna stores it; None if the trial was not asked for the parameter.
        distribution: Optuna's JSON of what it was drawn from; None likewise.
        config: All that was sampled or fixed, by plain names; of a trial that is not finished
            only what it was given.
        other_names: Under which other conditions, or none, Optuna knows the parameter too.
    """

    number: int
    id: int
    value: float | None
    distribution: str | None
    config: Mapping[str, Any]
    other_names: Sequence[str] = ()


def earlier_trials(
    database: Database, study: str, name: str, *, plain: str, before: int
) -> list[EarlierTrial]:
    """The trials of lower numbers, with what they know of a parameter.

    Args:
        database: Opened to write.
        study: The study's name.
        name: The parameter's, as Optuna knows it.
        plain: The name without conditions.
        before: The number at which to end.
    """
    with database.session() as session:
        known = session.execute(
            select(TrialRow.number, TrialRow.config, TrialRow.facts)
            .join(StudyRow, StudyRow.id == TrialRow.study_id)
            .where(StudyRow.name == study, TrialRow.number < before)
        )
        configs = {row.number: whole_config(row.config, row.facts) for row in known}
        of = {"study": study, "name": name, "before": before}
        others = dict[int, list[str]]()
        like = {"plain": plain, "prefix": f"{plain}[", "length": len(plain) + 1}
        for key, other in session.execute(_OTHERS, of | like):
            others.setdefault(key, []).append(other)
        return [
            EarlierTrial(
                number, key, value, distribution, configs.get(number, {}), others.get(key, ())
            )
            for number, key, value, distribution in session.execute(_PARAMETERS, of)
        ]


def write_parameter(
    database: Database,
    name: str,
    values: Mapping[int, float],
    distribution: str,
    *,
    gone: Sequence[tuple[int, str]] = (),
) -> None:
    """Writes one parameter of some trials anew, all of them or none.

    Args:
        database: Opened to write.
        name: The parameter's, as Optuna knows it.
        values: Optuna's key of a trial to the value as Optuna stores it.
        distribution: Optuna's JSON of what the values are drawn from now.
        gone: Optuna's key of a trial and the name of a parameter that it has no more.
    """
    rows = [
        {"trial": trial, "name": name, "value": value, "distribution": distribution}
        for trial, value in values.items()
    ]
    before = [
        {"trial": trial, "name": name} for trial, name in [*gone, *((t, name) for t in values)]
    ]
    with database.session() as session:
        if before:
            session.execute(_DELETE, before)
        if rows:
            session.execute(_INSERT, rows)
