"""Fetching of what thin webhooks name: the order in its present state, which then goes the way of a webhook.

Intake stores notices (`connector.outbox.notices`); this job, in the relay's process, asks the shop's API for each and
hands the answer to `Intake.handle`: the same rules, ledger and deduplication. It is not part of the relay, because it
waits for shops and not for TikTok, nor of reconciliation, because an order should arrive in seconds; what cannot be
fetched in a day is left to reconciliation.

A notice is leased to one worker at a time, so several processes can fetch. A shop that does not answer is asked by one
worker after growing pauses, and delays no other shop. Times are Unix seconds.
"""

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import count
from threading import Event, Lock, Thread

from connector.core.platform import Platform
from connector.core.shop_api import NoticeApi, ShopApi, ShopApiError, ShopApiModule
from connector.core.store import Store
from connector.core.units import DAY, HOUR
from connector.core.webhook import Notice, NotJson, Webhook
from connector.intake.examine import internal_error
from connector.intake.intake import Intake
from connector.monitoring import event_stats
from connector.outbox.ledger import Decision
from connector.outbox.notices import LeasedNotice, NoticeTable
from connector.outbox.outbox import Outbox
from connector.storage.database import CannotStore, Database
from connector.storage.periodic import run_periodically

log = logging.getLogger(__name__)

LOOK_EVERY = 1.0  # seconds between searches for due notices
AT_ONCE = 3  # requests to one shop at a time by a process
LEASE_SECONDS = 180.0  # longer than a shop's client tries
LONGEST_PAUSE = 10.0  # seconds that a worker waits within one attempt; a longer wait is a pause for the whole shop
FIRST_RETRY, LAST_RETRY = 5.0, 600.0  # seconds; each pause is twice the one before
GIVE_UP = DAY
END_GRACE = 3.0  # seconds that the workers have to end with the process
OF_ONE = ("refused",)  # errors that concern one notice; after the others no notice of the shop is tried for a while
GONE = "the shop no longer has it, so there is nothing to send"


class Stopped(Exception):
    """The process is stopping; another one fetches the notice."""


class Busy(ShopApiError):
    """The shop asks for a longer wait, of `seconds`, than a worker waits."""

    def __init__(self, seconds: float) -> None:
        super().__init__("throttled", "the shop's API does not answer, or is too busy")
        self.seconds = seconds


class NoticeFetcher:
    """Fetches the notices of `stores`, all of platforms with `notice_topics`. `owner` names this process."""

    def __init__(
        self,
        stores: Mapping[str, Store],
        shop_apis: Mapping[str, ShopApiModule],
        intake: Intake,
        database: Database,
        owner: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stores = stores
        self._shop_apis = shop_apis
        self._intake = intake
        self._database = database
        self._outbox = Outbox(database)
        self._notices = NoticeTable(database)
        self._owner = owner
        self._clock = clock
        self._numbers = count(1)
        self._stop = Event()
        self._lock = Lock()
        self._workers: dict[str, list[Thread]] = {name: [] for name in stores}
        self._failures: Counter[str] = Counter()  # in a row, by store
        self._resume_at: dict[str, float] = {}  # by store: no attempt before

    def run(self, stop: Event) -> None:
        """Fetch until `stop` is set; end at once if no store's webhooks are thin."""
        self._stop = stop
        if self._stores:
            run_periodically(
                self._begin_due, stop, name="fetching", interval=LOOK_EVERY, first=0.0, release=self._end_workers
            )

    def _begin_due(self) -> None:
        for store in self._stores.values():
            with self._lock:
                running = self._workers[store.name] = [one for one in self._workers[store.name] if one.is_alive()]
            if missing := self._missing_workers(store, len(running)):
                threads = [Thread(target=self._work, args=(store,), daemon=True) for _ in range(missing)]
                self._workers[store.name] += threads
                for thread in threads:
                    thread.start()

    def _missing_workers(self, store: Store, running: int) -> int:
        """Return the number of workers to start: one for a shop that did not answer, else one for each due notice."""
        now = self._clock()
        if self._resume_at.get(store.name, 0.0) > now:
            return 0
        allowed = 1 if self._failures[store.name] else AT_ONCE
        return min(allowed - running, self._notices.due(store.name, now, AT_ONCE)) if running < allowed else 0

    def _work(self, store: Store) -> None:
        try:
            self.fetch_due(store)
        except CannotStore as error:
            log.warning("fetching waits, the database does not answer: %s", error, extra={"store": store.name})
        except Exception:
            log.exception("fetching failed", extra={"store": store.name})

    def _end_workers(self) -> None:
        """Give the workers END_GRACE seconds to give their leases back; those of others expire."""
        deadline = time.monotonic() + END_GRACE
        for thread in [thread for threads in self._workers.values() for thread in threads]:
            thread.join(max(deadline - time.monotonic(), 0.0))

    # --- one worker -----------------------------------------------------------------------------------------

    def fetch_due(self, store: Store) -> int:
        """Fetch a store's due notices until none is left or the shop does not answer; return their number.

        Raises CannotStore.
        """
        owner, number = f"{self._owner}/{next(self._numbers)}", 0
        shop_api: ShopApi | None = None
        while not self._stop.is_set() and self._resume_at.get(store.name, 0.0) <= self._clock():
            notice = self._notices.claim(store.name, owner, self._clock(), LEASE_SECONDS)
            if notice is None:
                break
            try:
                shop_api = shop_api or self._shop_apis[store.platform].connect(store, pause=self._pause)
                outcome = self._fetch(notice, store, shop_api)
            except Stopped:
                self._notices.release(notice, owner)
                break
            except ShopApiError as error:
                self._fail(notice, owner, error)
                continue
            except CannotStore:
                raise
            except Exception as error:
                self._fail(notice, owner, ShopApiError("broken", internal_error(error)))
                continue
            self._failures.pop(store.name, None)
            number += 1
            if self._notices.finish(notice, owner):
                self._count(notice, outcome)
        self._intake.counters.flush()
        return number

    def _fetch(self, notice: LeasedNotice, store: Store, shop_api: ShopApi) -> str:
        """Fetch what a notice names and handle it like a webhook; return the outcome. Raises ShopApiError, Stopped."""
        if not isinstance(shop_api, NoticeApi):
            raise ShopApiError("broken", f"platform {store.platform} has notice_topics, but its API has no fetch()")
        kind, _, ident = notice.object_key.partition(":")
        page = shop_api.fetch(Notice(kind, ident))  # type: ignore[arg-type] # the kinds of Notice.object_key
        if not page.bodies:
            self._note_end(notice, GONE)
            return "gone"
        noted_at = datetime.fromtimestamp(notice.noted_at, UTC)
        for body in page.bodies:
            webhook = Webhook(page.topic, body, noted_at, delivery=notice.delivery, triggered_at=noted_at)
            try:
                outcome = self._intake.handle(webhook, store)
            except NotJson as error:
                raise ShopApiError("broken", f"what the shop's API answers is wrong: {error}") from None
        return outcome

    def _pause(self, seconds: float) -> None:
        """Wait as long as the shop demands. Raises Busy if that is long, Stopped if the process stops meanwhile."""
        if seconds > LONGEST_PAUSE:
            raise Busy(seconds)
        if self._stop.wait(seconds):
            raise Stopped

    def _fail(self, notice: LeasedNotice, owner: str, error: ShopApiError) -> None:
        """Postpone a notice, and all of its store if the error is not of this notice alone; give up after a day."""
        now = self._clock()
        if error.kind in OF_ONE:
            pause = _pause_after(notice.attempts)
        else:
            pause = max(_pause_after(self._failures[notice.store]), getattr(error, "seconds", 0.0))
            self._failures[notice.store] += 1
            self._resume_at[notice.store] = now + pause
        extra = {"store": notice.store, "object": notice.object_key}
        if now - notice.since < GIVE_UP:
            log.warning("not fetched, the next attempt is in %.0f s: %s", pause, error, extra=extra)
            self._notices.postpone(notice, owner, now + pause, str(error))
        elif self._notices.finish(notice, owner):
            log.error("not fetched within a day: %s", error, extra=extra)
            self._note_end(
                notice, f"not fetched within a day, so it is left to reconcile or `connector backfill`: {error}"
            )
            self._count(notice, "given_up")

    def _note_end(self, notice: LeasedNotice, reason: str) -> None:
        """Write a ledger line, for what was noted has no body."""
        named = f"notice {notice.store} {notice.object_key} {notice.noted_at}"
        self._outbox.record(
            Decision(
                store=notice.store,
                topic=notice.topic,
                body_sha256=hashlib.sha256(named.encode()).digest(),
                received_at=self._clock(),
                delivery=notice.delivery,
                object_key=notice.object_key,
                outcome="recorded",
                reason=reason[:1000],
            )
        )

    def _count(self, notice: LeasedNotice, outcome: str) -> None:
        kind = notice.object_key.partition(":")[0]
        with self._database.write() as connection:
            hour = int(self._clock()) // HOUR * HOUR
            event_stats.add_counts(connection, hour, Counter({(notice.store, "", "fetched", kind, outcome): 1}))


def thin_stores(stores: Mapping[str, Store], platforms: Mapping[str, Platform]) -> dict[str, Store]:
    """Return the stores whose webhooks only name what changed. Raises BrokenPlatform."""
    return {name: store for name, store in stores.items() if platforms[store.platform].notice_topics}


def _pause_after(failures: int) -> float:
    return float(min(FIRST_RETRY * 2 ** min(failures, 10), LAST_RETRY))
