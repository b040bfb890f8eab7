"""Add problems with their alerts, and webhook counts by the hour.

The previous release works with it, too.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "alerts",
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("sentence", sa.String, nullable=False),
        sa.Column("since", sa.Double, nullable=False),
        sa.Column("noted_at", sa.Double),
        sa.Column("over_at", sa.Double),
        sa.Column("told_at", sa.Double),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", sa.Double, nullable=False),
    )
    op.create_table(
        "arrivals",
        sa.Column("store", sa.String, primary_key=True),
        sa.Column("hour", sa.BigInteger, primary_key=True),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("last_at", sa.Double, nullable=False),
    )
    op.create_index("arrivals_hour", "arrivals", ["hour"])
