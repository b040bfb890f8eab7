"""Erasure of a person or of all data of a store, at a shop's request or by `connector erase`.

An event's key (pixel, name, event_id) and outcome are kept, so that no event is sent twice; so is a person's denial of
consent to an order, so that no event is sent against it, and which orders' clicks were erased, so that a later webhook
does not bring them back. Waiting events end as
expired. Times are Unix seconds. Raises CannotStore; an interrupted erasure can be repeated.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from threading import Event
from typing import Any

import sqlalchemy as sa

from connector.core.store import Store
from connector.outbox.identity_hashes import delete_hashes as forget_identities
from connector.privacy.data_subject import DataSubject
from connector.privacy.lookup import (
    PERSONAL,
    PersonalData,
    PersonalDataLookup,
    in_chunks,
    is_consent_denial,
    something_left,
)
from connector.privacy.requests import DataRequestStore, StoredDataRequest
from connector.privacy.retention import BATCH, BODY_DELETED, PAUSE
from connector.signals.click_memory import erase_clicks, erase_recalled, identities_of, remove_from_queue
from connector.storage.database import Database
from connector.storage.lease import Lease
from connector.storage.periodic import run_periodically
from connector.storage.tables import (
    accuracy,
    browser_copies,
    clicks,
    events,
    funnel_events,
    ledger,
    notices,
    orders,
    parked,
    signals,
    snippet_reports,
    sold,
)

log = logging.getLogger(__name__)

EVERY = 10.0  # seconds between searches for new requests
LEASE_SECONDS = 600.0
FINISHED = ("accepted", "rejected", "expired")
NOT_SENT = "erased on request before it was sent"
PERHAPS_SENT = "erased on request; an earlier attempt may have reached TikTok"


class Erasure:
    """Erases in small transactions, so that webhooks do not wait for the write lock for long."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def erase(self, store: str, found: PersonalData, now: float) -> None:
        """Erase these rows of a store."""
        for ids in in_chunks([*found.waiting, *found.finished]):
            self._erase_events(ids, now)
        for ids in in_chunks([*found.parked, *found.unopenable]):
            self._delete_parked(ids)
        for tokens in in_chunks(found.checkouts):
            self._delete_signals(signals.c.store == store, signals.c.token.in_(tokens), ~is_consent_denial())
        for ids in in_chunks(found.clicks):
            with self._database.write() as connection:
                erase_clicks(connection, ids)
        for ids in in_chunks(found.recalled):
            with self._database.write() as connection:
                erase_recalled(connection, ids)

    def erase_store(self, store: str, until: float, now: float, rest: Callable[[], object]) -> dict[str, int]:
        """Erase all data received from a store until then; return the number of rows by type.

        Calls `rest` between batches.
        """
        stored_events, bodies, lines, remembered = _store_rows(store, until).values()
        self._delete_signals(signals.c.store == store, signals.c.seen_at <= until)
        self._delete_what_names_orders(store)
        return {
            "events": self._in_batches(stored_events, events.c.id, lambda ids: self._erase_events(ids, now), rest),
            "parked webhooks": self._in_batches(bodies, parked.c.id, self._delete_parked, rest),
            "ledger lines": self._in_batches(lines, ledger.c.id, self._delete_lines, rest),
            "browsers' events": self._in_batches(
                _browser_rows(store, until), funnel_events.c.id, self._delete_browser_rows, rest
            ),
            "remembered clicks": self._in_batches(remembered, clicks.c.id, self._delete_clicks, rest),
        }

    def count_store(self, store: str, until: float) -> dict[str, int]:
        """Return the number of rows by type that `erase_store` would erase. Reads all rows of the store."""
        checkouts = sa.select(signals.c.token).where(signals.c.store == store, signals.c.seen_at <= until)
        queries = _store_rows(store, until) | {"checkouts with browser signals": checkouts}
        queries |= {"browsers' events": _browser_rows(store, until)}
        with self._database.read() as connection:
            return {
                what: int(connection.execute(sa.select(sa.func.count()).select_from(query.subquery())).scalar() or 0)
                for what, query in queries.items()
            }

    def _in_batches(
        self,
        query: sa.Select[Any],
        id_: sa.Column[int],
        erase: Callable[[Sequence[int]], None],
        rest: Callable[[], object],
    ) -> int:
        """Erase the rows of a query in batches, in the order of their ids; return their number."""
        last, number = 0, 0
        while True:
            with self._database.read() as connection:
                ids = connection.execute(query.where(id_ > last).order_by(id_).limit(BATCH)).scalars().all()
            if not ids:
                return number
            erase(ids)
            rest()
            last, number = ids[-1], number + len(ids)

    def _erase_events(self, ids: Sequence[int], now: float) -> None:
        ended = events.c.state.in_(FINISHED)
        why = sa.case((events.c.sent_at.is_(None), NOT_SENT), else_=PERHAPS_SENT)
        values = dict.fromkeys(PERSONAL) | {
            "state": sa.case((ended, events.c.state), else_="expired"),
            "message": sa.case((ended, events.c.message), else_=why),
            "settled_at": sa.func.coalesce(events.c.settled_at, now),
            "clicked_at": sa.case((events.c.clicked_at.is_not(None), 0.0)),
            # A relay that holds the lease then settles nothing.
            "lease_owner": None,
        }
        with self._database.write() as connection:
            # In a fixed order, so that two erasures cannot deadlock.
            rows = connection.execute(
                sa.select(events).where(events.c.id.in_(ids)).order_by(events.c.id).with_for_update()
            ).all()
            if remembered := [row for row in rows if row.clicked_at]:
                people = {identity for row in remembered for identity in identities_of(row._mapping)}
                remove_from_queue(connection, people, {row.pixel for row in remembered})
            connection.execute(sa.update(events).where(events.c.id.in_(ids)).values(values))
            forget_identities(connection, ids)

    def _delete_signals(self, *which: sa.ColumnElement[bool]) -> None:
        with self._database.write() as connection:
            connection.execute(sa.delete(signals).where(*which))

    def _delete_what_names_orders(self, store: str) -> None:
        """Delete a store's books, waiting notices and what pages reported. They hold nothing of a person."""
        with self._database.write() as connection:
            for table in (sold, orders, accuracy, notices, snippet_reports, browser_copies):
                connection.execute(sa.delete(table).where(table.c.store == store))

    def _delete_parked(self, ids: Sequence[int]) -> None:
        body = sa.select(parked.c.id).where(
            parked.c.id.in_(ids), *(ledger.c[name] == parked.c[name] for name in ("store", "topic", "body_sha256"))
        )
        with self._database.write() as connection:
            line = (body.exists(), ledger.c.outcome == "parked", ledger.c.reason.not_like(f"%{BODY_DELETED}"))
            connection.execute(sa.update(ledger).where(*line).values(reason=ledger.c.reason + BODY_DELETED))
            connection.execute(sa.delete(parked).where(parked.c.id.in_(ids)))

    def _delete_lines(self, ids: Sequence[int]) -> None:
        with self._database.write() as connection:
            connection.execute(sa.delete(ledger).where(ledger.c.id.in_(ids)))

    def _delete_browser_rows(self, ids: Sequence[int]) -> None:
        with self._database.write() as connection:
            connection.execute(sa.delete(funnel_events).where(funnel_events.c.id.in_(ids)))

    def _delete_clicks(self, ids: Sequence[int]) -> None:
        with self._database.write() as connection:
            connection.execute(sa.delete(clicks).where(clicks.c.id.in_(ids)))


def _store_rows(store: str, until: float) -> dict[str, sa.Select[Any]]:
    """Select the ids of a store's rows until then that contain personal data or name an order."""
    return {
        "events": sa.select(events.c.id).where(events.c.store == store, events.c.created_at <= until, something_left()),
        "parked webhooks": sa.select(parked.c.id).where(parked.c.store == store, parked.c.parked_at <= until),
        "ledger lines": sa.select(ledger.c.id).where(
            ledger.c.store == store,
            ledger.c.received_at <= until,
            # Requests of privacy law are recorded without an object, and stay to be accounted for.
            sa.or_(ledger.c.outcome != "recorded", ledger.c.object_key != ""),
        ),
        "remembered clicks": sa.select(clicks.c.id).where(clicks.c.store == store, clicks.c.given_at <= until),
    }


def _browser_rows(store: str, until: float) -> sa.Select[Any]:
    """Select what browsers reported; it names no order, and is kept for a day at most."""
    return sa.select(funnel_events.c.id).where(funnel_events.c.store == store, funnel_events.c.created_at <= until)


class ErasureJob:
    """Carries out the erasures that shops request, while the relay runs. `clock` returns Unix seconds."""

    def __init__(
        self,
        records: PersonalDataLookup,
        erasure: Erasure,
        requests: DataRequestStore,
        lease: Lease,
        owner: str,
        clock: Callable[[], float],
    ) -> None:
        self._records = records
        self._erasure = erasure
        self._requests = requests
        self._lease = lease
        self._owner = owner
        self._clock = clock

    def run(self, stop: Event, first: float = 2.0) -> None:
        """Run until `stop` is set; the first round begins after `first` seconds."""
        work, release = partial(self.round, stop), partial(self._lease.release, self._owner)
        run_periodically(work, stop, name="erasing", interval=EVERY, first=first, release=release)

    def round(self, stop: Event) -> int:
        """Carry out every open erasure; return their number. Does nothing while another process holds the lease."""
        done = 0
        for request in self._requests.waiting():
            if request.what == "export":  # the operator answers it
                continue
            if stop.is_set() or not self._lease.take(self._owner, self._clock()):
                break
            erased = self._carry_out(request, partial(self._rest, stop))
            self._requests.finish(request.id, self._clock())
            counts = ", ".join(f"{what}: {number}" for what, number in erased.items() if number) or "no data was stored"
            log.info("data request %s is done (%s)", request.id, counts, extra={"store": request.store})
            done += 1
            stop.wait(PAUSE)
        return done

    def _rest(self, stop: Event) -> None:
        """Pause, so that webhooks get the write lock, and renew the lease."""
        stop.wait(PAUSE)
        self._lease.take(self._owner, self._clock())

    def _carry_out(self, request: StoredDataRequest, rest: Callable[[], object]) -> dict[str, int]:
        if request.what == "erase_store":
            return self._erasure.erase_store(request.store, request.asked_at, self._clock(), rest)
        found = self._records.find(request.store, request.person or DataSubject())
        self._erasure.erase(request.store, found, self._clock())
        return {
            "waiting events": len(found.waiting),
            "finished events": len(found.finished),
            "parked webhooks": len(found.parked) + len(found.unopenable),
            "remembered clicks": len(found.clicks),
            "events waiting with a remembered click": len(found.recalled),
        }


def erasure_job(
    database: Database, configured: Mapping[str, Store], owner: str, clock: Callable[[], float] = time.time
) -> ErasureJob:
    """Create the job over a database; parked webhooks can be decrypted only for the `configured` stores."""
    lease = Lease(database, "erasing", LEASE_SECONDS)
    lookup = PersonalDataLookup(database, configured)
    return ErasureJob(lookup, Erasure(database), DataRequestStore(database), lease, owner, clock)
