"""Latencies that were taken again, beside those of the search."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "autosearch_latencies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("candidate_id", sa.Integer(), nullable=False),
        sa.Column("target_id", sa.Integer(), nullable=False),
        sa.Column("latency_ms", sa.Double(), nullable=False),
        sa.Column("latency_p90_ms", sa.Double(), nullable=False),
        sa.Column("reference_latency_ms", sa.Double(), nullable=False),
        sa.Column("num_runs", sa.Integer(), nullable=False),
        sa.Column("is_quiet", sa.Boolean(), nullable=False),
        sa.Column("measured_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["candidate_id"],
            ["autosearch_candidates.id"],
            name="fk_autosearch_latencies_candidate_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["target_id"], ["autosearch_targets.id"], name="fk_autosearch_latencies_target_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_autosearch_latencies"),
    )
    op.create_index(
        "ix_autosearch_latencies_candidate_id",
        "autosearch_latencies",
        ["candidate_id"],
        unique=False,
    )
    op.create_index(
        "ix_autosearch_latencies_target_id", "autosearch_latencies", ["target_id"], unique=False
    )


def downgrade() -> None:
    op.drop_index("ix_autosearch_latencies_target_id", "autosearch_latencies")
    op.drop_index("ix_autosearch_latencies_candidate_id", "autosearch_latencies")
    op.drop_table("autosearch_latencies")
