"""What a trial did, so that the same is not done twice."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("autosearch_trials", sa.Column("identity", sa.String(length=64), nullable=True))
    op.create_index("ix_autosearch_trials_identity", "autosearch_trials", ["identity"])


def downgrade() -> None:
    op.drop_index("ix_autosearch_trials_identity", "autosearch_trials")
    op.drop_column("autosearch_trials", "identity")
