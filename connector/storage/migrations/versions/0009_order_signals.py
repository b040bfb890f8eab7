"""Add the order of a checkout to its browser signals, so that they are kept as long as the order's events.

Signals of known orders are assigned to them, and the answers that were already forgotten are taken from the events. The
previous release works with it, too: it deletes signals after a day, as before.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

ASSIGN = """
UPDATE signals SET order_seen_at = seen_at, order_key = (
    SELECT min(object_key) FROM events
    WHERE events.store = signals.store AND checkout = token AND object_key LIKE 'order:%'
)
WHERE EXISTS (
    SELECT 1 FROM events WHERE events.store = signals.store AND checkout = token AND object_key LIKE 'order:%'
)
"""
ANSWERS = """
INSERT INTO signals (
    store, token, ttclid, ttp, ip, user_agent, url, referrer, consent, seen_at, order_key, order_seen_at
)
SELECT store, checkout, '', '', '', '', '', '',
    CASE WHEN max(CASE WHEN consent = 'denied' THEN 1 ELSE 0 END) = 1 THEN 'denied' ELSE 'granted' END,
    0, min(object_key), max(created_at)
FROM events
WHERE checkout IS NOT NULL AND object_key LIKE 'order:%' AND consent IN ('granted', 'denied')
GROUP BY store, checkout
ON CONFLICT DO NOTHING
"""


def upgrade() -> None:
    op.add_column("signals", sa.Column("order_key", sa.String))
    op.add_column("signals", sa.Column("order_seen_at", sa.Double))
    where = sa.text("order_key IS NOT NULL")
    for name, columns in (("signals_order", ["store", "order_key"]), ("signals_order_seen", ["order_seen_at"])):
        op.create_index(name, "signals", columns, sqlite_where=where, postgresql_where=where)
    op.execute(ASSIGN)
    op.execute(ANSWERS)
