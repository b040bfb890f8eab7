"""Add the notices of thin webhooks. The previous release works with it, too."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.create_table(
        "notices",
        sa.Column("store", sa.String, primary_key=True),
        sa.Column("object_key", sa.String, primary_key=True),
        sa.Column("topic", sa.String, nullable=False),
        sa.Column("delivery", sa.String, nullable=False),
        sa.Column("since", sa.Double, nullable=False),
        sa.Column("noted_at", sa.Double, nullable=False),
        sa.Column("due_at", sa.Double, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("lease_owner", sa.String),
        sa.Column("lease_until", sa.Double),
        sa.Column("error", sa.String, nullable=False),
    )
    op.create_index("notices_due", "notices", ["store", "due_at"])
