"""Add counts by the hour and in total, and indexes to search orders and to list failures.

The previous release works with it, too; events that it settles are not counted.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_NAMES = ("store", "what", "pixel", "event", "detail")


def upgrade() -> None:
    op.create_table(
        "tallies",
        sa.Column("store", sa.String, primary_key=True),
        sa.Column("what", sa.String, primary_key=True),
        sa.Column("hour", sa.BigInteger, primary_key=True),
        sa.Column("pixel", sa.String, primary_key=True),
        sa.Column("event", sa.String, primary_key=True),
        sa.Column("detail", sa.String, primary_key=True),
        sa.Column("count", sa.BigInteger, nullable=False),
    )
    op.create_index("tallies_hour", "tallies", ["hour"])
    op.create_table(
        "totals",
        *(sa.Column(name, sa.String, primary_key=True) for name in _NAMES),
        sa.Column("count", sa.BigInteger, nullable=False),
    )
    _index("ledger_number", "ledger", ["order_number"], "order_number <> ''")
    _index("events_failed_store", "events", ["store", "state", "created_at"], "state IN ('rejected', 'expired')")


def _index(name: str, table: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)
