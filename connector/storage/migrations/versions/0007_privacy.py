"""Add further hashes of an event's person, and data-subject requests.

The previous release works with it, too; it adds no further hashes.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "identities",
        sa.Column("digest", sa.LargeBinary, primary_key=True),
        sa.Column("store", sa.String, primary_key=True),
        sa.Column("object_key", sa.String, primary_key=True),
    )
    op.create_index("identities_object", "identities", ["store", "object_key"])
    op.create_table(
        "demands",
        sa.Column("id", ID, primary_key=True, autoincrement=True),
        sa.Column("store", sa.String, nullable=False),
        sa.Column("what", sa.String, nullable=False),
        sa.Column("body_sha256", sa.LargeBinary, nullable=False),
        sa.Column("asked_at", sa.Double, nullable=False),
        sa.Column("done_at", sa.Double),
        sa.Column("person", sa.LargeBinary),
        sa.UniqueConstraint("store", "what", "body_sha256"),
    )
    still = sa.text("done_at IS NULL")
    op.create_index("demands_open", "demands", ["asked_at"], sqlite_where=still, postgresql_where=still)
    op.create_index("demands_asked", "demands", ["asked_at"])
