"""Add the events that browsers report, their lanes, and the bounds that orders set to their amounts.

The previous release works with it, too: it knows none of these tables. On PostgreSQL a job adds a partition for each
hour; without it, rows go to the default one.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

DUE = "state = 'due'"


def upgrade() -> None:
    op.create_table(
        "funnel_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
        *(
            sa.Column(name, sa.String, nullable=False)
            for name in ("store", "pixel", "event", "event_id", "test_code", "state")
        ),
        *(sa.Column(name, sa.Double, nullable=False) for name in ("due_at", "occurred_at", "created_at")),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("lease_owner", sa.String),
        *(sa.Column(name, sa.Double) for name in ("lease_until", "tried_at", "sent_at", "settled_at")),
        sa.Column("code", sa.Integer),
        sa.Column("message", sa.String),
        sa.Column("request_id", sa.String),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        postgresql_partition_by="RANGE (id)",
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE TABLE funnel_events_default PARTITION OF funnel_events DEFAULT")
    where = sa.text(DUE)
    columns = ["store", "pixel", "due_at"]
    op.create_index("funnel_events_due", "funnel_events", columns, sqlite_where=where, postgresql_where=where)
    op.create_table(
        "funnel_lanes",
        sa.Column("store", sa.String, primary_key=True),
        sa.Column("pixel", sa.String, primary_key=True),
        sa.Column("denied_until", sa.Double),
        sa.Column("denied_since", sa.Double),
        sa.Column("denied_token", sa.String),
        sa.Column("denials", sa.Integer, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
    )
    op.create_table(
        "funnel_bounds",
        sa.Column("store", sa.String, primary_key=True),
        sa.Column("currency", sa.String, primary_key=True),
        sa.Column("day", sa.BigInteger, primary_key=True),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("value", "price", "quantity")),
        *(sa.Column(name, sa.Integer, nullable=False) for name in ("id_length", "id_digits")),
        sa.Column("upto", sa.BigInteger, nullable=False),
    )
