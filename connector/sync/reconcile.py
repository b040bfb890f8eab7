"""Reconciliation, beside the relay: every so often each store's recent history is compared with what came by webhook.

A round of a store looks after its webhooks (`guardian`), then walks what changed in its shop since the last round, an
hour of overlap included, through the same way as webhooks (`history`). What no webhook had brought is queued under the
same event_ids, and counted. The last five minutes are left to the webhooks: they may be on their way, and they know
more, such as when an order was paid.

One process at a time visits a store, on whichever host, and at most four stores at once. Where a round ended is in the
database. A shop that does not answer costs nobody else anything: its round ends with a sentence, the next is tried when
it is due. Times are Unix seconds.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from threading import Event, Lock, Thread

from connector.core.platform import Platform
from connector.core.shop_api import ShopApi, ShopApiError, ShopApiModule
from connector.core.store import Store
from connector.core.text import how_many, utc_minute
from connector.intake.intake import history_before
from connector.monitoring.alerts import AlertStore, Problem
from connector.monitoring.problems import LAST_ORDERS, withheld
from connector.outbox.outbox import Outbox
from connector.outbox.queries import OutboxQueries
from connector.storage.database import CannotStore, Database
from connector.storage.lease import Lease
from connector.storage.periodic import run_periodically
from connector.sync.backfill import HistoryImport, Kind, KnownRecords, counted
from connector.sync.checkpoints import Checkpoint, Checkpoints
from connector.sync.registered_webhooks import RegisteredWebhooks
from connector.sync.repair import WebhookRepair

log = logging.getLogger("connector.sync.reconcile")

KINDS = frozenset({"shop", "webhooks", "gaps", "withheld"})  # of the problems that are reported here
TICK = 10.0  # seconds between looks at what is due
MAX_STORES = 4  # stores
LEASE_SECONDS = 900.0  # seconds; taken again with every page, which a slow shop and its pauses may take most of
UNDER_WAY = 300.0  # how long a webhook may take
OVERLAP = 3600.0  # between two rounds: shops' clocks differ from ours, and their databases are not read at once
FIRST = 86_400.0  # how far the first round looks back
PIECE = 6 * 3600.0  # after which it is noted how far a long walk has come
GAPS_END = 86_400.0  # without a gap, after which the problem is over
PASSING = ("unreachable", "throttled", "broken")  # faults that may be gone by the next round
HOPELESS = ("unreachable", "throttled", "keys")  # with these the shop need not be asked anything else


class Stopped(Exception):
    """The process ends: a walk goes on in the next one."""


class Reconciler:
    """Visits the stores that have a `reconcile`. `owner` names this process, `clock` gives Unix seconds."""

    def __init__(
        self,
        stores: Mapping[str, Store],
        platforms: Mapping[str, Platform],
        administrations: Mapping[str, ShopApiModule],
        database: Database,
        owner: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stores = {name: store for name, store in stores.items() if store.reconcile}
        self._platforms = platforms
        self._administrations = administrations
        self._database = database
        self._outbox = Outbox(database)
        self._owner = owner
        self._clock = clock
        self._queries = OutboxQueries(database)
        self._known = KnownRecords(database)
        self._checkpoints = Checkpoints(database)
        self._alerts = AlertStore(database, clock)
        self._repair = WebhookRepair(self._outbox, RegisteredWebhooks(database))
        self._withheld: dict[str, set[str]] = {}  # the last orders of a store, if none of them says who bought
        self._busy: set[str] = set()
        self._tidied = False
        self._lock = Lock()
        self._stop = Event()

    def run(self, stop: Event, first: float = 5.0) -> None:
        """Work until `stop` is set; the first round comes after `first` seconds. What is under way then is left."""
        self._stop = stop
        run_periodically(self._begin_due, stop, name="reconciliation", interval=TICK, first=first)

    def _begin_due(self) -> None:
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
        """The stores whose time has come, whoever may visit them."""
        now = self._clock()
        return [store for store in self._stores.values() if _is_due(self._checkpoints.last(store.name), store, now)]

    def _begin(self, store: Store) -> None:
        """Visit it in a thread of its own, which nobody waits for: a shop may be silent for minutes."""
        with self._lock:
            if store.name in self._busy or len(self._busy) >= MAX_STORES:
                return
            self._busy.add(store.name)
        Thread(target=self._run, args=(store,), name=f"reconcile-{store.name}", daemon=True).start()

    def _run(self, store: Store) -> None:
        try:
            self.visit(store)
        except CannotStore as error:
            log.warning("a round waits, the database does not answer: %s", error, extra={"store": store.name})
        except Exception:
            log.exception("a round failed", extra={"store": store.name})
        finally:
            with self._lock:
                self._busy.discard(store.name)

    # --- one round of one store -----------------------------------------------------------------------------

    def visit(self, store: Store) -> bool:
        """Do a round if it is due and no other process holds the lease; return whether. Raises CannotStore."""
        lease = Lease(self._database, f"reconcile:{store.name}", LEASE_SECONDS)
        if not lease.take(self._owner, self._clock()):
            return False
        try:
            now = self._clock()
            if not _is_due(self._checkpoints.last(store.name), store, now):  # another process was here meanwhile
                return False
            self._round(store, self._checkpoints.begin(store.name, now, FIRST), lease)
        except Stopped:
            log.info("a round is left where it was, the next process goes on", extra={"store": store.name})
        finally:
            lease.release(self._owner)
        return True

    def _round(self, store: Store, begun: Checkpoint, lease: Lease) -> None:
        now = begun.tried_at
        started = self._outbox.start_stores([store.name], now)[store.name]
        go_live = store.go_live or history_before(started)
        until = now - UNDER_WAY
        # Never further back than anything is still sent; a clock that jumped may have put the mark ahead.
        oldest = max(go_live.timestamp(), now - store.max_event_age.total_seconds())
        since = min(max(min(begun.upto, until) - OVERLAP, oldest), until)
        history = HistoryImport(
            store, self._platforms[store.platform], self._outbox, self._known, "reconcile", go_live, clock=self._time
        )
        history.tally.withheld = self._withheld.setdefault(store.name, set())
        try:
            fault = self._ask(store, history, since, until, lease)
        finally:
            self._tell_of_gaps(store, history.tally.queued, now)
        self._tell_of_withheld(store, history)
        if fault:
            self._tell_of_fault(store, fault)
        else:
            self._alerts.resolve(f"shop:{store.name}")

    def _ask(
        self, store: Store, history: HistoryImport, since: float, until: float, lease: Lease
    ) -> ShopApiError | None:
        """Webhooks, sign-ups, orders; the first fault. What is closed to our keys does not keep us from the others."""
        first: ShopApiError | None = None
        try:
            shop_api = self._administrations[store.platform].connect(store, pause=self._pause)
        except ShopApiError as fault:
            return fault
        parts: tuple[Callable[[], None], ...] = (
            partial(self._look_after, store, shop_api),
            partial(self._walk_customers, history, shop_api, since, until, lease),
            partial(self._walk_orders, store, history, shop_api, since, until, lease),
        )
        for part in parts:
            try:
                part()
            except ShopApiError as fault:
                first = first or fault
                if fault.kind in HOPELESS:
                    break
        return first

    def _look_after(self, store: Store, shop_api: ShopApi) -> None:
        if wrong := self._repair.look(store, self._administrations[store.platform], shop_api, self._clock()):
            self._alerts.report(f"webhooks:{store.name}", wrong)
        else:
            self._alerts.resolve(f"webhooks:{store.name}")

    def _walk_customers(
        self, history: HistoryImport, shop_api: ShopApi, since: float, until: float, lease: Lease
    ) -> None:
        for _ in history.customers(shop_api, _moment(since), _moment(until)):
            self._go_on(lease)

    def _walk_orders(
        self, store: Store, history: HistoryImport, shop_api: ShopApi, since: float, until: float, lease: Lease
    ) -> None:
        """The oldest first, noting now and then how far it is."""
        while since < until:
            end = min(since + PIECE, until)
            for _ in history.orders(shop_api, _moment(since), _moment(end)):
                self._go_on(lease)
            self._checkpoints.reach(store.name, end)
            since = end

    def _time(self) -> datetime:
        return _moment(self._clock())

    def _go_on(self, lease: Lease) -> None:
        if self._stop.is_set() or not lease.take(self._owner, self._clock()):
            raise Stopped

    def _pause(self, seconds: float) -> None:
        """What the shop asks us to wait; the end of the process is not kept waiting."""
        if self._stop.wait(seconds):
            raise Stopped

    # --- what is told ---------------------------------------------------------------------------------------

    def _tell_of_gaps(self, store: Store, queued: Counter[Kind], now: float) -> None:
        if number := queued.total():
            self._checkpoints.count_gaps(store.name, number, now)
            log.warning("%s had not arrived by webhook", counted(queued), extra={"store": store.name})
        found = self._checkpoints.last(store.name)
        if not found or found.gap_at is None or found.gaps_since is None:
            return
        if not number and now - found.gap_at >= GAPS_END:
            self._checkpoints.forget_gaps(store.name)
            self._alerts.resolve(f"gaps:{store.name}")
            return
        together = how_many(found.gaps, "order or sign-up", "orders or sign-ups")
        total = counted(queued) if found.gaps == number else together
        self._alerts.report(
            f"gaps:{store.name}",
            f"store {store.name}: {total} had not arrived by webhook, and came from the shop's history instead "
            f"(since {utc_minute(found.gaps_since)}); `connector webhooks list {store.name}` shows whether webhooks "
            "are missing",
        )

    def _tell_of_withheld(self, store: Store, history: HistoryImport) -> None:
        problem = withheld(store)
        if len(history.tally.withheld) >= LAST_ORDERS:
            self._alerts.note([problem], ())
        else:
            self._alerts.resolve(problem.key)

    def _tell_of_fault(self, store: Store, fault: ShopApiError) -> None:
        log.warning("a round failed: %s", fault, extra={"store": store.name})
        interval = store.reconcile.total_seconds() if store.reconcile else 0.0
        # One failed round is no problem yet, if the next may do its work.
        after = interval / 2 if fault.kind in PASSING else 0.0
        sentence = f"store {store.name}: missed orders cannot be fetched, it is tried again and again: {fault}"
        self._alerts.note([Problem(f"shop:{store.name}", sentence, after)], ())


def _is_due(last: Checkpoint | None, store: Store, now: float) -> bool:
    """A round that lies ahead was begun by a clock that jumped."""
    return store.reconcile is not None and (
        last is None or not 0 <= now - last.tried_at < store.reconcile.total_seconds()
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
