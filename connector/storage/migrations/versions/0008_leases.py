"""A lease has a column of its own, which no index has, and a page of PostgreSQL's has room for its rows' next versions.

A relay of the release before, as long as it still runs, does not know such leases: it may send once more what another
has in hand. TikTok counts that once, by its event_id. Leases of its own are in `due_at`, which is respected.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("events", sa.Column("lease_until", sa.Double))
    if op.get_bind().dialect.name == "postgresql":
        # Of a row of some two kilobytes a page holds two, and while they are claimed both new versions too.
        op.execute("ALTER TABLE events SET (fillfactor = 50)")
