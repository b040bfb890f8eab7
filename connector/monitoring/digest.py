"""The weekly digest: what was sent, matched, in time to merge, skipped, and left of each store's last week.

A week begins on Monday, 00:00 UTC; its digest is sent from 06:00 on the Monday after it, when late events are settled.
An address that is new gets its first digest on the next Monday. Times are Unix seconds. Methods raise CannotStore.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime

import sqlalchemy as sa

from connector.core.store import Store
from connector.core.text import how_many, percent
from connector.core.units import DAY, HOUR, MERGE_WINDOW, WEEK
from connector.monitoring.accuracy import Accuracy
from connector.monitoring.book_sums import Books, net_values
from connector.monitoring.channels import Message
from connector.monitoring.event_stats import BOUNDS, KEYS, EventStats, Statistic, major_units, match_key_counts
from connector.monitoring.merges import Merges
from connector.monitoring.recipients import Recipient
from connector.monitoring.skips import RELAYED, SKIPPED, skips_of
from connector.outbox.queries import OpenProblem, OutboxQueries
from connector.storage.database import Database
from connector.storage.tables import alert_addresses

FIRST_MONDAY = 4 * DAY  # 1970-01-05
SETTLED = 6 * HOUR  # seconds after the end of a week from which on its digest is sent
_IN_TIME = {str(bound) for bound in BOUNDS if bound <= MERGE_WINDOW}


def week_before(now: float) -> int:
    """Return the start of the last whole week before `now`."""
    return (int(now) - FIRST_MONDAY) // WEEK * WEEK + FIRST_MONDAY - WEEK


class DigestMessages:
    """Finds the addresses that are to be sent a digest. `clock` returns Unix seconds."""

    def __init__(self, database: Database, stores: Mapping[str, Store], clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._digest = Digest(database, stores)
        self._clock = clock

    def next_message(self, recipient: Recipient) -> Message | None:
        """Return the digest of the last week, or None if the address has had it or it is too early."""
        now = self._clock()
        start = week_before(now - SETTLED)
        query = sa.select(alert_addresses.c.sent_for).where(alert_addresses.c.address == recipient.id)
        with self._database.read() as connection:
            row = connection.execute(query).first()
        if row is None or row.sent_for is None:
            self._note(recipient, start)
            return None
        return self._digest.message(recipient.stores, start) if row.sent_for < start else None

    def mark_delivered(self, recipient: Recipient, message: Message) -> None:
        """Note that the address has had the digest of the last week."""
        self._note(recipient, week_before(self._clock() - SETTLED))

    def _note(self, recipient: Recipient, start: int) -> None:
        new = {"label": recipient.label, "attempts": 0, "due_at": 0.0, "error": "", "sent_for": float(start)}
        insert = self._database.insert(alert_addresses).values(address=recipient.id, **new)
        changed = insert.on_conflict_do_update(index_elements=["address"], set_={"sent_for": float(start)})
        with self._database.write() as connection:
            connection.execute(changed)


class Digest:
    """Writes digests of the configured stores."""

    def __init__(self, database: Database, stores: Mapping[str, Store]) -> None:
        self._database = database
        self._stores = stores

    def message(self, names: frozenset[str] | None, start: int) -> Message:
        """Return the digest of these stores (None: all) for the week that begins at `start`."""
        stores = [store for name, store in self._stores.items() if names is None or name in names]
        first, last = (datetime.fromtimestamp(at, UTC) for at in (start, start + 6 * DAY))
        found = EventStats(self._database).read(
            [store.name for store in stores],
            ("sent", "keys", "seconds", "value", SKIPPED, RELAYED),
            start,
            start + WEEK,
            WEEK,
        )
        blocks = ["\n".join([store.name, *self._lines(store, found, start)]) for store in stores]
        problems = [problem.sentence for problem in self._problems(names)]
        if problems:
            blocks.append("\n".join(["Open problems", *(f"  {sentence}" for sentence in problems)]))
        return Message(f"Connector: week of {first:%-d %B} to {last:%-d %B %Y}", "\n\n".join(blocks))

    def _problems(self, names: frozenset[str] | None) -> Iterator[OpenProblem]:
        for problem in OutboxQueries(self._database).open_problems():
            if names is None or problem.key.split(":")[1:2] in [[name] for name in names]:
                yield problem

    def _lines(self, store: Store, statistics: list[Statistic], start: int) -> Iterator[str]:
        found = [one for one in statistics if one.store == store.name]
        yield f"  sent: {_sent(found)}"
        keys = [one for one in found if one.what == "keys"]
        if accepted := sum(one.count for one in keys):
            counts = match_key_counts(keys)
            yield "  matched: " + ", ".join(f"{key} {percent(counts[key], accepted)}" for key in KEYS)
        buckets = Counter[str]()
        for one in found:
            if one.what == "seconds" and one.detail != "sum" and one.event not in store.browser_events:
                buckets[one.detail] += one.count
        if store.meter:
            yield from self._merged(store, start)
        elif buckets and store.browser_pixel != "none":
            in_time = sum(buckets[bound] for bound in _IN_TIME)
            yield f"  in time to merge: {percent(in_time, buckets.total())} within 5 minutes of the event"
        skips = skips_of(found, store.name)
        if skips.total:
            yield f"  skipped: {how_many(skips.total, 'webhook')}, most for: {skips.reasons[0].reason}"
        if store.reconcile:
            yield f"  orders that arrived: {self._arrived(store, start)}"
        if store.books:
            for net in net_values(Books(self._database), store.name, start, start + WEEK):
                stayed = f", {percent(net['net'], net['sent'], 1)} stayed" if net["sent"] else ""
                yield f"  net: {net['event']} {net['net']:,} of {net['sent']:,} {net['currency']}{stayed}"

    def _merged(self, store: Store, start: int) -> Iterator[str]:
        for line in Merges(self._database).lines(store, start, start + WEEK):
            if line.orders:
                parts = (("merged", line.merged), ("server only", line.server), ("counted twice", line.twice))
                shares = ", ".join(f"{percent(number, line.orders)} {title}" for title, number in parts)
                yield f"  with the browser's copy: {line.event} {shares}"

    def _arrived(self, store: Store, start: int) -> str:
        days = [
            day
            for day in Accuracy(self._database).days(store.name, start)
            if day.day < start + WEEK and day.share is not None
        ]
        orders, reached = sum(day.orders for day in days), sum(day.reached for day in days)
        if not orders:
            return "not known"
        known = "" if len(days) == 7 else f", {len(days)} of 7 days known"
        return f"{percent(reached, orders, 2)} of {orders:,}{known}"


def _sent(statistics: list[Statistic]) -> str:
    accepted, failed = Counter[str](), 0
    values: Counter[tuple[str, str]] = Counter()
    for one in statistics:
        outcome = one.detail.partition(" ")[0]
        if one.what == "sent" and outcome == "accepted":
            accepted[one.event] += one.count
        elif one.what == "sent" and outcome in ("rejected", "expired"):
            failed += one.count
        elif one.what == "value":
            values[one.event, one.detail] += one.count
    if not accepted and not failed:
        return "nothing"
    by_event = []
    for event, number in accepted.most_common():
        sums = [(units, currency) for (of, currency), units in sorted(values.items()) if of == event]
        worth = [f"{major_units(units, currency):,} {currency}" for units, currency in sums]
        by_event.append(f"{number:,} {event}" + (f" ({', '.join(worth)})" if worth else ""))
    return ", ".join([*by_event, *([f"{failed:,} rejected or expired"] if failed else [])])
