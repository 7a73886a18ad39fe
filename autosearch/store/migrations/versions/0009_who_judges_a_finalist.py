"""Which worker judges a finalist, so that no two do."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("autosearch_finalists", sa.Column("worker_id", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("autosearch_finalists", "worker_id")
