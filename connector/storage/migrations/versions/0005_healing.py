"""Add the webhooks that the connector created, and the progress of reconciling a shop's history.

The previous release works with it, too.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "registered",
        sa.Column("store", sa.String, primary_key=True),
        sa.Column("topic", sa.String, primary_key=True),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("url", sa.String, nullable=False),
        sa.Column("made_at", sa.Double, nullable=False),
    )
    op.create_table(
        "reconciled",
        sa.Column("store", sa.String, primary_key=True),
        sa.Column("tried_at", sa.Double, nullable=False),
        sa.Column("upto", sa.Double, nullable=False),
        sa.Column("gaps", sa.BigInteger, nullable=False),
        sa.Column("gaps_since", sa.Double),
        sa.Column("gap_at", sa.Double),
    )
