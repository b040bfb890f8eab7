"""Add the books: what is left of each order and what of it was sent; and how many of a day's orders arrived.

The previous release works with it, too; what it sends meanwhile is not in the books.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.create_table(
        "orders",
        sa.Column("store", sa.String, primary_key=True),
        sa.Column("object_key", sa.String, primary_key=True),
        sa.Column("order_number", sa.String, nullable=False),
        sa.Column("currency", sa.String, nullable=False),
        sa.Column("placed_at", sa.Double, nullable=False),
        sa.Column("changed_at", sa.Double, nullable=False),
        sa.Column("remaining", sa.BigInteger),
        sa.Column("later", sa.BigInteger, nullable=False),
        sa.Column("cancelled", sa.Integer, nullable=False),
        sa.Column("refunds", sa.String, nullable=False),
        sa.Column("seen_at", sa.Double, nullable=False),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
    )
    op.create_index("orders_placed", "orders", ["store", "placed_at"])
    op.create_index("orders_seen", "orders", ["seen_at"])
    op.create_table(
        "sold",
        sa.Column("pixel", sa.String, primary_key=True),
        sa.Column("event", sa.String, primary_key=True),
        sa.Column("event_id", sa.String, primary_key=True),
        sa.Column("store", sa.String, nullable=False),
        sa.Column("object_key", sa.String, nullable=False),
        sa.Column("currency", sa.String, nullable=False),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.Column("occurred_at", sa.Double, nullable=False),
    )
    op.create_index("sold_day", "sold", ["store", "occurred_at"])
    op.create_index("sold_occurred", "sold", ["occurred_at"])
    op.create_table(
        "accuracy",
        sa.Column("store", sa.String, primary_key=True),
        sa.Column("day", sa.BigInteger, primary_key=True),
        sa.Column("orders", sa.BigInteger, nullable=False),
        sa.Column("sent", sa.BigInteger, nullable=False),
        sa.Column("waiting", sa.BigInteger, nullable=False),
        sa.Column("skipped", sa.String, nullable=False),
        sa.Column("missing", sa.String, nullable=False),
        sa.Column("complete", sa.Integer, nullable=False),
        sa.Column("counted_at", sa.Double, nullable=False),
    )
    op.create_index("accuracy_day", "accuracy", ["day"])
    op.add_column("reconciled", sa.Column("covered_since", sa.Double))
