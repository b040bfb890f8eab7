"""Add what was delivered to each address that alerts are sent to. The previous release works with it, too.

What the previous release has sent is noted for an address without a name, which the first one of ALERT_URL takes over.
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.create_table(
        "alert_addresses",
        sa.Column("address", sa.String, primary_key=True),
        sa.Column("label", sa.String, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", sa.Double, nullable=False),
        sa.Column("failing_since", sa.Double),
        sa.Column("error", sa.String, nullable=False),
        sa.Column("sent_for", sa.Double),
    )
    op.create_table(
        "alert_deliveries",
        sa.Column("address", sa.String, primary_key=True),
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("sent_at", sa.Double, nullable=False),
    )
    op.execute(
        "INSERT INTO alert_deliveries (address, key, sent_at) "
        "SELECT '', key, told_at FROM alerts WHERE told_at IS NOT NULL"
    )
