"""Add leases, and indexes to find old rows. The previous release works with it, too."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "leases",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("until", sa.Double, nullable=False),
    )
    for name, payload in (("events_finished", "IS NOT NULL"), ("events_key_only", "IS NULL")):
        condition = sa.text(f"settled_at IS NOT NULL AND payload {payload}")
        op.create_index(name, "events", ["settled_at"], sqlite_where=condition, postgresql_where=condition)
    op.create_index("parked_at", "parked", ["parked_at"])
    op.create_index("counters_hour", "counters", ["hour"])
