"""How often a study's workers were asked to stop."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    with op.batch_alter_table("autosearch_studies") as studies:
        studies.add_column(sa.Column("num_stops", sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("autosearch_studies") as studies:
        studies.drop_column("num_stops")
