"""Tallies: numbers for pages and metrics, so that nobody ever counts a million rows.

What is counted, in `what` and `detail`:

    sent      outcome and TikTok's code, "accepted 0": how each attempt ended (accepted, rejected, expired, again,
              denied)
    tested    the same for events that went to Test Events; they are in no other number
    seconds   of accepted events: how long from what happened to TikTok's answer, by the upper bound of a bucket of
              `BOUNDS` (or "+Inf"), and "sum": these seconds added up, whole
    keys      of accepted events: which match keys they had, as words, "email ip+user_agent"
    value     of accepted events: by currency, in ten-thousandths. No currency TikTok takes has more than three
              decimals, and whole numbers add up exactly on either database
    received  webhooks, by outcome (relayed, skipped, recorded, parked, ignored, duplicate, refused)

Where they are counted. Events: when the relay settles them, in the very transaction that writes their state, so a
number is neither lost nor doubled by a crash; each accepted payload is read once, before that transaction begins, and a
claim of a thousand events adds some dozen rows. Webhooks: by the count-up (`webhook_stats`), once a
minute, from the ledger and the counters that intake writes anyway. Intake itself counts nothing more than it did.

Per hour in `tallies`, kept as long as the ledger; since ever in `totals`, which only grows. Raises CannotStore.
"""

import logging
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from connector.core.units import HOUR, MERGE_WINDOW
from connector.outbox.settlement import LeasedEvent, Settlement
from connector.storage.database import Database
from connector.storage.tables import tallies, totals

log = logging.getLogger("connector.monitoring.event_stats")

BOUNDS = (1, 2, 5, 10, 30, 60, MERGE_WINDOW, 900, 3600, 6 * 3600, 24 * 3600, 48 * 3600)  # seconds
BEYOND = "+Inf"
BUCKETS = (*map(str, BOUNDS), BEYOND)
KEYS = ("email", "phone", "external_id", "ip+user_agent", "ttclid", "ttp")  # what TikTok matches people by
DECIMALS = 4
_UNITS = 10**DECIMALS
_ABSURD = 11  # digits before the point; no order is worth so much, and a sum of such values might not be stored
_FULL = 8 * 10**18  # a number near the largest either database holds stays as it is
_MOST = 10**18


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
        """Those of KEYS that it has, as words."""
        both = self.ip and self.user_agent
        had = (self.email, self.phone, self.external_id, both, self.ttclid, self.ttp)
        return _words(tuple(map(bool, had)))


@lru_cache
def _words(had: tuple[bool, ...]) -> str:
    return " ".join(key for key, has in zip(KEYS, had, strict=True) if has)


class _Properties(Struct, frozen=True):
    value: Decimal | None = None
    currency: str = ""


class _Item(Struct, frozen=True):
    user: _User = _User()
    properties: _Properties = _Properties()


_decode = msgspec.json.Decoder(_Item).decode
_Part = tuple[str, str, str, int]  # event, what, detail, number


class SettlementStats:
    """What a lane's settled events add to the numbers: read first, written with those that were really settled."""

    def __init__(
        self, store: str, pixel: str, claimed: Iterable[LeasedEvent], settlements: Sequence[Settlement], now: float
    ) -> None:
        self._store, self._pixel, self._hour = store, pixel, int(now) // HOUR * HOUR
        known = {item.id: item for item in claimed}
        self._parts = {one.row: _counted(known[one.row], one, now) for one in settlements}

    def write(self, connection: Connection, rows: Iterable[int]) -> None:
        """Add what these rows count for, in the transaction under way."""
        counted: Counter[tuple[str, str, str]] = Counter()
        for row in rows:
            for event, what, detail, number in self._parts.get(row, ()):
                counted[event, what, detail] += number
        named = {(self._store, self._pixel, what, event, detail): n for (event, what, detail), n in counted.items()}
        add_counts(connection, self._hour, named)


def add_counts(connection: Connection, hour: int, numbers: Mapping[tuple[str, str, str, str, str], int]) -> None:
    """Add to an hour's tallies and to the totals: (store, pixel, what, event, detail) → how many more."""
    if not numbers:
        return
    # In one order whoever writes, or two relays would lock each other out.
    names = ("store", "pixel", "what", "event", "detail")
    rows = [dict(zip(names, key, strict=True), count=min(number, _MOST)) for key, number in sorted(numbers.items())]
    for table, more in ((tallies, {"hour": hour}), (totals, {})):
        connection.execute(_upsert(table, connection.dialect.name), [row | more for row in rows])


@lru_cache
def _upsert(table: sa.Table, dialect: str) -> sa.Executable:
    new = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    return new.on_conflict_do_update(
        index_elements=[column.name for column in table.primary_key],
        set_={"count": table.c.count + new.excluded["count"]},
        where=table.c.count < _FULL,
    )


def _counted(item: LeasedEvent, settlement: Settlement, now: float) -> list[_Part]:
    """What an event adds; nothing if it cannot be counted, for what TikTok has taken must be settled or goes again."""
    try:
        return [*_parts(item, settlement, now)]
    except Exception as error:
        log.error("an event is in no number: %s", type(error).__name__, extra={"event_ids": item.event_id})
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
    yield item.event, "seconds", "sum", round(seconds)
    try:
        payload = _decode(item.payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return  # a number is missing then, no event
    yield item.event, "keys", payload.user.keys(), 1
    value, currency = payload.properties.value, payload.properties.currency
    if value is not None and value.is_finite() and value.adjusted() < _ABSURD:
        yield item.event, "value", currency[:8], round(value * _UNITS)


def _outcome(settlement: Settlement) -> str:
    """Return the outcome in a word; "" for an event that was leased and not sent after all."""
    if settlement.state != "due":
        return settlement.state
    if not settlement.has_answer:
        return ""
    return "again" if settlement.counts else "denied"


@dataclass(frozen=True, slots=True)
class Statistic:
    """A number by the hour or day that begins at `at` (Unix seconds, UTC); 0 for those since ever."""

    store: str
    what: str
    pixel: str
    event: str
    detail: str
    at: int
    count: int


class EventStats:
    """The numbers, as pages and metrics read them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(
        self, stores: Iterable[str], what: Iterable[str], since: float, until: float, span: int
    ) -> list[Statistic]:
        """By spans of so many seconds (an hour or more), from the hour of `since` up to `until`."""
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
        """Since ever. There are as many as stores, events, codes and the like make, however many events there were."""
        key = [totals.c[name] for name in ("store", "what", "pixel", "event", "detail")]
        with self._database.read() as connection:
            rows = connection.execute(sa.select(*key, totals.c.count).order_by(*key))
            return [Statistic(*row[:5], 0, int(row[5])) for row in rows]


def amount(units: int) -> Decimal:
    """A number of `value` as money."""
    exact = Decimal(units).scaleb(-DECIMALS)
    return exact.quantize(Decimal("0.01")) if exact == exact.quantize(Decimal("0.01")) else exact


def match_key_counts(numbers: Iterable[Statistic]) -> dict[str, int]:
    """How many events had each of `KEYS`, from numbers of `keys`."""
    found = dict.fromkeys(KEYS, 0)
    for number in numbers:
        for key in number.detail.split():
            if key in found:
                found[key] += number.count
    return found


def median(buckets: Mapping[str, int]) -> float | None:
    """About how many seconds it takes: half of all take less. None without any; the last bound if it is beyond."""
    total = sum(number for bound, number in buckets.items() if bound != "sum")
    if not total:
        return None
    below, start = 0.0, 0.0
    for bound in BOUNDS:
        inside = buckets.get(str(bound), 0)
        if below + inside >= total / 2:
            return start + (bound - start) * (total / 2 - below) / inside
        below, start = below + inside, float(bound)
    return float(BOUNDS[-1])
