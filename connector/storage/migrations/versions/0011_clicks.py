"""Add the memory of clicks, and to each event the times of its own keys and of remembered ones.

The previous release works with it, too: it remembers nothing, and its events have no remembered keys.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    for name in ("clicked_at", "click_until", "ttclid_from", "ttp_from"):
        op.add_column("events", sa.Column(name, sa.Double))
    op.create_table(
        "clicks",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        *(sa.Column(name, sa.String, nullable=False) for name in ("store", "object_key", "pixel")),
        *(sa.Column(name, sa.LargeBinary) for name in ("email", "phone", "external_id")),
        *(sa.Column(name, sa.String, nullable=False) for name in ("ttclid", "ttp")),
        *(sa.Column(name, sa.Double, nullable=False) for name in ("given_at", "until")),
        sa.UniqueConstraint("store", "object_key", "pixel"),
    )
    op.create_index("clicks_until", "clicks", ["until"])
    for name in ("email", "phone", "external_id"):
        where = sa.text(f"{name} IS NOT NULL")
        op.create_index(f"clicks_{name}", "clicks", [name], sqlite_where=where, postgresql_where=where)
