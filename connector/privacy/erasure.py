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
from connector.storage.database import CannotStore, Database
from connector.storage.lease import Lease
from connector.storage.periodic import run_periodically
from connector.storage.tables import (
    accuracy,
    browser_copies,
    clicks,
    demands,
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

    def erase(self, store: str, found: PersonalData, now: float, rest: Callable[[], object] = lambda: None) -> None:
        """Erase these rows of a store. Calls `rest` between batches."""
        for ids in in_chunks([*found.waiting, *found.finished]):
            self._erase_events(ids, now)
            rest()
        for ids in in_chunks([*found.parked, *found.unopenable]):
            self._delete_parked(ids)
            rest()
        for tokens in in_chunks(found.checkouts):
            self._delete_signals(signals.c.store == store, signals.c.token.in_(tokens), ~is_consent_denial())
            rest()
        for forget, rows in ((erase_clicks, found.clicks), (erase_recalled, found.recalled)):
            for ids in in_chunks(rows):
                with self._database.write() as connection:
                    forget(connection, ids)
                rest()

    def erase_store(self, store: str, until: float, now: float, rest: Callable[[], object]) -> dict[str, int]:
        """Erase all data received from a store until then; return the number of rows by type.

        Calls `rest` between batches.
        """
        erase = {
            events: lambda ids: self._erase_events(ids, now),
            parked: self._delete_parked,
            demands: lambda ids: self._end_exports(ids, now),
        }
        return {
            what: self._in_batches(table, which, erase[table], rest)
            if table in erase
            else self._delete(table, which, rest)
            for what, (table, which) in _store_rows(store, until).items()
        }

    def count_store(self, store: str, until: float) -> dict[str, int]:
        """Return the number of rows by type that `erase_store` would erase. Reads all rows of the store."""
        with self._database.read() as connection:
            return {
                what: int(connection.execute(sa.select(sa.func.count()).select_from(table).where(which)).scalar() or 0)
                for what, (table, which) in _store_rows(store, until).items()
            }

    def _in_batches(
        self,
        table: sa.Table,
        which: sa.ColumnElement[bool],
        erase: Callable[[Sequence[int]], None],
        rest: Callable[[], object],
    ) -> int:
        """Erase the rows of a table in batches, in the order of their ids; return their number."""
        last, number = 0, 0
        query = sa.select(table.c.id).where(which).order_by(table.c.id).limit(BATCH)
        while True:
            with self._database.read() as connection:
                ids = connection.execute(query.where(table.c.id > last)).scalars().all()
            if not ids:
                return number
            erase(ids)
            rest()
            last, number = ids[-1], number + len(ids)

    def _delete(self, table: sa.Table, which: sa.ColumnElement[bool], rest: Callable[[], object]) -> int:
        """Delete the rows of a table in batches; return their number."""
        batch = sa.delete(table).where(self._database.first_rows(table, which, limit=BATCH))
        number = 0
        while True:
            with self._database.write() as connection:
                deleted = connection.execute(batch).rowcount
            if not deleted:
                return number
            rest()
            number += deleted

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

    def _delete_parked(self, ids: Sequence[int]) -> None:
        body = sa.select(parked.c.id).where(
            parked.c.id.in_(ids), *(ledger.c[name] == parked.c[name] for name in ("store", "topic", "body_sha256"))
        )
        with self._database.write() as connection:
            line = (body.exists(), ledger.c.outcome == "parked", ledger.c.reason.not_like(f"%{BODY_DELETED}"))
            connection.execute(sa.update(ledger).where(*line).values(reason=ledger.c.reason + BODY_DELETED))
            connection.execute(sa.delete(parked).where(parked.c.id.in_(ids)))

    def _end_exports(self, ids: Sequence[int], now: float) -> None:
        """End requests for a copy of what is erased now."""
        with self._database.write() as connection:
            ended = sa.update(demands).where(demands.c.id.in_(ids), demands.c.done_at.is_(None))
            connection.execute(ended.values(done_at=now, person=None))


def _store_rows(store: str, until: float) -> dict[str, tuple[sa.Table, sa.ColumnElement[bool]]]:
    """Return which rows of a store until then contain personal data or name an order, by type.

    Books, notices and what pages reported hold nothing of a person, and go whatever their time is. What browsers
    reported of their steps (`funnel_events`) names no order, and is kept for a day at most.
    """
    of_store = {
        "checkouts with browser signals": (signals, signals.c.seen_at <= until),
        "sold events in the books": (sold, sa.true()),
        "orders in the books": (orders, sa.true()),
        "days in the books": (accuracy, sa.true()),
        "notices": (notices, sa.true()),
        "versions of snippets": (snippet_reports, sa.true()),
        "browsers' copies": (browser_copies, sa.true()),
        "events": (events, sa.and_(events.c.created_at <= until, something_left())),
        "parked webhooks": (parked, parked.c.parked_at <= until),
        # Requests of privacy law are recorded without an object, and stay to be accounted for.
        "ledger lines": (
            ledger,
            sa.and_(ledger.c.received_at <= until, sa.or_(ledger.c.outcome != "recorded", ledger.c.object_key != "")),
        ),
        "browsers' events": (funnel_events, funnel_events.c.created_at <= until),
        "remembered clicks": (clicks, clicks.c.given_at <= until),
        # A shopper's erasure is carried out all the same: it reaches other stores' events on the same pixel.
        "requests for a copy": (
            demands,
            sa.and_(demands.c.asked_at <= until, demands.c.what == "export", demands.c.done_at.is_(None)),
        ),
    }
    return {what: (table, sa.and_(table.c.store == store, which)) for what, (table, which) in of_store.items()}


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
        """Carry out every open erasure; return their number. Does nothing while another process holds the lease.

        One that fails is logged, keeps no other one waiting, and is tried again in the next round.
        """
        done = 0
        for request in self._requests.waiting():
            if request.what == "export":  # the operator answers it
                continue
            if stop.is_set() or not self._lease.take(self._owner, self._clock()):
                break
            try:
                self._finish(request, self._carry_out(request, partial(self._rest, stop)))
                done += 1
            except CannotStore as error:
                log.warning("data request %s waits, the database does not answer: %s", request.id, error)
            except Exception:
                log.exception("data request %s failed", request.id)
            stop.wait(PAUSE)
        return done

    def _finish(self, request: StoredDataRequest, erased: Mapping[str, int]) -> None:
        self._requests.finish(request.id, self._clock())
        counts = ", ".join(f"{what}: {number}" for what, number in erased.items() if number) or "no data was stored"
        log.info("data request %s is done (%s)", request.id, counts, extra={"store": request.store})

    def _rest(self, stop: Event) -> None:
        """Pause, so that webhooks get the write lock, and renew the lease."""
        stop.wait(PAUSE)
        self._lease.take(self._owner, self._clock())

    def _carry_out(self, request: StoredDataRequest, rest: Callable[[], object]) -> dict[str, int]:
        if request.what == "erase_store":
            return self._erasure.erase_store(request.store, request.asked_at, self._clock(), rest)
        found = self._records.find(request.store, request.person or DataSubject())
        self._erasure.erase(request.store, found, self._clock(), rest)
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
