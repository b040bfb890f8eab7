"""Statistics of events for pages and metrics, counted once so that no query has to count all rows.

The columns `what` and `detail`:

    sent      attempts by outcome (accepted, rejected, expired, again, denied) and TikTok's code: "accepted 0"
    tested    the same for events sent to Test Events, which are in no other number
    seconds   accepted events by the time from the event to TikTok's response: the upper bound of a bucket of `BOUNDS`
              (or "+Inf"); "sum" is the sum of these times in whole seconds
    delay_shop, delay_connector, delay_tiktok
              the parts of this time by bucket: until the webhook was stored (retries of the shop included), until the
              first attempt to send (the wait for the browser's signals included), until TikTok accepted (retries
              included); without a sum
    keys      accepted events by their match keys, separated by spaces: "email ip+user_agent"
    value     value of accepted events by currency, in ten-thousandths: no currency that TikTok accepts has more than
              three decimals, and integers add up exactly on both databases
    customers accepted events by properties.customer_type: new, returning; others are in no number
    funnel    what browsers report, by milestone (the column `event`) and outcome; see `connector.funnel.buffer`
    copies, distance, amounts   what TikTok made of the browsers' copies; see `connector.meter.matching`
    received  webhooks by outcome (relayed, skipped, recorded, parked, ignored, duplicate, refused)
    skipped   skipped webhooks by kind of subject (the column `event`: order, checkout, customer) and reason
    relayed   webhooks that became events, by kind of subject

Events are counted when the relay settles them, in the transaction that writes their state, so a crash neither loses
nor doubles a number. Each accepted payload is parsed once, before that transaction begins; a claim of a thousand events
adds a few dozen rows. Webhooks are counted once a minute by `webhook_stats`.

`tallies` has the numbers by hour, kept as long as the ledger; `totals` has the sums of all time. Raises CannotStore.
"""

import logging
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection

from connector.core.currencies import STORED_DECIMALS, exact_amount, minor_digits, stored_amount
from connector.core.units import HOUR, MERGE_WINDOW
from connector.outbox.settlement import LeasedEvent, Settlement
from connector.storage.database import Database, insert_into
from connector.storage.tables import tallies, totals

log = logging.getLogger(__name__)

BOUNDS = (1, 2, 5, 10, 30, 60, MERGE_WINDOW, 900, 3600, 6 * 3600, 24 * 3600, 48 * 3600)  # seconds
BEYOND = "+Inf"
BUCKETS = (*map(str, BOUNDS), BEYOND)
DELAYS = {"delay_shop": "shop", "delay_connector": "connector", "delay_tiktok": "TikTok"}  # `what` → whose it is
KEYS = ("email", "phone", "external_id", "ip+user_agent", "ttclid", "ttp")  # the keys by which TikTok matches people
CUSTOMERS = ("new", "returning")
_MAX_COUNT = 8 * 10**18  # not increased beyond this, near the largest integer of both databases
_MAX_ADDED = 10**18


_Hashes = str | list[str] | None


class _User(Struct, frozen=True):
    email: _Hashes = None
    phone: _Hashes = None
    external_id: _Hashes = None
    ip: str | None = None
    user_agent: str | None = None
    ttclid: str | None = None
    ttp: str | None = None

    def keys(self) -> str:
        """Return those of KEYS that the event has, separated by spaces."""
        both = self.ip and self.user_agent
        present = (self.email, self.phone, self.external_id, both, self.ttclid, self.ttp)
        return _join_keys(tuple(map(bool, present)))


@lru_cache
def _join_keys(present: tuple[bool, ...]) -> str:
    return " ".join(key for key, is_present in zip(KEYS, present, strict=True) if is_present)


class _Properties(Struct, frozen=True):
    value: Decimal | None = None
    currency: str = ""
    customer_type: str = ""


class _Item(Struct, frozen=True):
    user: _User = _User()
    properties: _Properties = _Properties()


_decode = msgspec.json.Decoder(_Item).decode
_Part = tuple[str, str, str, int]  # event, what, detail, number


class SettlementStats:
    """The counts of a lane's settlements: computed before the transaction, written for the rows actually settled."""

    def __init__(
        self, store: str, pixel: str, claimed: Iterable[LeasedEvent], settlements: Sequence[Settlement], now: float
    ) -> None:
        self._store, self._pixel, self._hour = store, pixel, int(now) // HOUR * HOUR
        known = {item.id: item for item in claimed}
        self._parts = {one.row: _count_event(known[one.row], one, now) for one in settlements}

    def write(self, connection: Connection, rows: Iterable[int]) -> None:
        """Add the counts of these rows, in the caller's transaction."""
        counted: Counter[tuple[str, str, str]] = Counter()
        for row in rows:
            for event, what, detail, number in self._parts.get(row, ()):
                counted[event, what, detail] += number
        named = {(self._store, self._pixel, what, event, detail): n for (event, what, detail), n in counted.items()}
        add_counts(connection, self._hour, named)


def add_counts(connection: Connection, hour: int, numbers: Mapping[tuple[str, str, str, str, str], int]) -> None:
    """Add to an hour's tallies and to the totals; the keys are (store, pixel, what, event, detail)."""
    if not numbers:
        return
    # In a fixed order, so that two relays cannot deadlock.
    names = ("store", "pixel", "what", "event", "detail")
    rows = [
        dict(zip(names, key, strict=True), count=min(number, _MAX_ADDED)) for key, number in sorted(numbers.items())
    ]
    for table, more in ((tallies, {"hour": hour}), (totals, {})):
        connection.execute(_upsert(table, connection.dialect.name), [row | more for row in rows])


@lru_cache
def _upsert(table: sa.Table, dialect: str) -> sa.Executable:
    new = insert_into(table, dialect)
    upsert: sa.Executable = new.on_conflict_do_update(
        index_elements=[column.name for column in table.primary_key],
        set_={"count": table.c.count + new.excluded["count"]},
        where=table.c.count < _MAX_COUNT,
    )
    return upsert


def _count_event(item: LeasedEvent, settlement: Settlement, now: float) -> list[_Part]:
    """Return what an event adds; nothing after an error, which must not prevent the settlement."""
    try:
        return [*_parts(item, settlement, now)]
    except Exception as error:
        log.error("could not count an event: %s", type(error).__name__, extra={"event_ids": item.event_id})
        return []


def _parts(item: LeasedEvent, settlement: Settlement, now: float) -> Iterable[_Part]:
    outcome = _outcome(settlement)
    if not outcome:
        return
    detail = f"{outcome} {settlement.code}" if settlement.code is not None else outcome
    if item.test_code:
        yield item.event, "tested", detail, 1
        return
    yield item.event, "sent", detail, 1
    if outcome != "accepted":
        return
    seconds = max(now - item.occurred_at, 0.0)
    yield item.event, "seconds", BUCKETS[bisect_left(BOUNDS, seconds)], 1
    moments = (item.occurred_at, item.created_at, item.tried_at, now)
    for what, (begin, end) in zip(DELAYS, pairwise(moments), strict=True):
        yield item.event, what, BUCKETS[bisect_left(BOUNDS, end - begin)], 1
    yield item.event, "seconds", "sum", round(seconds)
    try:
        payload = _decode(item.payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    yield item.event, "keys", payload.user.keys(), 1
    if (customer := payload.properties.customer_type) in CUSTOMERS:
        yield item.event, "customers", customer, 1
    if (value := stored_amount(payload.properties.value)) is not None:
        yield item.event, "value", payload.properties.currency[:8], value


def _outcome(settlement: Settlement) -> str:
    """Return the outcome; "" for an event that was leased but not sent."""
    if settlement.state != "due":
        return settlement.state
    if not settlement.has_answer:
        return ""
    return "again" if settlement.counts else "denied"


@dataclass(frozen=True, slots=True)
class Statistic:
    """A number for the hour or day that begins at `at` (Unix seconds, UTC); `at` is 0 for totals."""

    store: str
    what: str
    pixel: str
    event: str
    detail: str
    at: int
    count: int


class EventStats:
    """Reads the statistics for pages and metrics."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(
        self, stores: Iterable[str], what: Iterable[str], since: float, until: float, span: int
    ) -> list[Statistic]:
        """Return the numbers from the hour of `since` until `until`, by spans of `span` seconds (at least 3600)."""
        at = (tallies.c.hour - tallies.c.hour % span).label("at")
        key = (*(tallies.c[name] for name in ("store", "what", "pixel", "event", "detail")), at)
        query = sa.select(*key, sa.func.sum(tallies.c.count)).where(
            tallies.c.store.in_([*stores]),
            tallies.c.what.in_([*what]),
            tallies.c.hour >= int(since) // HOUR * HOUR,
            tallies.c.hour < int(until),
        )
        with self._database.read() as connection:
            return [Statistic(*row[:6], int(row[6])) for row in connection.execute(query.group_by(*key))]

    def totals(self) -> list[Statistic]:
        """Return the totals of all time. Their number does not grow with the number of events."""
        key = [totals.c[name] for name in ("store", "what", "pixel", "event", "detail")]
        with self._database.read() as connection:
            rows = connection.execute(sa.select(*key, totals.c.count).order_by(*key))
            return [Statistic(*row[:5], 0, int(row[5])) for row in rows]


def major_units(stored: int, currency: str = "") -> Decimal:
    """Convert a sum of stored amounts to major currency units, with the currency's decimals or more."""
    exact = exact_amount(stored)
    steps = (Decimal(1).scaleb(-digits) for digits in range(minor_digits(currency), STORED_DECIMALS))
    return next((short for step in steps if (short := exact.quantize(step)) == exact), exact)


def match_key_counts(numbers: Iterable[Statistic]) -> dict[str, int]:
    """Return the number of events that had each of `KEYS`, from the statistics of `keys`."""
    found = dict.fromkeys(KEYS, 0)
    for number in numbers:
        for key in number.detail.split():
            if key in found:
                found[key] += number.count
    return found


def median_delays(statistics: Iterable[Statistic]) -> dict[str, float]:
    """Return the approximate medians in seconds: of the whole way ("seconds"), and of each of DELAYS that is known."""
    buckets: dict[str, Counter[str]] = {}
    for one in statistics:
        if one.what == "seconds" or one.what in DELAYS:
            buckets.setdefault(one.what, Counter())[one.detail] += one.count
    return {what: found for what, counts in buckets.items() if (found := median(counts)) is not None}


def median(buckets: Mapping[str, int]) -> float | None:
    """Return the approximate median in seconds; None without events, at most the last of BOUNDS."""
    return quantile(buckets, 0.5)


def quantile(buckets: Mapping[str, int], share: float) -> float | None:
    """Return the approximate seconds below which this share lies, like `median`; `share` is above 0."""
    total = sum(number for bound, number in buckets.items() if bound != "sum")
    if not total:
        return None
    below, start = 0.0, 0.0
    for bound in BOUNDS:
        inside = buckets.get(str(bound), 0)
        if below + inside >= total * share:
            return start + (bound - start) * (total * share - below) / inside
        below, start = below + inside, float(bound)
    return float(BOUNDS[-1])
