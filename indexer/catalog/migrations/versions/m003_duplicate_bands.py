"""Signatures of documents and their bands, by which near-duplicates are found."""

import sqlalchemy as sa
from alembic import op

revision = "m003"
down_revision = "m002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables; documents that are there already have no signature until they are built anew."""

    def document() -> sa.ForeignKey:
        return sa.ForeignKey("documents.id", ondelete="CASCADE")

    op.create_table(
        "signatures",
        sa.Column("document", sa.Integer, document(), primary_key=True, autoincrement=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "bands",
        sa.Column("document", sa.Integer, document(), primary_key=True, autoincrement=False),
        sa.Column("band", sa.BigInteger, primary_key=True, autoincrement=False),
    )
    op.create_index("bands_by_value", "bands", ["band", "document"])


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("bands")
    op.drop_table("signatures")
