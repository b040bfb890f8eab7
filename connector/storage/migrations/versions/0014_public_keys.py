"""Add the public keys of shops that sign webhooks with a private key. The previous release works with it, too."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.create_table(
        "public_keys",
        sa.Column("address", sa.String, primary_key=True),
        sa.Column("keys", sa.String, nullable=False),
        sa.Column("fetched_at", sa.Double),
        sa.Column("tried_at", sa.Double),
        sa.Column("wanted_at", sa.Double),
        sa.Column("error", sa.String, nullable=False),
    )
