"""Keys of the REST interface."""

import sqlalchemy as sa
from alembic import op

revision = "m004"
down_revision = "m003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("role", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False, unique=True),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used", sa.DateTime(timezone=True)),
        sa.Column("revoked", sa.DateTime(timezone=True)),
    )
    # One valid key of a name; revoked ones may have had the same.
    valid = sa.text("revoked IS NULL")
    op.create_index("api_keys_by_name", "api_keys", ["name"], unique=True, sqlite_where=valid, postgresql_where=valid)


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("api_keys")
