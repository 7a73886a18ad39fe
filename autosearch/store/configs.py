"""What trials were sampled as, in words that outlive the space that they were sampled from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select

from autosearch.store.database import Database
from autosearch.store.tables import StudyRow, TrialRow

__all__ = ["read_configs", "whole_config"]


def whole_config(config: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a trial was sampled as, its architecture included.

    A space of one architecture does not sample which; a space that it has grown into does.

    Args:
        config: Parameter name to value.
        facts: What the trial's evaluator described.

    Example:
        >>> whole_config({"architecture/width": 8}, {"architecture": "cnn"})
        {'architecture': 'cnn', 'architecture/width': 8}
    """
    named = facts.get("architecture")
    return {**({"architecture": named} if isinstance(named, str) else {}), **config}


def read_configs(
    database: Database, study: str, numbers: Sequence[int]
) -> dict[int, dict[str, Any]]:
    """What some trials of a study were sampled as, by number.

    Args:
        database: Opened in any way, with tables of ours.
        study: The study's name; of one of Optuna's alone there is nothing.
        numbers: The trials.
    """
    with database.session() as session:
        rows = session.execute(
            select(TrialRow.number, TrialRow.config, TrialRow.facts)
            .join(StudyRow, StudyRow.id == TrialRow.study_id)
            .where(StudyRow.name == study, TrialRow.number.in_(numbers))
        )
        return {number: whole_config(config, facts) for number, config, facts in rows}
