"""Add what pages report of the snippet that runs in them. The previous release works with it, too."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.create_table(
        "snippet_reports",
        sa.Column("store", sa.String, primary_key=True),
        sa.Column("version", sa.String, primary_key=True),
        sa.Column("first_at", sa.Double, nullable=False),
        sa.Column("seen_at", sa.Double, nullable=False),
        sa.Column("loaded_at", sa.Double),
    )
