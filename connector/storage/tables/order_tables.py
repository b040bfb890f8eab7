"""Tables that an order passes on its way from the shop to TikTok.

events           one row per (pixel, event, event_id): the queue, and the record that keeps events from being sent twice
ledger           one line per webhook that brought something new: the answer to "what happened to order 1001?"
parked           signed bodies that could not be handled, encrypted, replayable
counters         webhooks that are only counted, per hour: ignored topics, invalid signatures, updates with nothing new
lanes            per store and pixel: the suspension while TikTok denies its token or pixel
signals          browser signals of a checkout, kept for a day, or as long as the events of its order
clicks           click ids and browser ids that a person brought, for later events, if no payload has them any more
identities       further hashes of an event's person, when its payload has several e-mails or phones
notices          what thin webhooks have named and the shop's API has not answered yet; see `connector.outbox.notices`
"""

from sqlalchemy import BigInteger, Column, Double, Index, Integer, LargeBinary, Table, UniqueConstraint, text

from connector.storage.tables.columns import DUE, ID, StorableText, metadata

events = Table(
    "events",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("store", StorableText, nullable=False),
    Column("pixel", StorableText, nullable=False),
    Column("event", StorableText, nullable=False),
    Column("event_id", StorableText, nullable=False),
    Column("object_key", StorableText, nullable=False),
    Column("test_code", StorableText, nullable=False),
    Column("state", StorableText, nullable=False),  # held, due, accepted, rejected, expired, skipped
    Column("due_at", Double, nullable=False),  # no attempt before; held: the end of the wait
    Column("lease_owner", StorableText),
    Column("lease_until", Double),  # in no index, and each page has spare room, so PostgreSQL updates in place
    Column("attempts", Integer, nullable=False),
    Column("tried_at", Double),  # first attempt, whatever its result
    Column("sent_at", Double),  # first attempt that may have reached TikTok; starts its 48 hours of deduplication
    Column("occurred_at", Double, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("settled_at", Double),
    Column("code", Integer),
    Column("message", StorableText),
    Column("request_id", StorableText),
    Column("payload", LargeBinary),  # the JSON bytes of the item, exactly as sent
    Column("email", LargeBinary),  # SHA-256 digests, for search and erasure
    Column("phone", LargeBinary),
    Column("external_id", LargeBinary),
    # Set only for events that may wait for the browser's signals:
    Column("checkout", StorableText),  # the checkout's token
    Column("consent", StorableText),  # "": not required; else granted, missing, denied
    Column("as_of", Double),  # when the body from which the properties come was written
    # Set only for stores that remember clicks:
    Column("clicked_at", Double),  # when the shopper brought the payload's own keys; 0: forgotten
    Column("click_until", Double),  # how long they are remembered
    Column("ttclid_from", Double),  # of a key that was remembered: when the shopper had brought it
    Column("ttp_from", Double),
    UniqueConstraint("pixel", "event", "event_id"),
    postgresql_with={"fillfactor": 50},
)
Index("events_due", events.c.store, events.c.pixel, events.c.due_at, sqlite_where=DUE, postgresql_where=DUE)
Index("events_object", events.c.store, events.c.object_key)
Index("events_created", events.c.created_at)
_FINISHED = text("settled_at IS NOT NULL AND payload IS NOT NULL")
Index("events_finished", events.c.settled_at, sqlite_where=_FINISHED, postgresql_where=_FINISHED)
_KEY_ONLY = text("settled_at IS NOT NULL AND payload IS NULL")
Index("events_key_only", events.c.settled_at, sqlite_where=_KEY_ONLY, postgresql_where=_KEY_ONLY)
_FAILED = text("state IN ('rejected', 'expired')")
Index("events_failed", events.c.state, events.c.created_at, sqlite_where=_FAILED, postgresql_where=_FAILED)
_MATCHABLE = text("checkout IS NOT NULL")
Index("events_checkout", events.c.store, events.c.checkout, sqlite_where=_MATCHABLE, postgresql_where=_MATCHABLE)
_HELD = text("state = 'held'")
Index("events_held", events.c.due_at, sqlite_where=_HELD, postgresql_where=_HELD)
Index(
    "events_failed_store", events.c.store, events.c.state, events.c.created_at,
    sqlite_where=_FAILED, postgresql_where=_FAILED,
)  # fmt: skip
for _name in ("email", "phone", "external_id"):
    _known = text(f"{_name} IS NOT NULL")
    Index(f"events_{_name}", events.c[_name], sqlite_where=_known, postgresql_where=_known)

ledger = Table(
    "ledger",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("store", StorableText, nullable=False),
    Column("topic", StorableText, nullable=False),
    Column("body_sha256", LargeBinary, nullable=False),
    Column("object_key", StorableText, nullable=False),
    Column("order_number", StorableText, nullable=False),
    Column("delivery", StorableText, nullable=False),
    Column("outcome", StorableText, nullable=False),  # relayed, skipped, recorded, parked
    Column("reason", StorableText, nullable=False),
    Column("received_at", Double, nullable=False),
    UniqueConstraint("store", "topic", "body_sha256"),
)
Index("ledger_object", ledger.c.store, ledger.c.object_key)
Index("ledger_received", ledger.c.received_at)
_NUMBERED = text("order_number <> ''")
Index("ledger_number", ledger.c.order_number, sqlite_where=_NUMBERED, postgresql_where=_NUMBERED)

parked = Table(
    "parked",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("store", StorableText, nullable=False),
    Column("topic", StorableText, nullable=False),
    Column("body_sha256", LargeBinary, nullable=False),
    Column("reason", StorableText, nullable=False),
    Column("parked_at", Double, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    UniqueConstraint("store", "topic", "body_sha256"),
)
Index("parked_at", parked.c.parked_at)

counters = Table(
    "counters",
    metadata,
    Column("store", StorableText, primary_key=True),
    Column("topic", StorableText, primary_key=True),
    Column("what", StorableText, primary_key=True),  # ignored, duplicate, not_json, unknown_store, refused (by cause)
    Column("hour", BigInteger, primary_key=True),  # Unix seconds of its start
    Column("count", BigInteger, nullable=False),
)
Index("counters_hour", counters.c.hour)

lanes = Table(
    "lanes",
    metadata,
    Column("store", StorableText, primary_key=True),
    Column("pixel", StorableText, primary_key=True),
    Column("denied_until", Double),  # no event before, then one as a probe; after the suspension, the time of its end
    Column("denied_since", Double),
    Column("denied_token", StorableText),  # fingerprint of the token that was denied
    Column("denials", Integer, nullable=False),
    Column("reason", StorableText, nullable=False),
)

signals = Table(
    "signals",
    metadata,
    Column("store", StorableText, primary_key=True),
    Column("token", StorableText, primary_key=True),
    Column("ttclid", StorableText, nullable=False),
    Column("ttp", StorableText, nullable=False),
    Column("ip", StorableText, nullable=False),
    Column("user_agent", StorableText, nullable=False),
    Column("url", StorableText, nullable=False),
    Column("referrer", StorableText, nullable=False),
    Column("consent", StorableText, nullable=False),  # granted, denied, or "" if unknown
    Column("seen_at", Double, nullable=False),  # time of the last beacon; 0 when nothing but its answer is kept
    Column("order_key", StorableText),  # object_key of the checkout's order, once a webhook has named both
    Column("order_seen_at", Double),  # time of the order's last webhook, updated once a day
)
Index("signals_seen", signals.c.seen_at)
_OF_ORDER = text("order_key IS NOT NULL")
for _name, _columns in (
    ("signals_order", (signals.c.store, signals.c.order_key)),
    ("signals_order_seen", (signals.c.order_seen_at,)),
):
    Index(_name, *_columns, sqlite_where=_OF_ORDER, postgresql_where=_OF_ORDER)

clicks = Table(
    "clicks",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("store", StorableText, nullable=False),
    Column("object_key", StorableText, nullable=False),  # the order, checkout or registration that brought the keys
    Column("pixel", StorableText, nullable=False),
    Column("email", LargeBinary),  # SHA-256 digests, as in events
    Column("phone", LargeBinary),
    Column("external_id", LargeBinary),
    # Both are "" after a refusal or an erasure: nothing about this order may be remembered again.
    Column("ttclid", StorableText, nullable=False),
    Column("ttp", StorableText, nullable=False),
    Column("given_at", Double, nullable=False),  # when the shopper brought them, at the latest
    Column("until", Double, nullable=False),  # forgotten then
    UniqueConstraint("store", "object_key", "pixel"),
)
Index("clicks_until", clicks.c.until)
for _name in ("email", "phone", "external_id"):
    _known = text(f"{_name} IS NOT NULL")
    Index(f"clicks_{_name}", clicks.c[_name], sqlite_where=_known, postgresql_where=_known)

identities = Table(
    "identities",
    metadata,
    Column("digest", LargeBinary, primary_key=True),  # SHA-256 of an e-mail or phone, as in events
    Column("store", StorableText, primary_key=True),
    Column("object_key", StorableText, primary_key=True),  # the order, checkout or customer of its events
)
Index("identities_object", identities.c.store, identities.c.object_key)

notices = Table(
    "notices",
    metadata,
    Column("store", StorableText, primary_key=True),
    Column("object_key", StorableText, primary_key=True),
    Column("topic", StorableText, nullable=False),  # of the last webhook that named it, as its delivery
    Column("delivery", StorableText, nullable=False),
    Column("since", Double, nullable=False),  # when the first of them arrived
    Column("noted_at", Double, nullable=False),  # when the last did
    Column("due_at", Double, nullable=False),  # no attempt before
    Column("attempts", Integer, nullable=False),
    Column("lease_owner", StorableText),
    Column("lease_until", Double),
    Column("error", StorableText, nullable=False),  # of the last attempt
)
Index("notices_due", notices.c.store, notices.c.due_at)
