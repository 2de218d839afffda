"""Indexes that end in the generation.

Without it SQLite takes the index of a generation's documents, and looks at all of them, to find those of one file.
"""

from alembic import op

revision = "m010"
down_revision = "m009"
branch_labels = None
depends_on = None

_INDEXES = {"documents_by_id": "document_id", "documents_by_file": "uri"}


def upgrade() -> None:
    """Make them longer."""
    for name, column in _INDEXES.items():
        op.drop_index(name, "documents")
        op.create_index(name, "documents", ["corpus", column, "first"])


def downgrade() -> None:
    """Make them shorter."""
    for name, column in _INDEXES.items():
        op.drop_index(name, "documents")
        op.create_index(name, "documents", ["corpus", column])
