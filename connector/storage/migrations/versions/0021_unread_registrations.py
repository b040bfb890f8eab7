"""Add the time from which a store's registrations must be read again. The previous release works with it, too."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.add_column("reconciled", sa.Column("customers_upto", sa.Double))
