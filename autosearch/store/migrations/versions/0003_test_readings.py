"""Every reading of a test split; those of the promotions so far are taken over."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    readings = op.create_table(
        "autosearch_test_readings",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("data_fingerprint", sa.String(length=64), nullable=False),
        sa.Column("study", sa.String(length=200), nullable=False),
        sa.Column("read_at", sa.DateTime(), nullable=False),
        sa.Column("what", sa.String(length=400), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_autosearch_test_readings"),
    )
    op.create_index(
        "ix_autosearch_test_readings_data_fingerprint",
        "autosearch_test_readings",
        ["data_fingerprint"],
        unique=False,
    )
    promotions = sa.table(
        "autosearch_promotions",
        sa.column("id"),
        sa.column("alias", sa.String()),
        sa.column("promoted_at", sa.DateTime()),
        sa.column("record", _JSON),
    )
    rows = op.get_bind().execute(sa.select(promotions).order_by(promotions.c.id)).all()
    earlier = [
        {
            "data_fingerprint": row.record["dataset"]["fingerprint"],
            "study": row.record["study"],
            "read_at": row.promoted_at,
            "what": row.record["candidate"],
            "why": f"promoted to {row.alias}",
        }
        for row in rows
    ]
    if earlier:
        op.bulk_insert(readings, earlier)


def downgrade() -> None:
    op.drop_index("ix_autosearch_test_readings_data_fingerprint", "autosearch_test_readings")
    op.drop_table("autosearch_test_readings")
