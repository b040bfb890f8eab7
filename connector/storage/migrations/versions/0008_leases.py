"""Move leases to a column that is in no index, and leave room in PostgreSQL's pages for new versions of rows.

A relay of the previous release that still runs does not know such leases and may send an event that another relay has
leased. TikTok counts it once, by its event_id. That relay's own leases are in `due_at`, which this release respects.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("events", sa.Column("lease_until", sa.Double))
    if op.get_bind().dialect.name == "postgresql":
        # A row takes about 2 KB, so half a page holds two rows, and the other half their new versions when claimed.
        op.execute("ALTER TABLE events SET (fillfactor = 50)")
