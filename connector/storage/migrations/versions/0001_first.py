"""Create the first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("id", ID, primary_key=True, autoincrement=True),
        sa.Column("store", sa.String, nullable=False),
        sa.Column("pixel", sa.String, nullable=False),
        sa.Column("event", sa.String, nullable=False),
        sa.Column("event_id", sa.String, nullable=False),
        sa.Column("object_key", sa.String, nullable=False),
        sa.Column("test_code", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("due_at", sa.Double, nullable=False),
        sa.Column("lease_owner", sa.String),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("tried_at", sa.Double),
        sa.Column("sent_at", sa.Double),
        sa.Column("occurred_at", sa.Double, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("settled_at", sa.Double),
        sa.Column("code", sa.Integer),
        sa.Column("message", sa.String),
        sa.Column("request_id", sa.String),
        sa.Column("payload", sa.LargeBinary),
        sa.Column("email", sa.LargeBinary),
        sa.Column("phone", sa.LargeBinary),
        sa.Column("external_id", sa.LargeBinary),
        sa.UniqueConstraint("pixel", "event", "event_id"),
    )
    _index("events_due", "events", ["store", "pixel", "due_at"], "state = 'due'")
    _index("events_object", "events", ["store", "object_key"])
    _index("events_created", "events", ["created_at"])
    _index("events_failed", "events", ["state", "created_at"], "state IN ('rejected', 'expired')")
    for name in ("email", "phone", "external_id"):
        _index(f"events_{name}", "events", [name], f"{name} IS NOT NULL")
    op.create_table(
        "ledger",
        sa.Column("id", ID, primary_key=True, autoincrement=True),
        sa.Column("store", sa.String, nullable=False),
        sa.Column("topic", sa.String, nullable=False),
        sa.Column("body_sha256", sa.LargeBinary, nullable=False),
        sa.Column("object_key", sa.String, nullable=False),
        sa.Column("order_number", sa.String, nullable=False),
        sa.Column("delivery", sa.String, nullable=False),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("received_at", sa.Double, nullable=False),
        sa.UniqueConstraint("store", "topic", "body_sha256"),
    )
    _index("ledger_object", "ledger", ["store", "object_key"])
    _index("ledger_received", "ledger", ["received_at"])
    op.create_table(
        "parked",
        sa.Column("id", ID, primary_key=True, autoincrement=True),
        sa.Column("store", sa.String, nullable=False),
        sa.Column("topic", sa.String, nullable=False),
        sa.Column("body_sha256", sa.LargeBinary, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("parked_at", sa.Double, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("store", "topic", "body_sha256"),
    )
    op.create_table(
        "counters",
        sa.Column("store", sa.String, primary_key=True),
        sa.Column("topic", sa.String, primary_key=True),
        sa.Column("what", sa.String, primary_key=True),
        sa.Column("hour", sa.BigInteger, primary_key=True),
        sa.Column("count", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "lanes",
        sa.Column("store", sa.String, primary_key=True),
        sa.Column("pixel", sa.String, primary_key=True),
        sa.Column("denied_until", sa.Double),
        sa.Column("denied_since", sa.Double),
        sa.Column("denied_token", sa.String),
        sa.Column("denials", sa.Integer, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
    )
    op.create_table(
        "stores",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("started_at", sa.Double, nullable=False),
    )
    op.create_table(
        "relays",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("seen_at", sa.Double, nullable=False),
    )


def _index(name: str, table: str, columns: list[str], where: str | None = None) -> None:
    condition = None if where is None else sa.text(where)
    op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)
