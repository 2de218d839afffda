"""Queries asked, searches saved, and what people judged of results."""

import sqlalchemy as sa
from alembic import op

revision = "m008"
down_revision = "m007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "query_history",
        *_whose(),
        sa.Column("query", sa.String, nullable=False),
        sa.Column("state", sa.JSON, nullable=False),
        sa.Column("asked", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("query_history_by_person", "query_history", ["person", "corpus"])
    op.create_table(
        "saved_searches",
        *_whose(),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("state", sa.JSON, nullable=False),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("seen", sa.JSON, nullable=False),
        sa.Column("fresh", sa.JSON, nullable=False),
        sa.Column("unread", sa.Boolean, nullable=False),
        sa.Column("checked", sa.Integer, nullable=True),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("person", "name"),
    )
    op.create_table(
        "judgments",
        *_whose(),
        sa.Column("query", sa.String, nullable=False),
        sa.Column("document_id", sa.String, nullable=False),
        sa.Column("passage_id", sa.String, nullable=False),
        sa.Column("uri", sa.String, nullable=False),
        sa.Column("title", sa.String, nullable=False),
        sa.Column("text", sa.String, nullable=False),
        sa.Column("grade", sa.Integer, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("judgments_by_person", "judgments", ["corpus", "person"])


def downgrade() -> None:
    """Drop the tables."""
    for table in ("judgments", "saved_searches", "query_history"):
        op.drop_table(table)


def _whose() -> tuple[sa.Column[int], sa.Column[str], sa.Column[str]]:
    return (
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("person", sa.String, nullable=False),
        sa.Column("corpus", sa.String, sa.ForeignKey("corpora.name", ondelete="CASCADE"), nullable=False),
    )
