"""The first tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "autosearch_models",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_autosearch_models"),
        sa.UniqueConstraint("name", name="uq_autosearch_models_name"),
    )
    op.create_table(
        "autosearch_studies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("definition", _JSON, nullable=False),
        sa.Column("definition_sha256", sa.String(length=64), nullable=False),
        sa.Column("data_fingerprint", sa.String(length=64), nullable=True),
        sa.Column("environment", _JSON, nullable=False),
        sa.Column("run_seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_autosearch_studies"),
        sa.UniqueConstraint("name", name="uq_autosearch_studies_name"),
    )
    op.create_table(
        "autosearch_targets",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("description", _JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_autosearch_targets"),
        sa.UniqueConstraint("key", name="uq_autosearch_targets_key"),
    )
    op.create_table(
        "autosearch_promotions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("alias", sa.String(length=200), nullable=False),
        sa.Column("candidate", sa.String(length=400), nullable=False),
        sa.Column("artifact_sha256", sa.String(length=64), nullable=False),
        sa.Column("keras_sha256", sa.String(length=64), nullable=True),
        sa.Column("promoted_at", sa.DateTime(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("test_metrics", _JSON, nullable=False),
        sa.Column("record", _JSON, nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id"], ["autosearch_models.id"], name="fk_autosearch_promotions_model_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_autosearch_promotions"),
    )
    op.create_index(
        "ix_autosearch_promotions_alias", "autosearch_promotions", ["alias"], unique=False
    )
    op.create_index(
        "ix_autosearch_promotions_artifact_sha256",
        "autosearch_promotions",
        ["artifact_sha256"],
        unique=False,
    )
    op.create_index(
        "ix_autosearch_promotions_model_id", "autosearch_promotions", ["model_id"], unique=False
    )

    op.create_table(
        "autosearch_trials",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("config", _JSON, nullable=False),
        sa.Column("worker_id", sa.Integer(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(), nullable=True),
        sa.Column("finished_at", sa.DateTime(), nullable=True),
        sa.Column("duration_s", sa.Double(), nullable=True),
        sa.Column("stage_seconds", _JSON, nullable=False),
        sa.Column("parameters", sa.BigInteger(), nullable=True),
        sa.Column("macs", sa.BigInteger(), nullable=True),
        sa.Column("violations", _JSON, nullable=True),
        sa.Column("facts", _JSON, nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("traceback", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["study_id"],
            ["autosearch_studies.id"],
            name="fk_autosearch_trials_study_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_autosearch_trials"),
        sa.UniqueConstraint("study_id", "number", name="uq_autosearch_trials_study_id"),
        # A deleted study's identifiers must not come back under another one.
        sqlite_autoincrement=True,
    )
    op.create_index("ix_autosearch_trials_state", "autosearch_trials", ["state"], unique=False)
    op.create_index(
        "ix_autosearch_trials_study_id", "autosearch_trials", ["study_id"], unique=False
    )

    op.create_table(
        "autosearch_workers",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(), nullable=False),
        sa.Column("lease_until", sa.DateTime(), nullable=False),
        sa.Column("ended_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["study_id"],
            ["autosearch_studies.id"],
            name="fk_autosearch_workers_study_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_autosearch_workers"),
    )
    op.create_index(
        "ix_autosearch_workers_study_id", "autosearch_workers", ["study_id"], unique=False
    )

    op.create_table(
        "autosearch_candidates",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("quantization", sa.String(length=200), nullable=False),
        sa.Column("is_representative", sa.Boolean(), nullable=False),
        sa.Column("is_feasible", sa.Boolean(), nullable=False),
        sa.Column("accuracy", sa.Double(), nullable=True),
        sa.Column("accuracy_low", sa.Double(), nullable=True),
        sa.Column("accuracy_high", sa.Double(), nullable=True),
        sa.Column("size_bytes", sa.Double(), nullable=True),
        sa.Column("parameters", sa.Double(), nullable=True),
        sa.Column("macs", sa.Double(), nullable=True),
        sa.Column("artifact_sha256", sa.String(length=64), nullable=True),
        sa.Column("metrics", _JSON, nullable=False),
        sa.Column("conditions", _JSON, nullable=False),
        sa.Column("reasons", _JSON, nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"],
            ["autosearch_studies.id"],
            name="fk_autosearch_candidates_study_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["trial_id"],
            ["autosearch_trials.id"],
            name="fk_autosearch_candidates_trial_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_autosearch_candidates"),
        sa.UniqueConstraint("trial_id", "quantization", name="uq_autosearch_candidates_trial_id"),
    )
    op.create_index(
        "ix_autosearch_candidates_study_id", "autosearch_candidates", ["study_id"], unique=False
    )
    op.create_index(
        "ix_autosearch_candidates_trial_id", "autosearch_candidates", ["trial_id"], unique=False
    )

    op.create_table(
        "autosearch_epochs",
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("accuracy", sa.Double(), nullable=True),
        sa.Column("train_accuracy", sa.Double(), nullable=True),
        sa.Column("train_loss", sa.Double(), nullable=True),
        sa.Column("validation_loss", sa.Double(), nullable=True),
        sa.Column("learning_rate", sa.Double(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("metrics", _JSON, nullable=False),
        sa.ForeignKeyConstraint(
            ["trial_id"],
            ["autosearch_trials.id"],
            name="fk_autosearch_epochs_trial_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("trial_id", "epoch", name="pk_autosearch_epochs"),
    )
    op.create_table(
        "autosearch_measurements",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("candidate_id", sa.Integer(), nullable=False),
        sa.Column("target_id", sa.Integer(), nullable=False),
        sa.Column("is_measured", sa.Boolean(), nullable=False),
        sa.Column("latency_ms", sa.Double(), nullable=True),
        sa.Column("latency_p90_ms", sa.Double(), nullable=True),
        sa.Column("reference_latency_ms", sa.Double(), nullable=True),
        sa.Column("memory_bytes", sa.Double(), nullable=True),
        sa.Column("measured_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["candidate_id"],
            ["autosearch_candidates.id"],
            name="fk_autosearch_measurements_candidate_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["target_id"], ["autosearch_targets.id"], name="fk_autosearch_measurements_target_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_autosearch_measurements"),
        sa.UniqueConstraint(
            "candidate_id", "target_id", name="uq_autosearch_measurements_candidate_id"
        ),
    )
    op.create_index(
        "ix_autosearch_measurements_candidate_id",
        "autosearch_measurements",
        ["candidate_id"],
        unique=False,
    )
    op.create_index(
        "ix_autosearch_measurements_target_id",
        "autosearch_measurements",
        ["target_id"],
        unique=False,
    )


def downgrade() -> None:
    op.drop_index("ix_autosearch_measurements_target_id", "autosearch_measurements")
    op.drop_index("ix_autosearch_measurements_candidate_id", "autosearch_measurements")

    op.drop_table("autosearch_measurements")
    op.drop_table("autosearch_epochs")
    op.drop_index("ix_autosearch_candidates_trial_id", "autosearch_candidates")
    op.drop_index("ix_autosearch_candidates_study_id", "autosearch_candidates")

    op.drop_table("autosearch_candidates")
    op.drop_index("ix_autosearch_workers_study_id", "autosearch_workers")

    op.drop_table("autosearch_workers")
    op.drop_index("ix_autosearch_trials_study_id", "autosearch_trials")
    op.drop_index("ix_autosearch_trials_state", "autosearch_trials")

    op.drop_table("autosearch_trials")
    op.drop_index("ix_autosearch_promotions_model_id", "autosearch_promotions")
    op.drop_index("ix_autosearch_promotions_artifact_sha256", "autosearch_promotions")
    op.drop_index("ix_autosearch_promotions_alias", "autosearch_promotions")

    op.drop_table("autosearch_promotions")
    op.drop_table("autosearch_targets")
    op.drop_table("autosearch_studies")
    op.drop_table("autosearch_models")
