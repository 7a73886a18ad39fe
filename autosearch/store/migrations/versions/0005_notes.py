"""Notes that people leave on a candidate."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "autosearch_notes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("candidate", sa.String(length=400), nullable=False),
        sa.Column("author", sa.String(length=200), nullable=False),
        sa.Column("written_at", sa.DateTime(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"],
            ["autosearch_studies.id"],
            name="fk_autosearch_notes_study_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_autosearch_notes"),
    )
    op.create_index("ix_autosearch_notes_study_id", "autosearch_notes", ["study_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_autosearch_notes_study_id", "autosearch_notes")
    op.drop_table("autosearch_notes")
