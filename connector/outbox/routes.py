"""Leaves out events that are stored already under another route: for another pixel, or under another name.

A store with routes chooses pixel and name by an order's country, currency and kind, and these can change afterwards.
The first webhook that shows a milestone decides, so that no order counts twice. An event that was skipped after its
hold was never sent, so it decides nothing.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from msgspec.structs import replace
from sqlalchemy import Connection

from connector.mapping.tiktok_event import OutboundEvent
from connector.outbox.ledger import Decision
from connector.storage.tables import events, storable

_Key = tuple[str, str, str]
_KEY = (events.c.pixel, events.c.event, events.c.event_id)
# SQLite uses no index for a comparison of tuples, so the caller compares them.
_STORED = sa.select(*_KEY).where(
    *(column.in_(sa.bindparam(column.name, expanding=True)) for column in _KEY), events.c.state != "skipped"
)


def without_other_routes(connection: Connection, decisions: Sequence[Decision]) -> Sequence[Decision]:
    """Return the decisions without events that are stored under another route, by then or by an earlier decision.

    A skipped event does not count as stored.
    """
    wanted = [key for decision in decisions for event in decision.events for key in _others(event)]
    if not wanted:
        return decisions
    values = {column.name: sorted(set(found)) for column, found in zip(_KEY, zip(*wanted, strict=True), strict=True)}
    stored: set[_Key] = {(row[0], row[1], row[2]) for row in connection.execute(_STORED, values)}
    kept = []
    for decision in decisions:
        found = tuple(event for event in decision.events if stored.isdisjoint(_others(event)))
        stored |= {_storable(event.keys[0]) for event in found}
        kept.append(decision if len(found) == len(decision.events) else replace(decision, events=found))
    return kept


def _others(event: OutboundEvent) -> list[_Key]:
    return [_storable(key) for key in event.keys[1:]] if event.other_routes else []


def _storable(key: _Key) -> _Key:
    return key[0], storable(key[1]), storable(key[2])
