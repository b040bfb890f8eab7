"""The database's tables for SQLAlchemy; `migrations/` creates them. Times are Unix seconds, UTC.

events      one row per (pixel, event, event_id): the queue, and the record that keeps events from being sent twice
ledger      one line per webhook that brought something new: the answer to "what happened to order 1001?"
parked      signed bodies that could not be handled, encrypted, replayable
counters    webhooks that are only counted, per hour: ignored topics, refused signatures, updates with nothing new
lanes       per store and pixel: the suspension while TikTok denies its token or pixel
stores      the first start of each store: older orders are history
relays      heartbeats of relays
leases      work that only one process at a time may do, on any host: owner and expiry
alerts      problems, and whether an alert was sent for them
alert_addresses   per address that alerts are sent to: failures, and when it is tried again; see `connector.monitoring`
alert_deliveries  per address and problem: when the address was sent its beginning
arrivals    the number of webhooks per store and hour, by which an inactive shop is noticed
registered  webhooks that the connector created in the shops, so that a deleted one can be created again
reconciled  per store: the time up to which the shop's history has been compared with its webhooks
signals     browser signals of a checkout, kept for a day, or as long as the events of its order
clicks      click ids and browser ids that a person brought, for later events, if no event's payload has them any more
tallies     outcomes of webhooks and events, by the hour; see `connector.monitoring.event_stats`
totals      the same since the first start, as metrics need counters that only grow
identities  further hashes of an event's person, when its payload has several e-mails or phones
setup       per store: what its shop, TikTok and the administrator last said for the set-up checklist
public_keys public keys of shops that sign with a private one, by the address that they are fetched from
funnel_events   events that browsers report, for a day; on PostgreSQL a partition for each hour
funnel_lanes    like lanes, of these events
funnel_bounds   per store, currency and day: the greatest amounts of its orders, which bound those that browsers report
snippet_reports the snippets that run in a store's pages, by version; see `connector.monitoring.snippets`
browser_copies  copies of orders' events that browsers sent to TikTok, for three days; see `connector.meter.matching`
demands     data requests and uninstall notices: kind, time, and whether they are done
orders      per order: what is left of its value, and what reconciliation found; see `connector.outbox.books`
notices     what thin webhooks have named and the shop's API has not answered yet; see `connector.outbox.notices`
sold        the value of each accepted event of an order, for stores with books
accuracy    per store and day: orders in the shop, sent, skipped and missing; see `connector.monitoring.accuracy`
"""

import re

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.engine import Dialect

_SURROGATES = re.compile("[\ud800-\udfff]")


def storable(text: str) -> str:
    """Return text as `StorableText` stores it."""
    # Printable text contains neither, and the check is cheap.
    return text if text.isprintable() else _SURROGATES.sub("\ufffd", text.replace("\0", ""))


class StorableText(TypeDecorator[str]):
    """Text that both databases accept: NUL is removed, a lone surrogate becomes U+FFFD."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Clean text that is stored or searched for."""
        return value if value is None else storable(value)


metadata = MetaData()
_ID = BigInteger().with_variant(Integer, "sqlite")

events = Table(
    "events",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
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
_DUE = text("state = 'due'")
Index("events_due", events.c.store, events.c.pixel, events.c.due_at, sqlite_where=_DUE, postgresql_where=_DUE)
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
    Column("id", _ID, primary_key=True, autoincrement=True),
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
    Column("id", _ID, primary_key=True, autoincrement=True),
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

# A shop has a hundred of these events for each order: few columns, and a single index besides the key, which is
# `connector.funnel.queue.row_id`: the hours of receipt are ranges of it.
funnel_events = Table(
    "funnel_events",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=False),
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
    sqlite_where=_DUE, postgresql_where=_DUE,
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

stores = Table(
    "stores",
    metadata,
    Column("name", StorableText, primary_key=True),
    Column("started_at", Double, nullable=False),
)

relays = Table(
    "relays",
    metadata,
    Column("name", StorableText, primary_key=True),
    Column("seen_at", Double, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("name", StorableText, primary_key=True),
    Column("owner", StorableText, nullable=False),
    Column("until", Double, nullable=False),
)

alerts = Table(
    "alerts",
    metadata,
    Column("key", StorableText, primary_key=True),  # kind and place: "denied:STORE:PIXEL"
    Column("sentence", StorableText, nullable=False),
    Column("since", Double, nullable=False),
    Column("noted_at", Double),  # when it had lasted long enough to count
    Column("over_at", Double),  # when it was no longer seen
    Column("told_at", Double),  # when an alert was first sent
    Column("attempts", Integer, nullable=False),  # no longer used, like due_at: see alert_addresses
    Column("due_at", Double, nullable=False),
)

alert_addresses = Table(
    "alert_addresses",
    metadata,
    Column("address", StorableText, primary_key=True),  # fingerprint, because an address is a secret
    Column("label", StorableText, nullable=False),  # where it is set, and its service: "ALERT_URL 2 (slack)"
    Column("attempts", Integer, nullable=False),  # failed attempts since the last success
    Column("due_at", Double, nullable=False),  # no attempt before
    Column("failing_since", Double),
    Column("error", StorableText, nullable=False),
    Column("sent_for", Double),  # digests: the start of the last week that was sent
)

alert_deliveries = Table(
    "alert_deliveries",
    metadata,
    Column("address", StorableText, primary_key=True),  # "": sent by 0.1, to the first address of ALERT_URL
    Column("key", StorableText, primary_key=True),  # of the problem
    Column("sent_at", Double, nullable=False),
)

arrivals = Table(
    "arrivals",
    metadata,
    Column("store", StorableText, primary_key=True),
    Column("hour", BigInteger, primary_key=True),  # Unix seconds of its start
    Column("count", BigInteger, nullable=False),  # webhooks with a valid signature, whatever their outcome
    Column("last_at", Double, nullable=False),
)
Index("arrivals_hour", arrivals.c.hour)

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
    Column("id", _ID, primary_key=True, autoincrement=True),
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

registered = Table(
    "registered",
    metadata,
    Column("store", StorableText, primary_key=True),
    Column("topic", StorableText, primary_key=True),
    Column("id", StorableText, nullable=False),  # the shop's id of the webhook
    Column("url", StorableText, nullable=False),
    Column("made_at", Double, nullable=False),
)

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

orders = Table(
    "orders",
    metadata,
    Column("store", StorableText, primary_key=True),
    Column("object_key", StorableText, primary_key=True),
    Column("order_number", StorableText, nullable=False),
    Column("currency", StorableText, nullable=False),
    Column("placed_at", Double, nullable=False),
    Column("changed_at", Double, nullable=False),  # when the shop wrote the latest body; 0 before the first
    Column("remaining", BigInteger),  # what that body leaves of the value, in ten-thousandths; NULL: not known
    Column("later", BigInteger, nullable=False),  # sum of refunds that came since
    Column("cancelled", Integer, nullable=False),
    Column("refunds", StorableText, nullable=False),  # JSON: ids of counted refunds, and the later ones
    Column("seen_at", Double, nullable=False),  # of a webhook or a round, to the day
    Column("outcome", StorableText, nullable=False),  # of reconciliation: relayed, skipped, parked; "": not compared
    Column("reason", StorableText, nullable=False),
)
Index("orders_placed", orders.c.store, orders.c.placed_at)
Index("orders_seen", orders.c.seen_at)

sold = Table(
    "sold",
    metadata,
    Column("pixel", StorableText, primary_key=True),
    Column("event", StorableText, primary_key=True),
    Column("event_id", StorableText, primary_key=True),
    Column("store", StorableText, nullable=False),
    Column("object_key", StorableText, nullable=False),
    Column("currency", StorableText, nullable=False),
    Column("value", BigInteger, nullable=False),  # in ten-thousandths
    Column("occurred_at", Double, nullable=False),
)
Index("sold_day", sold.c.store, sold.c.occurred_at)
Index("sold_occurred", sold.c.occurred_at)

accuracy = Table(
    "accuracy",
    metadata,
    Column("store", StorableText, primary_key=True),
    Column("day", BigInteger, primary_key=True),  # Unix seconds of its start, UTC
    Column("orders", BigInteger, nullable=False),
    Column("sent", BigInteger, nullable=False),
    Column("waiting", BigInteger, nullable=False),  # to be sent, or to be answered
    Column("skipped", StorableText, nullable=False),  # JSON: numbers by reason
    Column("missing", StorableText, nullable=False),  # JSON: numbers by reason
    Column("complete", Integer, nullable=False),  # 1: the whole day is compared
    Column("counted_at", Double, nullable=False),
)
Index("accuracy_day", accuracy.c.day)

reconciled = Table(
    "reconciled",
    metadata,
    Column("store", StorableText, primary_key=True),
    Column("tried_at", Double, nullable=False),  # when the last run began
    Column("upto", Double, nullable=False),  # changes before this time have been compared
    Column("gaps", BigInteger, nullable=False),  # orders and registrations without a webhook since `gaps_since`
    Column("gaps_since", Double),
    Column("gap_at", Double),  # when the last one was found
    Column("done_at", Double),  # when the last run that was not interrupted ended
    Column("covered_since", Double),  # since when every order has been compared
)

tallies = Table(
    "tallies",
    metadata,
    Column("store", StorableText, primary_key=True),
    Column("what", StorableText, primary_key=True),
    Column("hour", BigInteger, primary_key=True),  # Unix seconds of its start
    Column("pixel", StorableText, primary_key=True),
    Column("event", StorableText, primary_key=True),
    Column("detail", StorableText, primary_key=True),
    Column("count", BigInteger, nullable=False),
)
Index("tallies_hour", tallies.c.hour)

totals = Table(
    "totals",
    metadata,
    Column("store", StorableText, primary_key=True),
    Column("what", StorableText, primary_key=True),
    Column("pixel", StorableText, primary_key=True),
    Column("event", StorableText, primary_key=True),
    Column("detail", StorableText, primary_key=True),
    Column("count", BigInteger, nullable=False),
)

identities = Table(
    "identities",
    metadata,
    Column("digest", LargeBinary, primary_key=True),  # SHA-256 of an e-mail or phone, as in events
    Column("store", StorableText, primary_key=True),
    Column("object_key", StorableText, primary_key=True),  # the order, checkout or customer of its events
)
Index("identities_object", identities.c.store, identities.c.object_key)

demands = Table(
    "demands",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("store", StorableText, nullable=False),
    Column("what", StorableText, nullable=False),  # erase_person, erase_store, export, uninstalled
    Column("body_sha256", LargeBinary, nullable=False),  # so that a repeated body is ignored
    Column("asked_at", Double, nullable=False),
    Column("done_at", Double),
    Column("person", LargeBinary),  # the person, as hashes and ids; erased when it is done
    UniqueConstraint("store", "what", "body_sha256"),
)
_OPEN = text("done_at IS NULL")
Index("demands_open", demands.c.asked_at, sqlite_where=_OPEN, postgresql_where=_OPEN)
Index("demands_asked", demands.c.asked_at)

public_keys = Table(
    "public_keys",
    metadata,
    Column("address", StorableText, primary_key=True),
    Column("keys", StorableText, nullable=False),  # the JWKS as fetched; "" before
    Column("fetched_at", Double),  # when that was; `keys` stays if a later attempt fails
    Column("tried_at", Double),  # the last attempt
    Column("wanted_at", Double),  # when a webhook last named a key that is not there
    Column("error", StorableText, nullable=False),  # of the last attempt; "" if it succeeded
)

setup = Table(
    "setup",
    metadata,
    Column("store", StorableText, primary_key=True),
    Column("about", StorableText, primary_key=True),  # see `connector.setup.records`
    Column("value", StorableText, nullable=False),  # JSON
    Column("settings", StorableText, nullable=False),  # fingerprint of the settings it was asked with; "": of any
    Column("at", Double, nullable=False),
)
