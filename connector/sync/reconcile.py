"""Reconciliation: at regular intervals, imports orders and registrations whose webhooks did not arrive.

A round of a store repairs its webhooks (`repair`), then imports what changed in the shop since the last round, with an
hour of overlap (`backfill`). Events that are missing are queued under the event_ids that their webhooks would have had,
and counted as gaps. The last five minutes are left out: their webhooks may still arrive, and contain more, such as the
time of payment.

A store is reconciled by one process at a time, and a process reconciles at most four stores at once. The progress is in
the database. A process that ends gives its leases back, and the lease of one that was killed expires within a minute;
the next process then repeats the interrupted round at once. A shop that does not respond does not delay the others: its
round ends with an error, and the next one begins when it is due. Times are Unix seconds.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from threading import Event, Lock, Thread

from connector.core.platform import Platform
from connector.core.shop_api import ShopApi, ShopApiError, ShopApiModule
from connector.core.store import Store
from connector.core.text import how_many, utc_minute
from connector.intake.intake import history_ends
from connector.monitoring.accuracy import Accuracy
from connector.monitoring.alerts import AlertStore, Problem
from connector.monitoring.problems import LAST_ORDERS, withheld
from connector.outbox.outbox import Outbox
from connector.outbox.queries import OutboxQueries
from connector.storage.database import CannotStore, Database
from connector.storage.lease import Lease
from connector.storage.periodic import run_periodically
from connector.sync.backfill import HistoryImport, Kind, KnownRecords, describe_counts
from connector.sync.checkpoints import Checkpoint, Checkpoints
from connector.sync.registered_webhooks import RegisteredWebhooks
from connector.sync.repair import WebhookRepair

log = logging.getLogger("connector.sync.reconcile")

KINDS = frozenset({"shop", "webhooks", "gaps", "withheld"})  # of the problems reported here
TICK = 10.0  # seconds between searches for due stores
MAX_STORES = 4  # reconciled at once by a process
LEASE_SECONDS = 60.0  # renewed after every page and with every tick, because a slow shop can take minutes for a page
STALLED = 900.0  # seconds without a page after which the lease is no longer renewed
END_GRACE = 3.0  # seconds that the rounds have to end with the process; less than `server.relay_process.JOB_GRACE`
UNDER_WAY = 300.0  # seconds that a webhook can take to arrive
OVERLAP = 3600.0  # seconds between two rounds: clocks differ, and a shop's pages are not read at one moment
FIRST = 86_400.0  # seconds that the first round goes back
PIECE = 6 * 3600.0  # seconds of history after which the progress is stored
GAPS_END = 86_400.0  # seconds without a gap after which the problem is over
TRANSIENT = ("unreachable", "throttled", "broken")  # errors that can be gone by the next round
FATAL = ("unreachable", "throttled", "keys")  # errors after which a round makes no more requests


class Stopped(Exception):
    """The process is stopping or has lost the lease; another process continues the round."""


@dataclass(frozen=True, slots=True)
class _Round:
    """A round of a store in progress: nothing from before `oldest` or after `until` (Unix seconds) is read."""

    store: Store
    lease: Lease
    begun: Checkpoint
    oldest: float
    until: float
    history: HistoryImport

    def since(self, upto: float) -> float:
        """Return where to begin if all before `upto` is reconciled; that is in the future if a clock had jumped."""
        return min(max(min(upto, self.until) - OVERLAP, self.oldest), self.until)


class Reconciler:
    """Reconciles the stores with a `reconcile` setting. `owner` names this process; `clock` returns Unix seconds."""

    def __init__(
        self,
        stores: Mapping[str, Store],
        platforms: Mapping[str, Platform],
        shop_apis: Mapping[str, ShopApiModule],
        database: Database,
        owner: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stores = {name: store for name, store in stores.items() if store.reconcile}
        self._platforms = platforms
        self._shop_apis = shop_apis
        self._database = database
        self._outbox = Outbox(database)
        self._owner = owner
        self._clock = clock
        self._queries = OutboxQueries(database)
        self._known = KnownRecords(database)
        self._checkpoints = Checkpoints(database)
        self._alerts = AlertStore(database, clock)
        self._accuracy = Accuracy(database)
        self._repair = WebhookRepair(self._outbox, RegisteredWebhooks(database))
        self._withheld: dict[str, set[str]] = {}  # a store's latest orders without personal data
        self._busy: dict[str, Thread] = {}
        self._held: dict[str, tuple[Lease, float]] = {}  # by store: the lease of a round, and the time of its last page
        self._tidied = False
        self._lock = Lock()
        self._stop = Event()

    def run(self, stop: Event, first: float = 5.0) -> None:
        """Run until `stop` is set; then give rounds in progress END_GRACE seconds, and their leases back.

        The first round begins after `first` seconds.
        """
        self._stop = stop
        run_periodically(
            self._begin_due, stop, name="reconciliation", interval=TICK, first=first, release=self._end_rounds
        )

    def _begin_due(self) -> None:
        self._renew_leases()
        if not self._tidied:
            self.tidy()
            self._tidied = True
        for store in self.due():
            self._begin(store)

    def tidy(self) -> None:
        """Resolve the problems of stores that are no longer reconciled."""
        for problem in self._queries.open_problems():
            kind, _, store = problem.key.partition(":")
            if kind in KINDS and store not in self._stores:
                self._alerts.resolve(problem.key)

    def due(self) -> list[Store]:
        """Return the stores that are due for a round, by any process."""
        now = self._clock()
        return [store for store in self._stores.values() if _is_due(self._checkpoints.last(store.name), store, now)]

    def _begin(self, store: Store) -> None:
        """Start a round in a daemon thread: a shop can take minutes to respond."""
        with self._lock:
            if store.name in self._busy or len(self._busy) >= MAX_STORES:
                return
            thread = Thread(target=self._run, args=(store,), name=f"reconcile-{store.name}", daemon=True)
            self._busy[store.name] = thread
        thread.start()

    def _run(self, store: Store) -> None:
        try:
            self.visit(store)
        except CannotStore as error:
            log.warning(
                "the round will be retried: the database is not available: %s", error, extra={"store": store.name}
            )
        except Exception:
            log.exception("internal error in a round", extra={"store": store.name})
        finally:
            with self._lock:
                self._busy.pop(store.name, None)

    # --- leases of the rounds in progress -------------------------------------------------------------------

    def _renew_leases(self) -> None:
        """Renew the leases of rounds in progress, unless their shop has not sent a page for STALLED seconds."""
        now = self._clock()
        with self._lock:  # so that no lease is renewed that its round has just released
            for lease, seen_at in self._held.values():
                if now - seen_at <= STALLED:
                    lease.take(self._owner, now)

    def _end_rounds(self) -> None:
        """Wait for the rounds in progress, END_GRACE seconds at most, and release the leases of the others.

        A round whose shop does not answer ends with the process; it writes nothing more, as `_renew` raises Stopped.
        """
        deadline = time.monotonic() + END_GRACE
        with self._lock:
            threads = list(self._busy.values())
        for thread in threads:
            thread.join(max(deadline - time.monotonic(), 0.0))
        with self._lock:
            for store, (lease, _) in self._held.items():
                lease.release(self._owner)
                log.info("the round was interrupted; the next process repeats it", extra={"store": store})
            self._held.clear()

    # --- one round of one store -----------------------------------------------------------------------------

    def visit(self, store: Store) -> bool:
        """Do a round if it is due and no other process holds the lease; return whether it was done.

        Raises CannotStore.
        """
        lease = Lease(self._database, f"reconcile:{store.name}", LEASE_SECONDS)
        if not lease.take(self._owner, self._clock()):
            return False
        now = self._clock()
        with self._lock:  # others read it meanwhile
            self._held[store.name] = lease, now
        try:
            if not _is_due(self._checkpoints.last(store.name), store, now):  # done by another process
                return False
            self._round(store, self._checkpoints.begin(store.name, now, FIRST), lease)
        except Stopped:
            log.info("the round was interrupted; the next process continues it", extra={"store": store.name})
        except Exception:
            self._checkpoints.finish(store.name, self._clock())  # otherwise the shop would be asked again in seconds
            raise
        else:
            self._checkpoints.finish(store.name, self._clock())
        finally:
            with self._lock:
                self._held.pop(store.name, None)
                lease.release(self._owner)
        return True

    def _round(self, store: Store, begun: Checkpoint, lease: Lease) -> None:
        now = begun.tried_at
        started = self._outbox.start_stores([store.name], now)[store.name]
        go_live = store.go_live or history_ends(started)
        oldest = max(go_live.timestamp(), now - store.max_event_age.total_seconds())  # older events are not sent
        history = HistoryImport(
            store, self._platforms[store.platform], self._outbox, self._known, "reconcile", go_live, clock=self._time
        )
        this = _Round(store, lease, begun, oldest, now - UNDER_WAY, history)
        since = this.since(begun.upto)
        if begun.covered_since is None or since > begun.upto:
            self._checkpoints.cover(store.name, since)
        history.summary.withheld = self._withheld.setdefault(store.name, set())
        try:
            error = self._read(this)
        finally:
            self._report_gaps(store, history.summary.queued, now)
        self._accuracy.count(store.name, now)
        self._report_withheld(store, history)
        if error:
            self._report_error(store, error)
        else:
            self._alerts.resolve(f"shop:{store.name}")

    def _read(self, this: _Round) -> ShopApiError | None:
        """Repair webhooks, then import registrations and orders; return the first error.

        A missing permission for one of these does not prevent the others.
        """
        store = this.store
        first: ShopApiError | None = None
        try:
            shop_api = self._shop_apis[store.platform].connect(store, pause=self._pause)
        except ShopApiError as error:
            return error
        parts: tuple[Callable[[], None], ...] = (
            partial(self._repair_webhooks, store, shop_api),
            partial(self._import_customers, this, shop_api),
            partial(self._import_orders, this, shop_api),
        )
        for part in parts:
            try:
                part()
            except ShopApiError as error:
                first = first or error
                if error.kind in FATAL:
                    break
        return first

    def _repair_webhooks(self, store: Store, shop_api: ShopApi) -> None:
        if sentence := self._repair.repair(store, self._shop_apis[store.platform], shop_api, self._clock()):
            self._alerts.report(f"webhooks:{store.name}", sentence)
        else:
            self._alerts.resolve(f"webhooks:{store.name}")

    def _import_customers(self, this: _Round, shop_api: ShopApi) -> None:
        """Import registrations; if they cannot be read, a later round begins where this one did, unlike its orders."""
        begun, name = this.begun, this.store.name
        upto = begun.upto if begun.customers_upto is None else begun.customers_upto
        try:
            for _ in this.history.customers(shop_api, _moment(this.since(upto)), _moment(this.until)):
                self._renew(this.store, this.lease)
        except ShopApiError:
            self._checkpoints.reach_customers(name, upto)
            raise
        if begun.customers_upto is not None:
            self._checkpoints.reach_customers(name, None)

    def _import_orders(self, this: _Round, shop_api: ShopApi) -> None:
        """Import orders, the oldest first, and store the progress after each piece."""
        since = this.since(this.begun.upto)
        while since < this.until:
            end = min(since + PIECE, this.until)
            for _ in this.history.orders(shop_api, _moment(since), _moment(end)):
                self._renew(this.store, this.lease)
            self._checkpoints.reach(this.store.name, end)
            since = end

    def _time(self) -> datetime:
        return _moment(self._clock())

    def _renew(self, store: Store, lease: Lease) -> None:
        """Renew the lease after a page. Raises Stopped if the process is stopping or the lease is lost."""
        now = self._clock()
        if self._stop.is_set() or not lease.take(self._owner, now):
            raise Stopped
        with self._lock:
            self._held[store.name] = lease, now

    def _pause(self, seconds: float) -> None:
        """Wait as long as the shop demands. Raises Stopped if the process stops meanwhile."""
        if self._stop.wait(seconds):
            raise Stopped

    # --- problems and logs ----------------------------------------------------------------------------------

    def _report_gaps(self, store: Store, queued: Counter[Kind], now: float) -> None:
        if number := queued.total():
            self._checkpoints.count_gaps(store.name, number, now)
            log.warning(
                "%s had not arrived by webhook; fetched from the shop's history",
                describe_counts(queued),
                extra={"store": store.name},
            )
        found = self._checkpoints.last(store.name)
        if not found or found.gap_at is None or found.gaps_since is None:
            return
        if not number and now - found.gap_at >= GAPS_END:
            self._checkpoints.forget_gaps(store.name)
            self._alerts.resolve(f"gaps:{store.name}")
            return
        all_gaps = how_many(found.gaps, "order or registration", "orders or registrations")
        total = describe_counts(queued) if found.gaps == number else all_gaps
        self._alerts.report(
            f"gaps:{store.name}",
            f"store {store.name}: {total} had not arrived by webhook; fetched from the shop's history instead "
            f"(since {utc_minute(found.gaps_since)}); `connector webhooks list {store.name}` shows whether webhooks "
            "are missing",
        )

    def _report_withheld(self, store: Store, history: HistoryImport) -> None:
        problem = withheld(store)
        if len(history.summary.withheld) >= LAST_ORDERS:
            self._alerts.note([problem], ())
        else:
            self._alerts.resolve(problem.key)

    def _report_error(self, store: Store, error: ShopApiError) -> None:
        log.warning("the round failed: %s", error, extra={"store": store.name})
        interval = store.reconcile.total_seconds() if store.reconcile else 0.0
        # After a transient error it is a problem only if the next round fails too.
        after = interval / 2 if error.kind in TRANSIENT else 0.0
        sentence = f"store {store.name}: cannot fetch missed orders from the shop, will retry: {error}"
        self._alerts.note([Problem(f"shop:{store.name}", sentence, after)], ())


def _is_due(last: Checkpoint | None, store: Store, now: float) -> bool:
    """Return whether a round is due. An interrupted one is, as soon as its lease is free.

    A last round in the future was started by a clock that had jumped.
    """
    return store.reconcile is not None and (
        last is None or last.interrupted or not 0 <= now - last.tried_at < store.reconcile.total_seconds()
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
