"""The memory of clicks: the click id and browser id that a customer brought last, for their later events without.

An order paid later, on another device or from a link in an e-mail has no click id of its own. A store with
`matching.remember_clicks` fills it from earlier events of the same person. Never ip or user agent.

The keys of an earlier event are in its payload, beside the hashes of its person, so a webhook writes nothing but the
time `clicked_at`. When the payload is erased, housekeeping moves them to the table `clicks`. Only what a browser
reports (`connector.signals.matching`) is written there at once.

    scope     the pixel: a key that came to one pixel is never sent to another
    person    any hash in common; of an external_id only within its store, because shops number their customers alike
    time      given before the event happened, and at most `remember_clicks` ago
    consent   keys of an event that may be sent; a denial erases what is remembered of the person

What was forgotten leaves a mark by its order, without keys and hashes: `clicked_at` is 0, and a row of `clicks` is
empty. A later webhook of the same order brings its old keys again, and they must not come back.

Times are Unix seconds. Each method runs in the caller's transaction.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from connector.mapping.click_use import ClickUse, ConsentDenial
from connector.signals.merge import fill_keys, own_keys, without_keys
from connector.signals.unsent import UNSENT
from connector.storage.bulk_insert import BulkInsert
from connector.storage.database import Database
from connector.storage.tables import clicks, events

KEYS = ("ttclid", "ttp")
ORIGINS = {name: f"{name}_from" for name in KEYS}  # the column that says since when a remembered key is known
HASHES = ("email", "phone", "external_id")
MOST_FOUND = 5_000  # rows that a webhook's look-up reads: a till may use one e-mail for all its customers
HASHES_AT_ONCE = 1_000  # in a statement; SQLite allows 32,766 parameters

ERASED = {"ttclid": "", "ttp": "", "email": None, "phone": None, "external_id": None}
NOT_ERASED = sa.or_(clicks.c.ttclid != "", clicks.c.ttp != "")

_COLUMNS = ("store", "object_key", "pixel", *HASHES, *KEYS, "given_at", "until")
_FILLED = ", ".join(
    [f"{name} = CASE clicks.{name} WHEN '' THEN excluded.{name} ELSE clicks.{name} END" for name in KEYS]
    + [f"{name} = coalesce(clicks.{name}, excluded.{name})" for name in HASHES]
)
_NEW = " OR ".join(
    [f"clicks.{name} = '' AND excluded.{name} <> ''" for name in KEYS]
    + [f"clicks.{name} IS NULL AND excluded.{name} IS NOT NULL" for name in HASHES]
)
_UPSERT = (
    f"ON CONFLICT (store, object_key, pixel) DO UPDATE SET {_FILLED} "
    f"WHERE (clicks.ttclid <> '' OR clicks.ttp <> '') AND ({_NEW})"
)

# The columns of a look-up, of events and of `clicks`.
_OF_EVENT = (
    "store", "object_key", "pixel", *HASHES, "'' AS ttclid", "'' AS ttp", "clicked_at AS given_at",
    "click_until AS until", "payload", "clicked_at", "click_until", *ORIGINS.values(),
)  # fmt: skip
_OF_CLICK = ("store", "object_key", "pixel", *HASHES, *KEYS, "given_at", "until", *["NULL"] * 5)
_SELECT = "SELECT {} FROM {} WHERE {}"

Row = MutableMapping[str, Any]  # a new event's columns
Columns = Mapping[str, Any] | sa.RowMapping
Identity = tuple[str, str, bytes]  # the column, the store if only its own count, and the hash


class ClickMemory:
    """Remembers, recalls and forgets clicks. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._upsert = BulkInsert(clicks, _COLUMNS, _UPSERT, database.engine.dialect)
        self._lookup = _Lookup(database.is_postgresql)

    def mark(self, given: Iterable[tuple[Row, ClickUse]]) -> None:
        """Mark the rows of new events whose own keys are remembered."""
        for event, use in given:
            now, until = event["created_at"], use.given_at + use.seconds
            if (use.ttclid or use.ttp) and until > now and event["object_key"]:
                event["clicked_at"], event["click_until"] = min(use.given_at, now), until

    def remember(self, connection: Connection, given: Iterable[tuple[Row, ClickUse]]) -> None:
        """Store keys that are in no payload, by the rows of their events. A known row gets only what it lacks."""
        rows: dict[tuple[str, str, str], dict[str, Any]] = {}
        for event, use in given:
            now, until = event["created_at"], use.given_at + use.seconds
            if not (use.ttclid or use.ttp) or until <= now or not event["object_key"] or not _is_known(event):
                continue
            row = {name: event[name] for name in ("store", "object_key", "pixel", *HASHES)}
            row |= {"ttclid": use.ttclid, "ttp": use.ttp, "given_at": min(use.given_at, now), "until": until}
            key = (row["store"], row["object_key"], row["pixel"])
            rows[key] = row | {name: value for name, value in rows.get(key, {}).items() if value}
        if rows:
            self._upsert.run(connection, [rows[key] for key in sorted(rows)])

    def recall(self, connection: Connection, wanted: Sequence[tuple[Row, ClickUse]]) -> None:
        """Fill the absent keys of new events, in their rows, and note from when each is.

        The events of `wanted` are stored together; each sees the others.
        """
        lacking = [(event, use) for event, use in wanted if not (use.ttclid and use.ttp)]
        if not lacking:
            return
        found = [*self._lookup.clicks(connection, [event for event, _ in lacking])]
        found += [_of_new(event, use) for event, use in wanted if event["clicked_at"]]
        known = _by_hash(found)
        usable = [(event, use, _usable(event, use, known)) for event, use in lacking]
        forgotten = self._lookup.forgotten(connection, [click for *_, theirs in usable for click in theirs])
        for event, use, theirs in usable:
            _fill(event, use, [click for click in theirs if click.source not in forgotten])

    def move(self, connection: Connection, rows: Iterable[sa.Row[Any]], now: float) -> None:
        """Keep the remembered keys of events whose payloads are about to be erased."""
        found = [(row, _of_event(row._mapping)) for row in rows if row.click_until > now and row.payload is not None]
        forgotten = self._lookup.forgotten(connection, [click for _, click in found])
        given = [
            (row._asdict() | {"created_at": now}, _use_of(click))
            for row, click in found
            if click.source not in forgotten
        ]
        self.remember(connection, given)

    def forget(self, connection: Connection, denial: ConsentDenial, together: Iterable[Row] = ()) -> None:
        """Erase what is remembered of a person for these pixels, and remove it from their events not yet sent.

        `together` are the rows of events that are stored in this transaction.
        """
        hashes = zip(HASHES, (denial.emails, denial.phones, denial.external_ids), strict=True)
        people, pixels = identities(dict(hashes), denial.store), frozenset(denial.pixels)
        people = forget_people(connection, people, pixels)
        for event in together:
            if event["clicked_at"] and event["pixel"] in pixels and identities_of(event) & people:
                event["clicked_at"] = 0.0


class _Click(NamedTuple):
    """Remembered keys, of an event or of a row of `clicks`; "" for one that it lacks."""

    store: str
    object_key: str
    pixel: str
    hashes: tuple[bytes | None, ...]  # by the columns HASHES
    ttclid: str
    ttp: str
    given_at: float
    until: float

    @property
    def source(self) -> tuple[str, str, str]:
        """Store, object and pixel, by which its keys can be forgotten."""
        return self.store, self.object_key, self.pixel


def _of_row(row: sa.Row[Any]) -> _Click:
    hashes = (row.email, row.phone, row.external_id)
    return _Click(row.store, row.object_key, row.pixel, hashes, row.ttclid, row.ttp, row.given_at, row.until)


def _of_event(event: Columns) -> _Click:
    """Return the own keys of an event that has them still."""
    own = dict(zip(KEYS, own_keys(event["payload"]), strict=True))
    return _of_columns(event, *("" if event[ORIGINS[name]] is not None else own[name] for name in KEYS))


def _of_new(event: Row, use: ClickUse) -> _Click:
    return _of_columns(event, use.ttclid, use.ttp)


def _use_of(click: _Click) -> ClickUse:
    return ClickUse(click.until - click.given_at, click.given_at, click.ttclid, click.ttp)


def _of_columns(event: Columns, ttclid: str, ttp: str) -> _Click:
    source, hashes = (event["store"], event["object_key"], event["pixel"]), tuple(event[name] for name in HASHES)
    return _Click(*source, hashes, ttclid, ttp, event["clicked_at"], event["click_until"])


def _by_hash(found: Iterable[_Click]) -> dict[tuple[str, str, bytes], list[_Click]]:
    """Return clicks by column, pixel and hash."""
    known = defaultdict(list)
    for click in found:
        for name, digest in zip(HASHES, click.hashes, strict=True):
            if digest:
                known[name, click.pixel, digest].append(click)
    return known


def _usable(event: Row, use: ClickUse, known: Mapping[tuple[str, str, bytes], list[_Click]]) -> list[_Click]:
    """Return the clicks of an event's person that are neither too old nor younger than the event."""
    by_hash = {name: known.get((name, event["pixel"], event[name]), []) for name in HASHES if event[name]}
    theirs = [click for click in by_hash.pop("external_id", []) if click.store == event["store"]]
    theirs += [click for found in by_hash.values() for click in found]
    oldest, now = event["created_at"] - use.seconds, event["created_at"]
    return [click for click in theirs if oldest < click.given_at <= event["occurred_at"] and click.until > now]


def _fill(event: Row, use: ClickUse, usable: Sequence[_Click]) -> None:
    """Fill each key that an event lacks with the last of these clicks that has it."""
    for name in KEYS:
        having = [click for click in usable if getattr(click, name)]
        if having and not getattr(use, name):
            last = max(having, key=lambda click: click.given_at)
            event["payload"] = fill_keys(event["payload"], {name: getattr(last, name)})
            event[ORIGINS[name]] = last.given_at


class _Lookup:
    """Two queries of intake, by statements whose texts are built once.

    SQLAlchemy takes longer to build such a statement than a database to answer it: for 4 webhooks 350 µs, not 60.
    """

    def __init__(self, is_postgresql: bool) -> None:
        self._is_postgresql = is_postgresql
        self._find = lru_cache(self._build)
        self._find_forgotten = lru_cache(self._build_forgotten)

    def clicks(self, connection: Connection, rows: Sequence[Row]) -> Iterator[_Click]:
        """Yield the clicks that share a hash with events."""
        digests = {name: sorted({row[name] for row in rows if row[name]}) for name in HASHES}
        numbers = tuple((name, len(found)) for name, found in digests.items() if found)
        if not numbers:
            return
        parameters = self._parameters({name: digests[name] for name, _ in numbers})
        for row in connection.exec_driver_sql(self._find(numbers), parameters):
            yield _of_event(row._mapping) if row.payload is not None else _of_row(row)

    def forgotten(self, connection: Connection, found: Iterable[_Click]) -> set[tuple[str, str, str]]:
        """Return the sources of those of the clicks whose keys were forgotten."""
        stores, keys = sorted({click.store for click in found}), sorted({click.object_key for click in found})
        if not keys:
            return set()
        statement = self._find_forgotten(len(stores), len(keys))
        rows = connection.exec_driver_sql(statement, self._parameters({"store": stores, "object_key": keys}))
        return {(row.store, row.object_key, row.pixel) for row in rows}

    def _build(self, numbers: tuple[tuple[str, int], ...]) -> str:
        # One query of each table: PostgreSQL plans the statement each time, which takes twice as long for one per hash.
        of_person = " OR ".join(self._any(*number) for number in numbers)
        of_events = _SELECT.format(
            ", ".join(_OF_EVENT), "events", f"clicked_at > 0 AND payload IS NOT NULL AND ({of_person})"
        )
        of_clicks = _SELECT.format(", ".join(_OF_CLICK), "clicks", of_person)
        return f"{of_events} UNION ALL {of_clicks} LIMIT {MOST_FOUND}"

    def _build_forgotten(self, stores: int, keys: int) -> str:
        which = f"{self._any('store', stores, 'text')} AND {self._any('object_key', keys, 'text')}"
        return " UNION ALL ".join(
            f"SELECT store, object_key, pixel FROM {table} WHERE {which} AND {gone}"  # noqa: S608 # own names
            for table, gone in (("events", "clicked_at = 0"), ("clicks", "ttclid = '' AND ttp = ''"))
        )

    def _any(self, name: str, number: int, kind: str = "bytea") -> str:
        # b: in binary form; as text, 48 hashes took psycopg 540 µs, not 145.
        return (
            f"{name} = ANY(%({name})b::{kind}[])" if self._is_postgresql else f"{name} IN ({', '.join('?' * number)})"
        )

    def _parameters(self, lists: dict[str, list[Any]]) -> dict[str, list[Any]] | tuple[Any, ...]:
        """Return the values by column, which both tables' queries share; SQLite takes each value twice."""
        return lists if self._is_postgresql else tuple(value for values in lists.values() for value in values) * 2


def forget_people(connection: Connection, people: set[Identity], pixels: Iterable[str]) -> set[Identity]:
    """Erase what is remembered of people for these pixels, in every store; return all their identities."""
    pixels = [*pixels]
    found: dict[int, sa.Row[Any]] = {}
    new = people
    while new:
        rows, more = clicks_of_person(connection, new, clicks.c.pixel.in_(pixels), most=MOST_FOUND)
        erase_clicks(connection, [row.id for row in rows])
        people |= more
        of_pixels = (events.c.clicked_at > 0, events.c.pixel.in_(pixels))
        mine = _find(connection, events, people, *of_pixels, most=MOST_FOUND)
        fresh = [row for row in mine if row.id not in found]
        found |= {row.id: row for row in fresh}
        new = {identity for row in fresh for identity in identities_of(row._mapping)} - people
        people |= new
    if found:
        connection.execute(sa.update(events).where(events.c.id.in_([*found])).values(clicked_at=0.0))
    remove_from_queue(connection, people, pixels)
    return people


def erase_clicks(connection: Connection, ids: Sequence[int]) -> None:
    """Erase keys and hashes of rows, and remove them from events not yet sent, whichever store's those are."""
    of_rows = clicks.c.id.in_(ids)
    found = connection.execute(sa.select(clicks).where(of_rows)).all() if ids else ()
    if found:
        people = {identity for click in found for identity in identities_of(click._mapping)}
        remove_from_queue(connection, people, {click.pixel for click in found})
        connection.execute(sa.update(clicks).where(of_rows).values(ERASED))


def remove_from_queue(connection: Connection, people: set[Identity], pixels: Iterable[str]) -> None:
    """Remove remembered keys from events of these people that are not yet sent."""
    erase_recalled(connection, recalled_by(connection, people, pixels))


def recalled_by(connection: Connection, people: set[Identity], pixels: Iterable[str]) -> list[int]:
    """Return the ids of events of these people that are not yet sent and have remembered keys, of any store."""
    recalled = sa.or_(*(events.c[name].is_not(None) for name in ORIGINS.values()))
    found: set[int] = set()
    for name in HASHES:
        if not (digests := _digests(people, name)):
            continue  # a database would read all events of the pixels to find none
        known = (events.c[name].in_(digests), events.c.pixel.in_(pixels))
        rows = connection.execute(sa.select(events).where(*known, UNSENT, recalled)).all()
        found |= {row.id for row in rows if identities_of(row._mapping) & people}
    return sorted(found)


def erase_recalled(connection: Connection, ids: Sequence[int]) -> None:
    """Remove remembered keys from events, unless they have been sent meanwhile."""
    for event in connection.execute(sa.select(events).where(events.c.id.in_(ids), UNSENT)).all() if ids else ():
        without = forget_recalled(event._mapping, KEYS)
        if without:
            connection.execute(sa.update(events).where(events.c.id == event.id, UNSENT).values(without))


def forget_recalled(event: Columns, names: Iterable[str]) -> dict[str, Any]:
    """Return the columns of an event without those of its keys that were remembered."""
    gone = [name for name in names if event[ORIGINS[name]] is not None]
    return {ORIGINS[name]: None for name in gone} | {"payload": without_keys(event["payload"], gone)}


def clicks_of_person(
    connection: Connection, people: set[Identity], *where: sa.ColumnElement[bool], most: int | None = None
) -> tuple[list[sa.Row[Any]], set[Identity]]:
    """Return the rows about a person, and all their identities: a row with one of these names further ones.

    At most the newest `most` by each kind of hash are read, then as many by those that they name, and so on.
    """
    found: dict[int, sa.Row[Any]] = {}
    new = people
    while new:
        rows = [row for row in _find(connection, clicks, new, *where, most=most) if row.id not in found]
        found |= {row.id: row for row in rows}
        named = {identity for row in rows for identity in identities_of(row._mapping)}
        new, people = named - people, people | named
    return [*found.values()], people


def identities_of(row: Columns) -> set[Identity]:
    """Return the identities in a row of `events` or `clicks`."""
    found = {(name, "", row[name]) for name in ("email", "phone") if row[name]}
    return found | {("external_id", row["store"], row["external_id"])} if row["external_id"] else found


def identities(hashes: Mapping[str, Iterable[str]], store: str) -> set[Identity]:
    """Return the identities of a person from hex hashes by column."""
    return {
        (name, store if name == "external_id" else "", bytes.fromhex(digest))
        for name, digests in hashes.items()
        for digest in digests
    }


def _find(
    connection: Connection, table: sa.Table, people: set[Identity], *where: sa.ColumnElement[bool], most: int | None
) -> Iterator[sa.Row[Any]]:
    """Yield the rows of `clicks` or `events` that share an identity, each once; of each hash's kind at most `most`."""
    seen: set[int] = set()
    for name in HASHES:
        for row in islice(_with_hashes(connection, table, name, _digests(people, name), where, most), most):
            if row.id not in seen and identities_of(row._mapping) & people:
                seen.add(row.id)
                yield row


def _with_hashes(
    connection: Connection,
    table: sa.Table,
    name: str,
    digests: Sequence[bytes],
    where: Iterable[sa.ColumnElement[bool]],
    most: int | None,
) -> Iterator[sa.Row[Any]]:
    for start in range(0, len(digests), HASHES_AT_ONCE):
        theirs = table.c[name].in_(digests[start : start + HASHES_AT_ONCE])
        query = sa.select(table).where(theirs, *where).order_by(table.c.id.desc())
        yield from connection.execute(query.limit(most))


def _is_known(row: Columns) -> bool:
    return any(row[name] for name in HASHES)


def _digests(people: Iterable[Identity], name: str) -> list[bytes]:
    return sorted(digest for column, _, digest in people if column == name)
