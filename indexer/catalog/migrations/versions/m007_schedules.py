"""Corpora that are watched or have a schedule."""

import sqlalchemy as sa
from alembic import op

revision = "m007"
down_revision = "m006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "schedules",
        sa.Column("corpus", sa.String, sa.ForeignKey("corpora.name", ondelete="CASCADE"), primary_key=True),
        sa.Column("watched", sa.Boolean, nullable=False),
        sa.Column("quiet_seconds", sa.Double, nullable=False),
        sa.Column("poll_seconds", sa.Double),
        sa.Column("cron", sa.String, nullable=False),
        sa.Column("timezone", sa.String, nullable=False),
        sa.Column("due", sa.Double),
        sa.Column("note", sa.String, nullable=False),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("schedules")
