"""Reference trials beside a study's own."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "autosearch_baselines",
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("data_fingerprint", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("worker_id", sa.Integer(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("is_done", sa.Boolean(), nullable=False),
        sa.Column("finished_at", sa.DateTime(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("accuracy_low", sa.Double(), nullable=True),
        sa.Column("accuracy_high", sa.Double(), nullable=True),
        sa.Column("quantization", sa.String(length=200), nullable=True),
        sa.Column("target", sa.String(length=200), nullable=True),
        sa.Column("artifact_sha256", sa.String(length=64), nullable=True),
        sa.Column("keras_sha256", sa.String(length=64), nullable=True),
        sa.Column("predictions_sha256", sa.String(length=64), nullable=True),
        sa.Column("metrics", _JSON, nullable=False),
        sa.Column("conditions", _JSON, nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"],
            ["autosearch_studies.id"],
            name="fk_autosearch_baselines_study_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "study_id", "data_fingerprint", "name", name="pk_autosearch_baselines"
        ),
    )


def downgrade() -> None:
    op.drop_table("autosearch_baselines")
