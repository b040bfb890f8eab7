"""Add the end of a store's last round of reconciliation, by which an interrupted or overdue round is recognised.

The previous release works with it, too. While one still reconciles, the new one repeats its rounds, which changes
nothing: what was queued is known.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("reconciled", sa.Column("done_at", sa.Double))
    op.execute("UPDATE reconciled SET done_at = tried_at")
