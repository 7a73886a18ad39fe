"""The tables of autosearch, all prefixed ``autosearch_``, beside Optuna's in one database.

What is filtered, sorted or plotted is a column; the rest is JSON. Times are naive UTC. There are
no foreign keys into Optuna's tables: a trial is matched by study name and number. The schema is
made by the migrations alone; these classes only describe what they make.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, MetaData, String, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = [
    "TABLE_PREFIX",
    "Base",
    "BaselineRow",
    "CandidateRow",
    "EpochRow",
    "FinalistRow",
    "LatencyRow",
    "MeasurementRow",
    "ModelRow",
    "NoteRow",
    "PromotionRow",
    "ReadingRow",
    "StudyRow",
    "TargetRow",
    "TrialRow",
    "WorkerRow",
]

TABLE_PREFIX = "autosearch_"

_Json = JSON().with_variant(JSONB(), "postgresql")
_SHA256 = String(64)


class Base(DeclarativeBase):
    """The base of every table here, with constraint names that a migration can address."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class StudyRow(Base):
    """A study: its definition as it stood when it was last run."""

    __tablename__ = "autosearch_studies"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    created_at: Mapped[datetime]
    seed: Mapped[int]
    definition: Mapped[dict[str, Any]] = mapped_column(_Json)
    definition_sha256: Mapped[str] = mapped_column(_SHA256)
    data_fingerprint: Mapped[str | None] = mapped_column(_SHA256)
    # ``classes``, and ``sides`` by SHA-256 of each file; large, so only ever read by itself.
    data_sides: Mapped[dict[str, Any] | None] = mapped_column(_Json, deferred=True)
    environment: Mapped[dict[str, Any]] = mapped_column(_Json)
    run_seconds: Mapped[float] = mapped_column(default=0.0)
    # By the clock that leases go by.
    counted_until: Mapped[datetime | None]
    # How often its workers were asked to stop.
    num_stops: Mapped[int] = mapped_column(default=0, server_default="0")


class WorkerRow(Base):
    """A worker process and its lease: past ``lease_until`` it counts as dead."""

    __tablename__ = "autosearch_workers"

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(
        ForeignKey("autosearch_studies.id", ondelete="CASCADE"), index=True
    )
    host: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int]
    started_at: Mapped[datetime]
    lease_until: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class TrialRow(Base):
    """One sampled configuration and how it went."""

    __tablename__ = "autosearch_trials"
    __table_args__ = (
        UniqueConstraint("study_id", "number"),
        # A deleted study's identifiers must not come back under another one.
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(
        ForeignKey("autosearch_studies.id", ondelete="CASCADE"), index=True
    )
    number: Mapped[int]
    state: Mapped[str] = mapped_column(String(16), index=True)
    config: Mapped[dict[str, Any]] = mapped_column(_Json)
    worker_id: Mapped[int | None]
    attempt: Mapped[int] = mapped_column(default=1)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    duration_s: Mapped[float | None]
    stage_seconds: Mapped[dict[str, Any]] = mapped_column(_Json)
    # A large network's multiply-accumulates pass 2³¹.
    parameters: Mapped[int | None] = mapped_column(BigInteger)
    macs: Mapped[int | None] = mapped_column(BigInteger)
    violations: Mapped[dict[str, Any] | None] = mapped_column(_Json)
    # SHA-256 of what it did; a trial that took over an earlier one's result has none.
    identity: Mapped[str | None] = mapped_column(_SHA256, index=True)
    facts: Mapped[dict[str, Any]] = mapped_column(_Json)
    error: Mapped[str | None] = mapped_column(Text)
    traceback: Mapped[str | None] = mapped_column(Text)


class EpochRow(Base):
    """What a trial reported after one epoch; an infeasible trial has none."""

    __tablename__ = "autosearch_epochs"

    trial_id: Mapped[int] = mapped_column(
        ForeignKey("autosearch_trials.id", ondelete="CASCADE"), primary_key=True
    )
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    accuracy: Mapped[float | None]
    train_accuracy: Mapped[float | None]
    train_loss: Mapped[float | None]
    validation_loss: Mapped[float | None]
    learning_rate: Mapped[float | None]
    seconds: Mapped[float | None]
    metrics: Mapped[dict[str, Any]] = mapped_column(_Json)


class CandidateRow(Base):
    """A deployable file (or a point of a user's function) with what does not depend on a target."""

    __tablename__ = "autosearch_candidates"
    __table_args__ = (UniqueConstraint("trial_id", "quantization", "estimate"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(
        ForeignKey("autosearch_studies.id", ondelete="CASCADE"), index=True
    )
    trial_id: Mapped[int] = mapped_column(
        ForeignKey("autosearch_trials.id", ondelete="CASCADE"), index=True
    )
    quantization: Mapped[str] = mapped_column(String(200))
    # An ``Estimate``: how its accuracy was come by, and with that what it was fitted on.
    estimate: Mapped[str] = mapped_column(String(32), server_default="validation")
    is_representative: Mapped[bool]
    is_feasible: Mapped[bool]
    accuracy: Mapped[float | None]
    accuracy_low: Mapped[float | None]
    accuracy_high: Mapped[float | None]
    # Fractional where a user's function says so.
    size_bytes: Mapped[float | None]
    parameters: Mapped[float | None]
    macs: Mapped[float | None]
    artifact_sha256: Mapped[str | None] = mapped_column(_SHA256)
    # Of a network that is not the trial's own, as a finalist's is.
    keras_sha256: Mapped[str | None] = mapped_column(_SHA256)
    predictions_sha256: Mapped[str | None] = mapped_column(_SHA256)
    metrics: Mapped[dict[str, Any]] = mapped_column(_Json)
    conditions: Mapped[dict[str, Any]] = mapped_column(_Json)
    reasons: Mapped[dict[str, Any]] = mapped_column(_Json)


class FinalistRow(Base):
    """A trial that is judged again by cross-validation, fold by fold, so that none is lost.

    ``folds`` maps the number of a fold to quantizations and the files of their predictions.
    """

    __tablename__ = "autosearch_finalists"

    trial_id: Mapped[int] = mapped_column(
        ForeignKey("autosearch_trials.id", ondelete="CASCADE"), primary_key=True
    )
    num_folds: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    data_fingerprint: Mapped[str] = mapped_column(_SHA256, primary_key=True)
    folds: Mapped[dict[str, Any]] = mapped_column(_Json)
    worker_id: Mapped[int | None]
    attempt: Mapped[int]
    is_done: Mapped[bool]
    error: Mapped[str | None] = mapped_column(Text)


class BaselineRow(Base):
    """A reference trial: what the study's images give without a search."""

    __tablename__ = "autosearch_baselines"

    study_id: Mapped[int] = mapped_column(
        ForeignKey("autosearch_studies.id", ondelete="CASCADE"), primary_key=True
    )
    data_fingerprint: Mapped[str] = mapped_column(_SHA256, primary_key=True)
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    worker_id: Mapped[int | None]
    attempt: Mapped[int]
    is_done: Mapped[bool]
    finished_at: Mapped[datetime | None]
    seconds: Mapped[float | None]
    error: Mapped[str | None] = mapped_column(Text)
    accuracy_low: Mapped[float | None]
    accuracy_high: Mapped[float | None]
    quantization: Mapped[str | None] = mapped_column(String(200))
    target: Mapped[str | None] = mapped_column(String(200))
    artifact_sha256: Mapped[str | None] = mapped_column(_SHA256)
    keras_sha256: Mapped[str | None] = mapped_column(_SHA256)
    predictions_sha256: Mapped[str | None] = mapped_column(_SHA256)
    metrics: Mapped[dict[str, Any]] = mapped_column(_Json)
    conditions: Mapped[dict[str, Any]] = mapped_column(_Json)


class TargetRow(Base):
    """Where figures of latency and memory were taken: a kind of machine with a runtime."""

    __tablename__ = "autosearch_targets"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(_SHA256, unique=True)
    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[dict[str, Any]] = mapped_column(_Json)


class MeasurementRow(Base):
    """A candidate's figures on one target. Figures of two targets are never ranked together."""

    __tablename__ = "autosearch_measurements"
    __table_args__ = (UniqueConstraint("candidate_id", "target_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    candidate_id: Mapped[int] = mapped_column(
        ForeignKey("autosearch_candidates.id", ondelete="CASCADE"), index=True
    )
    target_id: Mapped[int] = mapped_column(ForeignKey("autosearch_targets.id"), index=True)
    is_measured: Mapped[bool]
    latency_ms: Mapped[float | None]
    latency_p90_ms: Mapped[float | None]
    reference_latency_ms: Mapped[float | None]
    memory_bytes: Mapped[float | None]
    measured_at: Mapped[datetime]


class LatencyRow(Base):
    """A latency that was taken again, as in a quiet moment; the search's own figure stays."""

    __tablename__ = "autosearch_latencies"

    id: Mapped[int] = mapped_column(primary_key=True)
    candidate_id: Mapped[int] = mapped_column(
        ForeignKey("autosearch_candidates.id", ondelete="CASCADE"), index=True
    )
    target_id: Mapped[int] = mapped_column(ForeignKey("autosearch_targets.id"), index=True)
    latency_ms: Mapped[float]
    latency_p90_ms: Mapped[float]
    reference_latency_ms: Mapped[float]
    num_runs: Mapped[int]
    is_quiet: Mapped[bool]
    measured_at: Mapped[datetime]


class ModelRow(Base):
    """A named line of promoted candidates that outlives studies."""

    __tablename__ = "autosearch_models"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    created_at: Mapped[datetime]


class PromotionRow(Base):
    """One promotion, with all that an export needs. Rows are only ever added.

    The newest row of a model and alias is what the alias points to. ``record`` holds the
    candidate, its trial, the study and the data as they stood, so deleting the study leaves
    the promotion whole.
    """

    __tablename__ = "autosearch_promotions"

    id: Mapped[int] = mapped_column(primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("autosearch_models.id"), index=True)
    alias: Mapped[str] = mapped_column(String(200), index=True)
    candidate: Mapped[str] = mapped_column(String(400))
    artifact_sha256: Mapped[str] = mapped_column(_SHA256, index=True)
    keras_sha256: Mapped[str | None] = mapped_column(_SHA256)
    promoted_at: Mapped[datetime]
    note: Mapped[str] = mapped_column(Text)
    test_metrics: Mapped[dict[str, Any]] = mapped_column(_Json)
    record: Mapped[dict[str, Any]] = mapped_column(_Json)


class ReadingRow(Base):
    """One reading of a test split. Rows are only ever added, and outlive their study."""

    __tablename__ = "autosearch_test_readings"

    id: Mapped[int] = mapped_column(primary_key=True)
    data_fingerprint: Mapped[str] = mapped_column(_SHA256, index=True)
    study: Mapped[str] = mapped_column(String(200))
    read_at: Mapped[datetime]
    what: Mapped[str] = mapped_column(String(400))
    why: Mapped[str] = mapped_column(Text)


class NoteRow(Base):
    """What a person wrote of a candidate. Rows are only ever added."""

    __tablename__ = "autosearch_notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(
        ForeignKey("autosearch_studies.id", ondelete="CASCADE"), index=True
    )
    candidate: Mapped[str] = mapped_column(String(400))
    author: Mapped[str] = mapped_column(String(200))
    written_at: Mapped[datetime]
    text: Mapped[str] = mapped_column(Text)
