"""Merges browser signals into the waiting events of the same checkout.

A beacon and a webhook of one checkout can arrive in the same millisecond in two processes. Each holds the lock on the
checkout's token from its first read to its commit, so the second sees the first.

A waiting event that can be sent as it is has the state `due` and a due time a few seconds ahead. Any other is `held`:
no relay leases it until a signal, a later webhook or the end of its wait changes its state. Times are Unix seconds.
Raises CannotStore.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import sqlalchemy as sa
from msgspec import structs
from sqlalchemy import Connection

from connector.core.units import DAY
from connector.mapping.click_use import ClickUse, ConsentDenial
from connector.mapping.consent import BeaconWait
from connector.signals.click_memory import HASHES, KEYS, ORIGINS, ClickMemory, forget_recalled
from connector.signals.merge import (
    Signal,
    fill_absent,
    merge_signal,
    update_properties,
    user_fields,
    why_not_sendable,
)
from connector.signals.unsent import UNSENT
from connector.storage.database import Database, insert_into
from connector.storage.tables import events, signals

_FIELDS = Signal.__struct_fields__
_STATE = ("id", "state", "payload", "consent", "due_at", "as_of", *HASHES, *ORIGINS.values())
# Perhaps with another store's of the same token: for pairs, `(store, token) IN (…)`, SQLite reads the whole table.
_STORED_SIGNALS = sa.select(signals).where(
    signals.c.store.in_(sa.bindparam("stores", expanding=True)),
    signals.c.token.in_(sa.bindparam("tokens", expanding=True)),
)


@dataclass(frozen=True, slots=True)
class Beacon:
    """A signal with its store, the token of its checkout, and the time it arrived.

    `home_page` is the page.url of events without a page of their own. `remembered` is for how many seconds the store
    remembers clicks; 0: not at all.
    """

    store: str
    checkout_token: str
    received_at: float
    home_page: str
    signal: Signal
    remembered: float = 0.0


@dataclass(frozen=True, slots=True)
class WaitingEvent:
    """A new event that may wait for signals: its row, the index of its webhook in the group, its wait and its clicks.

    It is stored as `held`, or as `due` a few seconds ahead if it can be sent as it is.
    """

    index: int
    row: dict[str, Any] = field(repr=False)
    beacon_wait: BeaconWait
    clicks: ClickUse | None = None


@dataclass(frozen=True, slots=True)
class KnownOrder:
    """The order that came from a checkout, by a webhook received at `seen_at`; it takes over the checkout's signals."""

    store: str
    checkout_token: str
    object_key: str
    seen_at: float


@cache
def _insert_event(dialect: str) -> Any:
    return insert_into(events, dialect).on_conflict_do_nothing().returning(events.c.id)


@cache
def _upsert_signal(dialect: str, *columns: str) -> Any:
    """Return the statement that stores a signal, or replaces these columns of the one that is there."""
    insert = insert_into(signals, dialect)
    return insert.on_conflict_do_update(
        index_elements=["store", "token"], set_={name: insert.excluded[name] for name in columns}
    )


class SignalMatcher:
    """Stores signals and the events that may wait for them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._clicks = ClickMemory(database)
        dialect = database.engine.dialect.name
        self._add_event = _insert_event(dialect)
        self._upsert_signal = _upsert_signal(dialect, *_FIELDS, "seen_at")
        self._upsert_order = _upsert_signal(dialect, "order_key", "order_seen_at")

    # --- beacons --------------------------------------------------------------------------------------------

    def collect(self, beacon: Beacon) -> None:
        """Store a signal and merge it into the waiting events of its checkout. Raises CannotStore."""
        with self._database.write() as connection:
            self.write(connection, [beacon])

    def write(self, connection: Connection, beacons: Sequence[Beacon]) -> list[None]:
        """Store signals like `collect`, in the caller's transaction."""
        self._lock(connection, ((beacon.store, beacon.checkout_token) for beacon in beacons))
        for beacon in beacons:
            self._update_events(connection, beacon, self._store_signal(connection, beacon))
        return [None] * len(beacons)

    def _store_signal(self, connection: Connection, beacon: Beacon) -> Signal:
        """Merge a beacon into the stored signal of its checkout; return the result."""
        stored = self._stored_signals(connection, [(beacon.store, beacon.checkout_token)])
        known = _signal(stored.get((beacon.store, beacon.checkout_token))) or Signal()
        signal = known.then(beacon.signal)
        fields = {name: getattr(signal, name) for name in _FIELDS}
        row = {"store": beacon.store, "token": beacon.checkout_token, "seen_at": beacon.received_at, **fields}
        connection.execute(self._upsert_signal, row)
        return signal

    def _update_events(self, connection: Connection, beacon: Beacon, signal: Signal) -> None:
        of_checkout = (events.c.store == beacon.store, events.c.checkout == beacon.checkout_token)
        query = sa.select(*(events.c[name] for name in _STATE)).where(*of_checkout, UNSENT)
        for row in connection.execute(query.order_by(events.c.id)).all():
            self._change(connection, row, _with_signal(row._asdict(), signal, beacon.home_page, beacon.received_at))
        if beacon.remembered:
            self._use_clicks_of_checkout(connection, beacon, signal)

    def _use_clicks_of_checkout(self, connection: Connection, beacon: Beacon, signal: Signal) -> None:
        """Remember a browser's keys for the people of its checkout, sent or not, or forget theirs after a denial."""
        of_checkout = (events.c.store == beacon.store, events.c.checkout == beacon.checkout_token)
        known = sa.or_(*(events.c[name].is_not(None) for name in HASHES))
        rows = [row._asdict() for row in connection.execute(sa.select(events).where(*of_checkout, known))]
        for row in rows if signal.consent == "denied" else ():
            self._clicks.forget(connection, _consent_denial(row))
        if signal.consent != "denied":
            keys = {name: getattr(signal, name) for name in KEYS}
            given = [
                (row | {"created_at": beacon.received_at}, ClickUse(beacon.remembered, row["occurred_at"], **keys))
                for row in rows
                if row["consent"] in ("", "granted")
            ]
            self._clicks.remember(connection, given)

    # --- webhooks -------------------------------------------------------------------------------------------

    def store_waiting(
        self, connection: Connection, waiting: Sequence[WaitingEvent], orders: Sequence[KnownOrder] = ()
    ) -> Counter[int]:
        """Store events that may wait, in the caller's transaction; return the number of new ones by webhook.

        If an event is already stored and still waits, its absent fields are filled, and its value and products are
        taken from the newest body. A skipped event becomes due once it can be sent. The `orders` take over the
        signals of their checkouts.
        """
        tokens = {(item.row["store"], item.beacon_wait.checkout_token) for item in waiting}
        tokens |= {(order.store, order.checkout_token) for order in orders}
        self._lock(connection, tokens)
        known = self._stored_signals(connection, tokens)
        new: Counter[int] = Counter()
        for item in sorted(waiting, key=lambda item: _key(item.row)):
            signal = _signal(known.get((item.row["store"], item.beacon_wait.checkout_token)))
            new[item.index] += self._store_one(connection, item, signal)
        self._store_orders(connection, orders, known)
        return new

    def _store_orders(
        self, connection: Connection, orders: Sequence[KnownOrder], known: Mapping[tuple[str, str], sa.Row[Any]]
    ) -> None:
        """Assign the signals of checkouts to their orders, with or without a beacon so far."""
        rows = {}
        for order in orders:
            key = order.store, order.checkout_token
            stored = known.get(key)
            if stored is None or stored.order_key is None or stored.order_seen_at + DAY <= order.seen_at:
                rows[key] = dict.fromkeys(_FIELDS, "") | {
                    "store": order.store,
                    "token": order.checkout_token,
                    "seen_at": 0.0,
                    "order_key": order.object_key,
                    "order_seen_at": order.seen_at,
                }
        if rows:
            connection.execute(self._upsert_order, [rows[key] for key in sorted(rows)])

    def _store_one(self, connection: Connection, item: WaitingEvent, signal: Signal | None) -> bool:
        wait, received_at, release_at = item.beacon_wait, item.row["created_at"], item.row["due_at"]
        new = item.row | {
            "checkout": wait.checkout_token,
            "consent": wait.consent,
            "as_of": received_at if wait.as_of is None else wait.as_of,
            "due_at": max(received_at + wait.seconds, release_at),
        }
        row = new | _with_signal(new, signal, wait.home_page, release_at)
        self._use_clicks(connection, item, row, signal)
        if connection.execute(self._add_event, row).first() is not None:
            return True
        same = [events.c[name] == row[name] for name in ("pixel", "event", "event_id")]
        open_ = sa.or_(UNSENT, events.c.state == "skipped")
        query = sa.select(*(events.c[name] for name in _STATE)).where(
            *same, events.c.store == row["store"], events.c.checkout == wait.checkout_token, open_
        )
        old = connection.execute(query).first()
        if old is None:
            return False
        if old.state == "skipped":
            return self._revive(connection, old.id, row)
        merged = _with_later_webhook(old, new, wait.home_page)
        self._change(connection, old, merged | _with_signal(merged, signal, wait.home_page, release_at))
        return False

    def _use_clicks(
        self, connection: Connection, item: WaitingEvent, row: dict[str, Any], signal: Signal | None
    ) -> None:
        """Remember the keys of an event and its browser once they may be used, or forget theirs after a denial."""
        if item.clicks is None:
            return
        if signal is not None and signal.consent == "denied":
            self._clicks.forget(connection, _consent_denial(row))
        elif row["consent"] in ("", "granted"):
            own = {name: getattr(item.clicks, name) or getattr(signal, name, "") for name in KEYS}
            self._clicks.remember(connection, [(row, structs.replace(item.clicks, **own))])

    def _revive(self, connection: Connection, number: int, row: Mapping[str, Any]) -> bool:
        """Make a skipped event due if it can now be sent. Its wait is over, and it was never sent."""
        if row["state"] != "due":
            return False
        values = dict(row) | {"due_at": row["created_at"], "settled_at": None, "message": None}
        again = sa.update(events).where(events.c.id == number, events.c.state == "skipped").values(values)
        return connection.execute(again).rowcount > 0

    # --- details --------------------------------------------------------------------------------------------

    def _change(self, connection: Connection, row: sa.Row[Any], values: Mapping[str, Any]) -> None:
        """Update an event unless a relay has leased it meanwhile."""
        if any(row._mapping[name] != value for name, value in values.items()):
            connection.execute(sa.update(events).where(events.c.id == row.id, UNSENT).values(values))

    def _stored_signals(
        self, connection: Connection, tokens: Collection[tuple[str, str]]
    ) -> dict[tuple[str, str], sa.Row[Any]]:
        stores, names = {store for store, _ in tokens}, {token for _, token in tokens}
        found = connection.execute(_STORED_SIGNALS, {"stores": sorted(stores), "tokens": sorted(names)})
        return {(row.store, row.token): row for row in found}

    def _lock(self, connection: Connection, tokens: Iterable[tuple[str, str]]) -> None:
        """Lock checkouts on PostgreSQL, in a fixed order; SQLite has a single writer.

        The advisory locks end with the transaction, as pgbouncer requires.
        """
        if not self._database.is_postgresql:
            return
        for number in sorted({_lock_number(*token) for token in tokens}):
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))


def _signal(row: sa.Row[Any] | None) -> Signal | None:
    """Return a stored signal, or None if no beacon has come or nothing of it is kept."""
    if row is None or not (row.seen_at or row.consent):
        return None
    return Signal(*(row._mapping[name] for name in _FIELDS))


def _with_signal(row: Mapping[str, Any], signal: Signal | None, home_page: str, now: float) -> dict[str, Any]:
    """Return the columns of a waiting event after merging the signal of its browser, if there is one."""
    payload, consent, due_at = row["payload"], row["consent"], row["due_at"]
    origins = {name: row[name] for name in ORIGINS.values()}
    if signal is not None:  # its own keys take the place of remembered ones; a denial leaves none
        without = forget_recalled(row, KEYS if signal.consent == "denied" else signal.user.keys() & set(KEYS))
        payload, origins = without.pop("payload"), origins | without
    if signal is not None and signal.consent == "denied":
        consent = consent and "denied"  # if the store requires no consent, only the signals are left out
    elif signal is not None:
        consent = "granted" if consent and signal.consent == "granted" else consent
        payload = merge_signal(payload, signal, home_page)
    lacks = why_not_sendable(payload, consent)
    if consent == "denied" or (signal is not None and not lacks):
        due_at = min(due_at, now)
    return {"payload": payload, "consent": consent, "due_at": due_at, "state": "held" if lacks else "due", **origins}


def _with_later_webhook(stored: sa.Row[Any], new: Mapping[str, Any], home_page: str) -> dict[str, Any]:
    """Return the columns of a stored event after merging another webhook about it, which can be older or newer."""
    newer = new["as_of"] >= stored.as_of
    fields, own = user_fields(stored.payload), user_fields(new["payload"])
    own -= {name for name, origin in ORIGINS.items() if new[origin] is not None}
    without = forget_recalled(stored._mapping, own & set(KEYS))  # its own keys take the place of remembered ones
    origins = {
        origin: new[origin] if name not in fields else without.get(origin, stored._mapping[origin])
        for name, origin in ORIGINS.items()
    }
    payload, consent = fill_absent(without["payload"], new["payload"], home_page), stored.consent
    if newer:
        payload = update_properties(payload, new["payload"])
    if new["consent"] == "granted" or (newer and consent in ("", "missing")):
        consent = new["consent"]
    hashes = {name: stored._mapping[name] or new[name] for name in HASHES}
    as_of = max(stored.as_of, new["as_of"])
    return {"payload": payload, "consent": consent, "due_at": stored.due_at, "as_of": as_of, **hashes, **origins}


def _consent_denial(row: Mapping[str, Any]) -> ConsentDenial:
    """Return the denial of consent of the person of an event."""
    return ConsentDenial(row["store"], (row["pixel"],), *((row[name].hex(),) if row[name] else () for name in HASHES))


def _key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["pixel"], row["event"], row["event_id"]


def _lock_number(store: str, token: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{store} {token}".encode()).digest()[:8], signed=True)
