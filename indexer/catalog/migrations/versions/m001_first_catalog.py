"""Corpora, their generations, files and documents."""

import sqlalchemy as sa
from alembic import op

revision = "m001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "corpora",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("root", sa.String, nullable=False),
        sa.Column("include", sa.JSON, nullable=False),
        sa.Column("live", sa.Integer),
        sa.Column("counter", sa.Integer, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "generations",
        sa.Column("corpus", sa.String, sa.ForeignKey("corpora.name", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("manifest", sa.JSON, nullable=False),
        sa.Column("sealed", sa.Boolean, nullable=False),
        sa.Column("documents", sa.Integer, nullable=False),
        sa.Column("chunks", sa.Integer, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "files",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("corpus", sa.String, sa.ForeignKey("corpora.name", ondelete="CASCADE"), nullable=False),
        sa.Column("uri", sa.String, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("mtime_ns", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("error", sa.String, nullable=False),
        sa.Column("first", sa.Integer, nullable=False),
        sa.Column("retired", sa.Integer),
    )
    op.create_index("files_by_corpus", "files", ["corpus", "uri"])
    op.create_table(
        "documents",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("corpus", sa.String, sa.ForeignKey("corpora.name", ondelete="CASCADE"), nullable=False),
        sa.Column("document_id", sa.String, nullable=False),
        sa.Column("uri", sa.String, nullable=False),
        sa.Column("key", sa.String, nullable=False),
        sa.Column("title", sa.String, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("sections", sa.JSON, nullable=False),
        sa.Column("file_type", sa.String, nullable=False),
        sa.Column("language", sa.String, nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("chunks", sa.JSON, nullable=False),
        sa.Column("first", sa.Integer, nullable=False),
        sa.Column("retired", sa.Integer),
    )
    op.create_index("documents_by_id", "documents", ["corpus", "document_id"])
    op.create_index("documents_by_file", "documents", ["corpus", "uri"])
    op.create_index("documents_by_facet", "documents", ["corpus", "file_type", "language", "first", "retired"])


def downgrade() -> None:
    """Drop the tables."""
    for table in ("documents", "files", "generations", "corpora"):
        op.drop_table(table)
