"""Export of all data stored about a person, unmasked, to be handed to them. Raises CannotStore."""

import base64
from collections.abc import Iterator
from typing import Any

import msgspec
import sqlalchemy as sa

from connector.core.store import Store
from connector.core.text import iso_second
from connector.outbox.encryption import decrypt
from connector.privacy.data_subject import DataSubject
from connector.privacy.lookup import PersonalData, PersonalDataLookup, in_chunks
from connector.storage.database import Database
from connector.storage.tables import clicks, events, ledger, parked, signals

_EVENT = ("store", "pixel", "event", "event_id", "object_key", "test_code", "state", "code", "message", "request_id")
_TIMES = ("occurred_at", "created_at", "sent_at", "settled_at")
_LINE = ("store", "topic", "object_key", "order_number", "delivery", "outcome", "reason")


class Export:
    """Reads the data of a person as JSON-compatible values."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def records(
        self, store: str, person: DataSubject, found: PersonalData, shop: Store | None
    ) -> Iterator[dict[str, Any]]:
        """Yield events, ledger lines about the same orders, browser signals, clicks and parked webhooks, by `kind`."""
        keys = set(person.object_keys)
        for ids in in_chunks([*found.waiting, *found.finished]):
            with self._database.read() as connection:
                rows = connection.execute(sa.select(events).where(events.c.id.in_(ids)).order_by(events.c.id)).all()
            for row in rows:
                keys.add(row.object_key)
                yield _event(row)
        for chosen in in_chunks(sorted(keys - {""})):
            about = sa.select(ledger).where(ledger.c.store == store, ledger.c.object_key.in_(chosen))
            with self._database.read() as connection:
                lines = connection.execute(about.order_by(ledger.c.id)).all()
            yield from (_line(line) for line in lines)
        for tokens in in_chunks(found.checkouts):
            query = sa.select(signals).where(signals.c.store == store, signals.c.token.in_(tokens))
            with self._database.read() as connection:
                rows = connection.execute(query).all()
            yield from (_browser(row) for row in rows)
        for ids in in_chunks(found.clicks):
            with self._database.read() as connection:
                rows = connection.execute(sa.select(clicks).where(clicks.c.id.in_(ids)).order_by(clicks.c.id)).all()
            yield from (_click(row) for row in rows)
        for number in found.parked if shop else ():
            with self._database.read() as connection:
                item = connection.execute(sa.select(parked).where(parked.c.id == number)).first()
            if item and shop:
                body = decrypt(item.sealed, shop).body
                yield {
                    "kind": "parked",
                    "store": store,
                    "topic": item.topic,
                    "reason": item.reason,
                    **_body_field(body),
                }


def exported(database: Database, records: PersonalDataLookup, store: str, person: DataSubject) -> Iterator[bytes]:
    """Yield all data stored about a person as JSON lines. Raises CannotStore."""
    found, shop = records.find(store, person), records.configured.get(store)
    for item in Export(database).records(store, person, found, shop):
        yield msgspec.json.encode(item)


def _event(row: sa.Row[Any]) -> dict[str, Any]:
    columns = {name: getattr(row, name) for name in _EVENT} | {name: _iso(getattr(row, name)) for name in _TIMES}
    if row.clicked_at:
        columns["remembered_until"] = _iso(row.click_until)
    return {"kind": "event", **columns, "payload": msgspec.Raw(row.payload) if row.payload else None}


def _browser(row: sa.Row[Any]) -> dict[str, Any]:
    times = {name: _iso(getattr(row, name) or None) for name in ("seen_at", "order_seen_at")}
    return {"kind": "browser", **row._mapping, **times}


def _click(row: sa.Row[Any]) -> dict[str, Any]:
    columns = {name: getattr(row, name) for name in ("store", "pixel", "object_key", "ttclid", "ttp")}
    return {"kind": "click", **columns, "given_at": _iso(row.given_at), "until": _iso(row.until)}


def _line(row: sa.Row[Any]) -> dict[str, Any]:
    columns = {name: getattr(row, name) for name in _LINE}
    return {"kind": "webhook", **columns, "received_at": _iso(row.received_at)}


def _body_field(body: bytes) -> dict[str, Any]:
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(body).decode()}


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else iso_second(seconds)
