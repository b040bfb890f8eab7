"""Tables of what was counted, compared and earned, from which pages, metrics and alerts are made.

arrivals         the number of webhooks per store and hour, by which an inactive shop is noticed
tallies          outcomes of webhooks and events, by the hour; see `connector.monitoring.event_stats`
totals           the same since the first start, as metrics need counters that only grow
accuracy         per store and day: orders in the shop, sent, skipped and missing; see `connector.monitoring.accuracy`
orders           per order: what is left of its value, and what reconciliation found; see `connector.outbox.books`
sold             the value of each accepted event of an order, for stores with books
reconciled       per store: the time up to which the shop's history has been compared with its webhooks
alerts           problems, and whether an alert was sent for them
alert_addresses  per address that alerts are sent to: failures, and when it is tried again; see `connector.monitoring`
alert_deliveries per address and problem: when the address was sent its beginning
"""

from sqlalchemy import BigInteger, Column, Double, Index, Integer, Table

from connector.storage.tables.columns import StorableText, metadata

arrivals = Table(
    "arrivals",
    metadata,
    Column("store", StorableText, primary_key=True),
    Column("hour", BigInteger, primary_key=True),  # Unix seconds of its start
    Column("count", BigInteger, nullable=False),  # webhooks with a valid signature, whatever their outcome
    Column("last_at", Double, nullable=False),
)
Index("arrivals_hour", arrivals.c.hour)

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
    Column("customers_upto", Double),  # registrations before this time have been compared; null: those before `upto`
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
