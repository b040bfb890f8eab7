"""Tables of what browsers report, beside orders.

funnel_events    events that browsers report, for a day; on PostgreSQL a partition for each hour
funnel_lanes     like lanes, of these events
funnel_bounds    per store, currency and day: the greatest amounts of its orders, which bound those that browsers report
snippet_reports  the snippets that run in a store's pages, by version; see `connector.monitoring.snippets`
browser_copies   copies of orders' events that browsers sent to TikTok, for three days; see `connector.meter.matching`
"""

from sqlalchemy import BigInteger, Column, Double, Index, Integer, LargeBinary, Table, text

from connector.storage.tables.columns import DUE, ID, StorableText, metadata
from connector.storage.tables.order_tables import lanes

# A shop has a hundred of these events for each order: few columns, and a single index besides the key, which is
# `connector.funnel.queue.row_id`: the hours of receipt are ranges of it.
funnel_events = Table(
    "funnel_events",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=False),
    *(
        Column(name, StorableText, nullable=False)
        for name in ("store", "pixel", "event", "event_id", "test_code", "state")
    ),
    *(Column(name, Double, nullable=False) for name in ("due_at", "occurred_at", "created_at")),
    Column("attempts", Integer, nullable=False),
    Column("lease_owner", StorableText),
    *(Column(name, Double) for name in ("lease_until", "tried_at", "sent_at", "settled_at")),
    Column("code", Integer),
    Column("message", StorableText),
    Column("request_id", StorableText),
    Column("payload", LargeBinary, nullable=False),
    postgresql_partition_by="RANGE (id)",
)
Index(
    "funnel_events_due", funnel_events.c.store, funnel_events.c.pixel, funnel_events.c.due_at,
    sqlite_where=DUE, postgresql_where=DUE,
)  # fmt: skip

funnel_lanes = lanes.to_metadata(metadata, name="funnel_lanes")

funnel_bounds = Table(
    "funnel_bounds",
    metadata,
    Column("store", StorableText, primary_key=True),
    Column("currency", StorableText, primary_key=True),  # "": only `upto` of this row counts
    Column("day", BigInteger, primary_key=True),  # Unix seconds of its start
    *(Column(name, BigInteger, nullable=False) for name in ("value", "price")),  # ten-thousandths
    Column("quantity", BigInteger, nullable=False),
    Column("id_length", Integer, nullable=False),  # of the longest content_id
    Column("id_digits", Integer, nullable=False),  # 1 if all content_ids are digits
    Column("upto", BigInteger, nullable=False),  # the last row of `events` that was read
)

snippet_reports = Table(
    "snippet_reports",
    metadata,
    Column("store", StorableText, primary_key=True),
    Column("version", StorableText, primary_key=True),  # `connector.pixel.version`
    Column("first_at", Double, nullable=False),
    Column("seen_at", Double, nullable=False),
    Column("loaded_at", Double),  # when TikTok's script had last run in a page that reported
    Column("others_at", Double),  # when other code had last used the store's pixels
)

browser_copies = Table(
    "browser_copies",
    metadata,
    Column("pixel", StorableText, primary_key=True),
    Column("event", StorableText, primary_key=True),
    Column("event_id", StorableText, primary_key=True),  # of a foreign copy a digest
    Column("store", StorableText, nullable=False),
    Column("sender", StorableText, nullable=False),  # snippet, other, both
    Column("loaded", Integer, nullable=False),  # 1: TikTok's script had run, so the copy was sent
    Column("sent_at", Double, nullable=False),
    Column("value", BigInteger),  # in ten-thousandths
    Column("currency", StorableText, nullable=False),
    Column("state", StorableText, nullable=False),  # open, foreign (another event_id than the store's), done (counted)
)
_UNMATCHED = text("state <> 'done'")
Index(
    "browser_copies_open",
    *(browser_copies.c[_name] for _name in ("store", "state", "loaded", "pixel", "event", "sent_at")),
    sqlite_where=_UNMATCHED, postgresql_where=_UNMATCHED,
)  # fmt: skip
Index("browser_copies_sent", browser_copies.c.sent_at)
