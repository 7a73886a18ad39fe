"""Until when a study's time is counted, so that two who run it count it once."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("autosearch_studies", sa.Column("counted_until", sa.DateTime(), nullable=True))


def downgrade() -> None:
    op.drop_column("autosearch_studies", "counted_until")
