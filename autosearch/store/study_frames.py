"""The frames of a study that are read whole: tidy, one row a thing, with documented columns.

A figure that is not to be had is NaN in a frame and null in JSON. ``StudyView`` hands them out;
``store.frames`` holds those of something that watches.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sqlalchemy import Executable, Select, select

from autosearch.metrics import WHOLE
from autosearch.store.artifacts import ArtifactStore
from autosearch.store.database import Database
from autosearch.store.tables import CandidateRow, EpochRow, MeasurementRow, TargetRow, TrialRow
from autosearch.values import TARGET_METRICS, Direction, Estimate, Objective, TrialState

__all__ = [
    "CANDIDATE_COLUMNS",
    "FIGURES",
    "RESERVED_COLUMNS",
    "by_estimate",
    "candidate_id",
    "candidates_frame",
    "class_names",
    "epochs_frame",
    "figures_of",
    "minimized",
    "on_one_target",
    "read_candidates",
    "read_frame",
    "records",
    "select_candidates",
    "trials_frame",
]

CANDIDATE_COLUMNS = (
    "candidate",
    "trial",
    "quantization",
    "feasible",
    "representative",
    "estimate",
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "size_bytes",
    "latency_ms",
    "latency_p90_ms",
    "memory_bytes",
    "target",
    "is_measured",
    "parameters",
    "macs",
    "artifact",
)
_LAST_COLUMNS = (
    "artifact_sha256",
    "keras_sha256",
    "predictions_sha256",
    "target_id",
    "target_description",
    "conditions",
    "reasons",
)
RESERVED_COLUMNS = frozenset(
    (
        "candidate",
        "trial",
        "quantization",
        "feasible",
        "representative",
        "estimate",
        "target",
        "is_measured",
        "artifact",
        *_LAST_COLUMNS,
    )
)
"""What no metric of a user's function can be called."""

_OF_TARGET = (
    *TARGET_METRICS,
    "is_measured",
    "target",
    "target_id",
    "target_description",
)
"""What a row has of its target, and of what was measured there."""

FIGURES = ("accuracy", "accuracy_low", "accuracy_high", "latency_ms", "latency_p90_ms", *WHOLE)
"""The columns of candidates that are figures of ours: NaN where one is not to be had."""


def candidate_id(trial: int, quantization: str, estimate: str = Estimate.VALIDATION) -> str:
    """The id of a candidate within its study.

    Example:
        >>> candidate_id(12, "int8"), candidate_id(12, "int8", "cross_validation")
        ('12-int8', '12-int8-refit')
    """
    name = f"{trial}-{quantization}" if quantization else str(trial)
    return f"{name}-refit" if estimate == Estimate.CROSS_VALIDATION else name


def class_names(conditions: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    """The classes of a candidate in the order of its outputs and of its confusion matrix.

    PostgreSQL sorts the keys of an object, such as ``per_class``, by their length; the list that
    is among the facts of the trial stays as it is. Of many classes ``per_class`` is not kept.

    Args:
        conditions: Of the candidate.
        facts: Of its trial.

    Example:
        >>> class_names({"per_class": {"cat": {}, "bird": {}}}, {"classes": ["bird", "cat"]})
        ['bird', 'cat']
    """
    named, described = list(conditions.get("per_class") or {}), facts.get("classes")
    # A function of the user's describes what it likes under that name.
    if not isinstance(described, list):
        return named
    if not named:
        return described if all(isinstance(name, str) for name in described) else []
    return list(map(str, described)) if set(map(str, described)) == set(named) else named


def trials_frame(database: Database, study_id: int) -> pd.DataFrame:
    """What ``StudyView.trials_frame()`` answers."""
    statement = (
        select(
            TrialRow.number,
            TrialRow.state,
            TrialRow.config,
            TrialRow.started_at,
            TrialRow.finished_at,
            TrialRow.duration_s,
            TrialRow.error,
            TrialRow.attempt,
            TrialRow.parameters,
            TrialRow.macs,
            TrialRow.stage_seconds,
            TrialRow.violations,
            TrialRow.facts,
            TrialRow.traceback,
        )
        .where(TrialRow.study_id == study_id)
        .order_by(TrialRow.number)
    )
    return read_frame(database, statement)


def epochs_frame(database: Database, study_id: int) -> pd.DataFrame:
    """What ``StudyView.epochs_frame()`` answers."""
    statement = (
        select(
            TrialRow.number.label("trial"),
            EpochRow.epoch,
            EpochRow.accuracy,
            EpochRow.train_accuracy,
            EpochRow.train_loss,
            EpochRow.validation_loss,
            EpochRow.learning_rate,
            EpochRow.seconds,
            EpochRow.metrics,
        )
        .join(TrialRow, TrialRow.id == EpochRow.trial_id)
        .where(TrialRow.study_id == study_id)
        .order_by(TrialRow.number, EpochRow.epoch)
    )
    return read_frame(database, statement)


def candidates_frame(database: Database, study_id: int, artifacts: ArtifactStore) -> pd.DataFrame:
    """What ``StudyView.candidates_frame()`` answers."""
    statement = select_candidates(
        study_id,
        MeasurementRow.is_measured,
        CandidateRow.keras_sha256,
        CandidateRow.conditions,
        CandidateRow.reasons,
        TargetRow.description.label("target_description"),
    ).order_by(TrialRow.number, CandidateRow.id, MeasurementRow.id)
    frame, others = read_candidates(database, statement)
    frame["artifact"] = [
        artifacts.url(sha256) if isinstance(sha256, str) else None
        for sha256 in frame["artifact_sha256"]
    ]
    ordered = frame[[*CANDIDATE_COLUMNS]].copy()
    for name in others.columns:
        ordered[name] = others[name]
    return pd.concat([ordered, frame[[*_LAST_COLUMNS]]], axis=1)


def select_candidates(study_id: int, *more: Any) -> Select[*tuple[Any, ...]]:
    """The candidates of a study that were not discarded, once for each target they ran on.

    Args:
        study_id: The study's row.
        more: Further columns of trials, candidates, measurements and targets.
    """
    return (
        select(
            TrialRow.number.label("trial"),
            CandidateRow.quantization,
            CandidateRow.is_feasible.label("feasible"),
            CandidateRow.is_representative.label("representative"),
            CandidateRow.estimate,
            CandidateRow.accuracy,
            CandidateRow.accuracy_low,
            CandidateRow.accuracy_high,
            CandidateRow.size_bytes,
            MeasurementRow.latency_ms,
            MeasurementRow.latency_p90_ms,
            MeasurementRow.memory_bytes,
            CandidateRow.parameters,
            CandidateRow.macs,
            TargetRow.name.label("target"),
            TargetRow.id.label("target_id"),
            CandidateRow.artifact_sha256,
            CandidateRow.predictions_sha256,
            CandidateRow.metrics,
            *more,
        )
        .join(TrialRow, TrialRow.id == CandidateRow.trial_id)
        .outerjoin(MeasurementRow, MeasurementRow.candidate_id == CandidateRow.id)
        .outerjoin(TargetRow, TargetRow.id == MeasurementRow.target_id)
        .where(CandidateRow.study_id == study_id, TrialRow.state != TrialState.DISCARDED)
    )


def read_candidates(database: Database, statement: Executable) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What ``select_candidates`` finds, named, as ``_with_own_target`` gives it."""
    frame = read_frame(database, statement)
    names = map(candidate_id, frame["trial"], frame["quantization"], frame["estimate"])
    frame.insert(0, "candidate", list(names))
    return _with_own_target(frame.astype(dict.fromkeys(FIGURES, float)))


def _with_own_target(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Gives candidates that a search without a target found a row of no target.

    Such a search keeps what ``TARGET_METRICS`` names among a candidate's other metrics. What a
    machine measured of it since is that machine's, in a row beside it.

    Args:
        frame: One row a candidate and target it was measured on, or a candidate that was measured
            on none; with ``candidate``, ``metrics`` and what is known of its target.

    Returns:
        Such a frame without ``metrics``, and these as columns, with the same index.
    """
    has_target = frame["target_id"].notna()
    answers = [not metrics.keys().isdisjoint(TARGET_METRICS) for metrics in frame["metrics"]]
    own = frame[has_target & np.array(answers, dtype=np.bool_)].drop_duplicates("candidate")
    if len(own):
        own = own.drop(columns=[*_OF_TARGET], errors="ignore")
        # Where it stood, before what was measured later.
        both = pd.concat([own, frame])[[*frame]].sort_index(kind="stable")
        frame = both.reset_index(drop=True)
        has_target = frame["target_id"].notna()
    others = pd.DataFrame(list(frame["metrics"]), index=frame.index, dtype=float)
    for name in others.columns.intersection([*TARGET_METRICS]):
        others[name] = frame[name].where(has_target, others[name])
    return frame.drop(columns="metrics"), others


def read_frame(database: Database, statement: Executable) -> pd.DataFrame:
    """The rows of a query, with its columns even if there are none."""
    with database.session() as session:
        # Plain rows, column by column: at 30,000 of them half of the time is objects in between.
        result = session.connection().execute(statement)
        names, rows = list(result.keys()), result.all()
    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    return pd.DataFrame(
        {name: list(column) for name, column in zip(names, columns, strict=True)}, columns=names
    )


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame as JSON-friendly dicts: no NaN, whole numbers whole, times in UTC."""
    return [
        {str(name): _plain(str(name), value) for name, value in row.items()}
        for row in frame.to_dict(orient="records")
    ]


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, (dict, list)):
        return json.loads(json.dumps(value, default=str))
    if value is None or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC).isoformat()
    if isinstance(value, np.generic):
        value = value.item()
    if name in WHOLE and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def figures_of(frame: pd.DataFrame, metric: str) -> npt.NDArray[np.float64]:
    """A metric's column, shape ``(n,)``: NaN where it is not known or not finite."""
    if metric not in frame:
        return np.full(len(frame), np.nan)
    values = np.asarray(frame[metric], dtype=np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def minimized(frame: pd.DataFrame, objectives: Sequence[Objective]) -> npt.NDArray[np.float64]:
    """The objectives of candidates as an array (rows, objectives): lower is better, NaN unknown."""
    columns = []
    for objective in objectives:
        values = figures_of(frame, objective.metric)
        columns.append(-values if objective.direction is Direction.MAXIMIZE else values)
    return np.stack(columns, axis=1) if columns else np.empty((len(frame), 0))


def on_one_target(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the target with most candidates; no target counts as one, before its equals.

    Figures of two targets never meet. Of equals it is the one that was measured first, on which
    the study was searched: rows come in the order in which they were written.
    """
    ids, names = frame["target_id"], frame["candidate"]
    found = names.groupby(ids, sort=False).nunique()
    has_none = ids.isna()
    if found.empty or names[has_none].nunique() >= found.max():
        return frame[has_none]
    return frame[ids == found.idxmax()]


def by_estimate(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Candidates with the search's own figures, and finalists judged again by cross-validation.

    Each kind is on its own main target: finalists may have been judged on another machine.
    """
    is_judged = (frame["estimate"] == Estimate.CROSS_VALIDATION).to_numpy(dtype=bool)
    searched, judged = (on_one_target(frame[kind]) for kind in (~is_judged, is_judged))
    return searched.reset_index(drop=True), judged.reset_index(drop=True)
