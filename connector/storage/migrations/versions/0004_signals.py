"""Add browser signals, and the columns of events that wait for them.

The previous release works with it, too: it ignores `held` events, and other waiting events only become due later.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "signals",
        sa.Column("store", sa.String, primary_key=True),
        sa.Column("token", sa.String, primary_key=True),
        *(
            sa.Column(name, sa.String, nullable=False)
            for name in ("ttclid", "ttp", "ip", "user_agent", "url", "referrer", "consent")
        ),
        sa.Column("seen_at", sa.Double, nullable=False),
    )
    op.create_index("signals_seen", "signals", ["seen_at"])
    op.add_column("events", sa.Column("checkout", sa.String))
    op.add_column("events", sa.Column("consent", sa.String))
    op.add_column("events", sa.Column("as_of", sa.Double))
    _index("events_checkout", ["store", "checkout"], "checkout IS NOT NULL")
    _index("events_held", ["due_at"], "state = 'held'")


def _index(name: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, "events", columns, sqlite_where=where, postgresql_where=where)
