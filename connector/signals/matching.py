"""Where browsers' signals and the events that wait for them meet: verbs over an SQLAlchemy engine.

A beacon and a webhook of one checkout may come in the same millisecond, to two processes. Either writes its own row
first and then looks for the other's, under a lock on the checkout's token, so whoever is second sees the first.

An event that waits is `due` in a little while if it could be sent as it is, else `held`: then no relay takes it, and
only a signal, a later webhook or the end of its wait moves it on. Times are Unix seconds. Raises CannotStore.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from connector.mapping.consent import BeaconWait
from connector.signals.merge import Signal, fill_absent, merge_signal, update_properties, why_not_sendable
from connector.storage.database import CannotStore, Database, caused_by_one_row
from connector.storage.group_commit import GroupCommit, WaitTimeout
from connector.storage.tables import events, signals

_FIELDS = Signal.__struct_fields__
_HASHES = ("email", "phone", "external_id")
_STATE = ("id", "state", "payload", "consent", "due_at", "as_of", *_HASHES)
# What no relay has and no request to TikTok has carried, nor anybody erased: only such bytes may still change.
_UNCLAIMED = sa.and_(
    events.c.state.in_(("held", "due")),
    events.c.lease_owner.is_(None),
    events.c.attempts == 0,
    events.c.sent_at.is_(None),
    events.c.payload.is_not(None),
)


_KNOWN = sa.select(signals).where(
    sa.tuple_(signals.c.store, signals.c.token).in_(sa.bindparam("tokens", expanding=True))
)


@dataclass(frozen=True, slots=True)
class Beacon:
    """A signal, which checkout of which store it is of, and when it came.

    `home` is that store's page.url of last resort.
    """

    store: str
    token: str
    came_at: float
    home_page: str
    signal: Signal


@dataclass(frozen=True, slots=True)
class HeldEvent:
    """A new event that may wait: its row for the table, the number of the webhook that brought it, its wait."""

    number: int
    row: dict[str, Any] = field(repr=False)
    beacon_wait: BeaconWait


class SignalMatcher:
    """The verbs, the same on SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._group_commit: GroupCommit[Beacon, None] = GroupCommit(self._collect, database.timeout, caused_by_one_row)
        self._add_event = self._database.insert(events).on_conflict_do_nothing().returning(events.c.id)
        told = self._database.insert(signals)
        self._tell = told.on_conflict_do_update(
            index_elements=["store", "token"], set_={name: told.excluded[name] for name in (*_FIELDS, "seen_at")}
        )

    # --- a beacon has come ----------------------------------------------------------------------------------

    def collect(self, beacon: Beacon) -> None:
        """Keep what a browser told, and join it with the events of its checkout that still wait."""
        try:
            self._group_commit.add(beacon)
        except WaitTimeout:
            raise CannotStore("others have been writing for too long") from None

    def _collect(self, beacons: Sequence[Beacon]) -> list[None]:
        with self._database.write() as connection:
            self._lock(connection, ((beacon.store, beacon.token) for beacon in beacons))
            for beacon in beacons:
                self._join(connection, beacon, self._keep(connection, beacon))
        return [None] * len(beacons)

    def _keep(self, connection: Connection, beacon: Beacon) -> Signal:
        """All that is known of this browser now."""
        known = self._known(connection, [(beacon.store, beacon.token)]).get((beacon.store, beacon.token), Signal())
        signal = known.then(beacon.signal)
        told = {name: getattr(signal, name) for name in _FIELDS}
        row = {"store": beacon.store, "token": beacon.token, "seen_at": beacon.came_at, **told}
        connection.execute(self._tell, row)
        return signal

    def _join(self, connection: Connection, beacon: Beacon, signal: Signal) -> None:
        mine = (events.c.store == beacon.store, events.c.checkout == beacon.token)
        query = sa.select(*(events.c[name] for name in _STATE)).where(*mine, _UNCLAIMED)
        for row in connection.execute(query.order_by(events.c.id)).all():
            self._change(connection, row, _met(row._asdict(), signal, beacon.home_page, beacon.came_at))

    # --- a webhook has come ---------------------------------------------------------------------------------

    def admit(self, connection: Connection, arrivals: Sequence[HeldEvent]) -> Counter[int]:
        """Store events that may wait; how many are new, by their webhook's number. Part of the caller's transaction.

        Of an event that is stored already, and still waits, what is absent is filled; value and products follow the
        newest body. One that was skipped for want of something is as good as new once nothing is wanting.
        """
        tokens = {(arrival.row["store"], arrival.beacon_wait.token) for arrival in arrivals}
        self._lock(connection, tokens)
        known = self._known(connection, tokens)
        new: Counter[int] = Counter()
        for arrival in sorted(arrivals, key=lambda arrival: _key(arrival.row)):
            signal = known.get((arrival.row["store"], arrival.beacon_wait.token))
            new[arrival.number] += self._admit(connection, arrival, signal)
        return new

    def _admit(self, connection: Connection, arrival: HeldEvent, signal: Signal | None) -> bool:
        waits, came_at = arrival.beacon_wait, arrival.row["created_at"]
        told = arrival.row | {
            "checkout": waits.token,
            "consent": waits.consent,
            "as_of": came_at if waits.as_of is None else waits.as_of,
            "due_at": came_at + waits.seconds,
        }
        row = told | _met(told, signal, waits.home_page, came_at)
        if connection.execute(self._add_event, row).first() is not None:
            return True
        same = [events.c[name] == row[name] for name in ("pixel", "event", "event_id")]
        open_ = sa.or_(_UNCLAIMED, events.c.state == "skipped")
        query = sa.select(*(events.c[name] for name in _STATE)).where(
            *same, events.c.store == row["store"], events.c.checkout == waits.token, open_
        )
        old = connection.execute(query).first()
        if old is None:
            return False
        if old.state == "skipped":
            return self._revive(connection, old.id, row)
        known = _told_again(old, told, waits.home_page)
        self._change(connection, old, known | _met(known, signal, waits.home_page, came_at))
        return False

    def _revive(self, connection: Connection, number: int, row: Mapping[str, Any]) -> bool:
        """What it lacked has come after all. It was never sent, and has waited long enough."""
        if row["state"] != "due":
            return False
        values = dict(row) | {"due_at": row["created_at"], "settled_at": None, "message": None}
        again = sa.update(events).where(events.c.id == number, events.c.state == "skipped").values(values)
        return connection.execute(again).rowcount > 0

    # --- details --------------------------------------------------------------------------------------------

    def _change(self, connection: Connection, row: sa.Row[Any], values: Mapping[str, Any]) -> None:
        """The one conditional update: it does nothing to what a relay has claimed meanwhile."""
        if any(row._mapping[name] != value for name, value in values.items()):
            connection.execute(sa.update(events).where(events.c.id == row.id, _UNCLAIMED).values(values))

    def _known(self, connection: Connection, tokens: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Signal]:
        found = connection.execute(_KNOWN, {"tokens": sorted(tokens)})
        return {(row.store, row.token): Signal(*(row._mapping[name] for name in _FIELDS)) for row in found}

    def _lock(self, connection: Connection, tokens: Iterable[tuple[str, str]]) -> None:
        """One transaction at a time per checkout; SQLite has one writer anyway. Everybody in one order.

        PostgreSQL's advisory locks end with the transaction, so a pgbouncer is no matter.
        """
        if not self._database.is_postgresql:
            return
        for number in sorted({_lock_number(*token) for token in tokens}):
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))


def _met(row: Mapping[str, Any], signal: Signal | None, home_page: str, now: float) -> dict[str, Any]:
    """What becomes of a waiting event, given what its browser told so far."""
    payload, consent, due_at = row["payload"], row["consent"], row["due_at"]
    if signal is not None and signal.consent == "denied":
        consent = consent and "denied"  # where nobody has to ask, a no only keeps the signals out
    elif signal is not None:
        consent = "granted" if consent and signal.consent == "granted" else consent
        payload = merge_signal(payload, signal, home_page)
    lacks = why_not_sendable(payload, consent)
    if consent == "denied" or (signal is not None and not lacks):
        due_at = min(due_at, now)
    return {"payload": payload, "consent": consent, "due_at": due_at, "state": "held" if lacks else "due"}


def _told_again(old: sa.Row[Any], row: Mapping[str, Any], home_page: str) -> dict[str, Any]:
    """A stored event with what another webhook knows of it, whose body may be the older one."""
    newer = row["as_of"] >= old.as_of
    payload, consent = fill_absent(old.payload, row["payload"], home_page), old.consent
    if newer:
        payload = update_properties(payload, row["payload"])
    if row["consent"] == "granted" or (newer and consent in ("", "missing")):
        consent = row["consent"]
    told = {"payload": payload, "consent": consent, "due_at": old.due_at, "as_of": max(old.as_of, row["as_of"])}
    return told | {name: old._mapping[name] or row[name] for name in _HASHES}


def _key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["pixel"], row["event"], row["event_id"]


def _lock_number(store: str, token: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{store} {token}".encode()).digest()[:8], signed=True)
