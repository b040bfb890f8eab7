"""Add the copies of events that browsers sent, as pages report them. The previous release works with it, too."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.create_table(
        "browser_copies",
        sa.Column("pixel", sa.String, primary_key=True),
        sa.Column("event", sa.String, primary_key=True),
        sa.Column("event_id", sa.String, primary_key=True),
        sa.Column("store", sa.String, nullable=False),
        sa.Column("sender", sa.String, nullable=False),
        sa.Column("loaded", sa.Integer, nullable=False),
        sa.Column("sent_at", sa.Double, nullable=False),
        sa.Column("value", sa.BigInteger),
        sa.Column("currency", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
    )
    unmatched = sa.text("state <> 'done'")
    op.create_index(
        "browser_copies_open", "browser_copies", ["store", "state", "loaded", "pixel", "event", "sent_at"],
        sqlite_where=unmatched, postgresql_where=unmatched,
    )  # fmt: skip
    op.create_index("browser_copies_sent", "browser_copies", ["sent_at"])
    op.add_column("snippet_reports", sa.Column("others_at", sa.Double))
