"""Labels of documents and passages."""

import sqlalchemy as sa
from alembic import op

revision = "m005"
down_revision = "m004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "label_sets",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("corpus", sa.String, sa.ForeignKey("corpora.name", ondelete="CASCADE"), nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("unit", sa.String, nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("corpus", "name"),
    )
    op.create_table(
        "labels",
        sa.Column("label_set", sa.Integer, sa.ForeignKey("label_sets.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("item", sa.String, primary_key=True),
        sa.Column("value", sa.String, nullable=False),
        sa.Column("score", sa.Float, nullable=False),
    )
    op.create_index("labels_by_value", "labels", ["label_set", "value"])


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("labels")
    op.drop_table("label_sets")
