"""Finalists, judged again by cross-validation; predictions of each file; sides of images."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    with op.batch_alter_table("autosearch_candidates") as candidates:
        candidates.add_column(
            sa.Column("estimate", sa.String(length=32), nullable=False, server_default="validation")
        )
        candidates.add_column(sa.Column("keras_sha256", sa.String(length=64), nullable=True))
        candidates.add_column(sa.Column("predictions_sha256", sa.String(length=64), nullable=True))
        candidates.drop_constraint("uq_autosearch_candidates_trial_id", type_="unique")
        candidates.create_unique_constraint(
            "uq_autosearch_candidates_trial_id", ["trial_id", "quantization", "estimate"]
        )
    with op.batch_alter_table("autosearch_studies") as studies:
        studies.add_column(sa.Column("data_sides", _JSON, nullable=True))
    op.create_table(
        "autosearch_finalists",
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("num_folds", sa.Integer(), nullable=False),
        sa.Column("data_fingerprint", sa.String(length=64), nullable=False),
        sa.Column("folds", _JSON, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("is_done", sa.Boolean(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["trial_id"],
            ["autosearch_trials.id"],
            name="fk_autosearch_finalists_trial_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "trial_id", "num_folds", "data_fingerprint", name="pk_autosearch_finalists"
        ),
    )
