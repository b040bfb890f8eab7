"""The relay leases due events, sends them in batches and settles them. Several relays can share a database.

A lane is one pixel of one store. Lanes are drained in parallel, so a suspended or slow lane does not delay the others.
A lane occupies one worker, or two while it has a backlog, so that one can send while the other writes. A lane whose
last response was slow gets a single worker, from a small pool that such lanes share, until a response is fast again.

Two clocks are used: times in the database are Unix time, which can jump; waits and the remaining lease are measured
with a monotonic clock.
"""

import logging
import os
import random
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from connector.core.rate_limit import RateLimiter
from connector.core.store import Pixel, Store
from connector.core.text import duration, duration_setting
from connector.core.units import SAFE_RESEND_WINDOW
from connector.monitoring.event_stats import SettlementStats
from connector.outbox.books import SoldEvents
from connector.outbox.lanes import Lane, LaneState, fingerprint
from connector.outbox.queue import MAX_AHEAD, EventQueue
from connector.outbox.settlement import LeasedEvent, Settlement, due_again, settled
from connector.relay.batches import split_into_batches
from connector.relay.events_api import LONGEST_REQUEST, ApiResult, EventsApi
from connector.relay.isolation import Batch, BatchResult, all_rejected_alike, isolate, rejection_text, without_numbers
from connector.storage.database import CannotStore

log = logging.getLogger(__name__)

CLAIM_LIMIT = 1000  # events leased at once; a lane has a backlog while its claims are full
LEASE = 120.0  # seconds; after this the events of a dead relay are due again
POLL = 0.2  # seconds between two looks for due events
HEARTBEAT = 10.0  # seconds between two heartbeats
WORKERS_AT_ONCE = 128  # threads are started as needed
WORKERS_PER_BACKLOG = 2  # for a lane with a backlog
SLOW_WORKERS_AT_ONCE = 16
SLOW = 3.0  # seconds; TikTok usually responds in less than one
TIME_SLICE = 30.0  # seconds after which a lane with a backlog returns its thread to the pool
RETRY_WINDOW = 24 * 3600.0  # seconds after the first attempt, or after the end of a later suspension
SAME_REJECTIONS = 10  # equal rejections, without an accepted event, after which the configuration is at fault
PAUSES = (5.0, 600.0)  # seconds: first and longest pause between attempts, and between probes of a suspended lane
LONGEST_REST = 30.0  # seconds that a lane rests after a failed request, unless Retry-After is longer
CLOCK_CHECK_INTERVAL = 60.0  # seconds between searches for due times written by a clock that had jumped


# A suspended lane is skipped until it is time to probe it with one event.
LaneMode = Literal["open", "probe", "suspended"]


@dataclass(slots=True)
class _Work:
    """The state of a lane while one worker drains it."""

    lane: Lane
    store: Store
    pixel: Pixel
    probing: bool  # the lane is suspended; one event is sent to test whether TikTok accepts events again
    resumed_at: float = float("-inf")  # end of the lane's last suspension, in Unix seconds
    new_token: bool = False  # the access token is not the one that was denied
    proven: bool = False  # TikTok has accepted an event, so the configuration is not at fault
    lease_ends: float = 0.0  # end of the current lease, by `elapsed`


class Relay:
    """Sends due events of the configured stores.

    `clock` returns Unix seconds, `elapsed` monotonic seconds; `rng` provides the jitter. `wait` waits for a number of
    seconds or until the event is set.
    """

    def __init__(
        self,
        stores: Mapping[str, Store],
        outbox: EventQueue,
        api: EventsApi,
        clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
        elapsed: Callable[[], float] = time.monotonic,
        wait: Callable[[threading.Event, float], object] = threading.Event.wait,
    ) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._outbox = outbox
        self._api = api
        self._clock = clock
        self._elapsed = elapsed
        self._wait = wait
        self._rate_limit = RateLimiter(elapsed)
        self._rng = rng or random.Random()  # noqa: S311 — jitter, not a secret
        self._lanes = {Lane(s.name, pixel.code): (s, pixel) for s in stores.values() for pixel in s.pixels}
        self._workers: Counter[Lane] = Counter()
        self._has_backlog = dict.fromkeys(self._lanes, False)  # by lane: its last claim was full
        self._is_slow = dict.fromkeys(self._lanes, False)  # by lane: its last response took longer than SLOW
        self._resting_until: dict[Lane, float] = {}  # by `elapsed`
        self._clock_checked_at = float("-inf")
        self._lock = threading.Lock()
        self._stop = threading.Event()

    @property
    def slow_lanes(self) -> frozenset[Lane]:
        """Return the lanes whose last response took longer than `SLOW` seconds."""
        return frozenset(lane for lane, is_slow in self._is_slow.items() if is_slow)

    def run(self, stop: threading.Event) -> None:
        """Run until `stop` is set; then finish and settle the requests in flight, and return."""
        self._stop = stop
        heartbeat_at, ready = float("-inf"), False
        with (
            ThreadPoolExecutor(WORKERS_AT_ONCE, thread_name_prefix="lane") as fast,
            ThreadPoolExecutor(SLOW_WORKERS_AT_ONCE, thread_name_prefix="slow-lane") as slow,
        ):
            while not stop.is_set():
                try:
                    if not ready:
                        self._outbox.add_lanes(self._lanes)
                        ready = True
                    if self._elapsed() - heartbeat_at >= HEARTBEAT:
                        self._outbox.heartbeat(self.name, self._clock())
                        heartbeat_at = self._elapsed()
                    for work in self._assign_workers():
                        (slow if self._is_slow[work.lane] else fast).submit(self._drain, work)
                except CannotStore as error:
                    log.error("the database is not available: %s", error)
                    stop.wait(1.0)
                stop.wait(POLL)
        try:
            self._outbox.leave(self.name)
        except CannotStore as error:
            log.warning("could not record the end of this relay: %s", error)

    def step(self) -> int:
        """Drain each lane with due events once, in this thread, unless suspended or resting; return events leased."""
        self._outbox.add_lanes(self._lanes)
        return sum(self._drain(work) for work in self._assign_workers())

    # --- which lanes ----------------------------------------------------------------------------------------

    def _assign_workers(self) -> Iterator[_Work]:
        """Reserve a worker for each lane with due events that can take another one; yield its work."""
        now = self._clock()
        if self._elapsed() - self._clock_checked_at >= CLOCK_CHECK_INTERVAL:
            self._clock_checked_at = self._elapsed()
            if number := self._outbox.correct_clock_jumps(now, now + MAX_AHEAD):
                log.warning("made %s events due now: a clock that jumped had set their due time too far ahead", number)
        for state in self._outbox.lanes_due(now):
            if state.lane not in self._lanes or (mode := self._mode(state, now)) == "suspended":
                continue
            with self._lock:
                takes_more = mode == "open" and self._has_backlog[state.lane] and not self._is_slow[state.lane]
                wanted = WORKERS_PER_BACKLOG if takes_more else 1
                if self._workers[state.lane] >= wanted or self._is_resting(state.lane):
                    continue
                self._workers[state.lane] += 1
            yield self._work(state, mode)

    def _is_resting(self, lane: Lane) -> bool:
        return self._resting_until.get(lane, 0) > self._elapsed()

    def _mode(self, state: LaneState, now: float) -> LaneMode:
        if state.suspended_until is None:
            return "open"
        # An end further ahead than a suspension can last was written by a clock that had jumped.
        waits = now < state.suspended_until <= now + MAX_AHEAD
        return "suspended" if waits and not self._has_new_token(state) else "probe"

    def _has_new_token(self, state: LaneState) -> bool:
        return state.suspended_token != fingerprint(self._lanes[state.lane][1].access_token)

    def _work(self, state: LaneState, mode: LaneMode) -> _Work:
        work = _Work(state.lane, *self._lanes[state.lane], probing=mode == "probe")
        work.new_token = work.probing and self._has_new_token(state)
        if state.resumed_at is not None:
            work.resumed_at = state.resumed_at
        return work

    def _drain(self, work: _Work) -> int:
        """Send the due events of a lane for at most one time slice; return the number of events leased."""
        taken = 0
        begun = self._elapsed()
        lane = work.lane
        try:
            while not self._stop.is_set() and not self._is_resting(lane) and self._elapsed() - begun < TIME_SLICE:
                work.lease_ends = self._elapsed() + LEASE
                number = 1 if work.probing else CLAIM_LIMIT
                in_backlog = self._has_backlog[lane]
                claimed = self._outbox.claim(lane, number, self.name, self._clock(), LEASE, in_backlog)
                taken += len(claimed)
                self._has_backlog[lane] = len(claimed) == CLAIM_LIMIT
                if claimed and work.new_token:
                    work.new_token = False
                    log.info("the access token has changed; trying the new one", extra=_log_fields(lane))
                if not claimed or not self._send_claim(work, claimed):
                    break
                if len(claimed) < number:
                    break  # the lane is empty; what comes meanwhile makes one batch at the next look
        except CannotStore as error:
            # Events already sent are due again when their lease ends; TikTok drops the copies by event_id.
            log.error("the database is not available: %s", error, extra={"store": lane.store})
        except Exception:
            log.exception("internal error while draining a lane", extra=_log_fields(lane))
            with self._lock:
                self._resting_until[lane] = self._elapsed() + LONGEST_REST
        finally:
            with self._lock:
                self._workers[lane] -= 1
        return taken

    # --- one lease ------------------------------------------------------------------------------------------

    def _send_claim(self, work: _Work, claimed: list[LeasedEvent]) -> bool:
        """Send and settle leased events; return False if the lane must rest."""
        lease_until = claimed[0].lease_until
        leased_at = lease_until - LEASE
        settlements: list[Settlement] = []
        to_send: list[LeasedEvent] = []
        now = self._clock()  # one time for all: what expires for the same reason is written by one statement
        for item in claimed:
            if reason := self._expiry_reason(item, work, now):
                settlements.append(settled(item, "expired", now, None, reason, ""))
            else:
                to_send.append(item)
        keep_going = True
        for batch in split_into_batches(to_send, backlog=len(claimed) >= CLAIM_LIMIT):
            if not keep_going or not self._may_send(work):
                settlements += self._unsent(batch, leased_at)
                continue
            results = self._send_batch(work, batch)
            keep_going = self._update_lane(work, results)
            for part, result in results:
                settlements += self._settlements(work, part, result, leased_at)
        stats = SettlementStats(work.lane.store, work.lane.pixel, claimed, settlements, self._clock())
        sales = SoldEvents(work.store, work.lane.pixel, claimed, settlements)
        in_backlog = len(claimed) == CLAIM_LIMIT
        self._outbox.settle(self.name, lease_until, settlements, stats.write, sales.write, in_backlog=in_backlog)
        return keep_going

    def _send_batch(self, work: _Work, batch: Batch) -> list[BatchResult]:
        """Send a batch; if TikTok rejects it, isolate the events at fault and send the others.

        If TikTok rejects the events of several orders for the same reason, and has not just accepted others of this
        lane, the configuration is at fault: the verdict of the batch is "denied", which suspends the lane and rejects
        no event. The events of one order can share its fault.
        """
        several = len({item.object_key for item in batch}) > 1
        results: list[BatchResult] = []
        for part, result in isolate(batch, partial(self._send_request, work), partial(self._may_send, work)):
            results.append((part, result))
            work.proven |= result.verdict == "accepted"
            if several and not work.proven and len(results) >= SAME_REJECTIONS and all_rejected_alike(results):
                break
        if not work.proven and all_rejected_alike(results):
            rejection = results[0][1]
            if several or (work.probing and self._suspended_for_same(work.lane, rejection)):
                return [(batch, replace(rejection, verdict="denied"))]
        return results

    def _suspended_for_same(self, lane: Lane, result: ApiResult) -> bool:
        """Return whether the lane was suspended for the same reason."""
        return without_numbers(self._outbox.lane_state(lane).reason) == without_numbers(rejection_text(result))

    def _send_request(self, work: _Work, part: Batch) -> ApiResult:
        """Send one request as soon as the rate limit of its token allows."""
        if (seconds := self._rate_limit.reserve(work.pixel.access_token)) > 0:
            self._wait(self._stop, seconds)
        begun = self._elapsed()
        result = self._api.send(work.pixel, part[0].test_code, [item.payload for item in part])
        took = self._elapsed() - begun
        self._is_slow[work.lane] = took > SLOW
        self._log(work.lane, part, result, took)
        return result

    def _update_lane(self, work: _Work, results: Sequence[BatchResult]) -> bool:
        """Suspend, resume or rest the lane according to the results; return False if it must rest."""
        now = self._clock()
        denied = next((result for _, result in results if result.verdict == "denied"), None)
        if denied:
            self._suspend(work.lane, work.pixel, denied, now)
            self._rest(work, POLL, whole_token=False)
            return False
        if work.probing and any(result.verdict in ("accepted", "rejected") for _, result in results):
            self._outbox.resume(work.lane, now)
            work.probing, work.resumed_at = False, now
            log.info("TikTok accepts this store's token or pixel again", extra=_log_fields(work.lane))
        retried = [(part, result) for part, result in results if result.verdict == "retry"]
        if retried:
            attempts = max(item.attempts for part, _ in retried for item in part)
            wait = max(min(self._backoff(attempts), LONGEST_REST), max(result.retry_after for _, result in retried))
            self._rest(work, wait, whole_token=any(result.throttled for _, result in retried))
            return False
        return True

    def _rest(self, work: _Work, seconds: float, whole_token: bool) -> None:
        """Let the lane, or all lanes of its token (`whole_token`), rest for at least this many seconds."""
        token, until = work.pixel.access_token, self._elapsed() + seconds
        with self._lock:
            for lane, (_, pixel) in self._lanes.items():
                if lane == work.lane or (whole_token and pixel.access_token == token):
                    self._resting_until[lane] = max(until, self._resting_until.get(lane, 0))

    def _suspend(self, lane: Lane, pixel: Pixel, result: ApiResult, now: float) -> None:
        wait = self._backoff(1 + self._outbox.lane_state(lane).denials)
        self._outbox.suspend(lane, now + wait, now, fingerprint(pixel.access_token), rejection_text(result))
        log.error(
            "TikTok denies this store's token or pixel; its events wait. Check pixel and access_token",
            extra={**_log_fields(lane), "code": result.code, "reason": rejection_text(result)},
        )

    # --- the settlement of an event -------------------------------------------------------------------------

    def _settlements(self, work: _Work, part: Batch, result: ApiResult, leased_at: float) -> Iterator[Settlement]:
        now = self._clock()
        # One pause for all with as many attempts: they are sent together again, and written by one statement.
        pauses = {attempts: self._backoff(attempts) for attempts in {item.attempts for item in part}}
        for item in part:
            maybe_sent_at = self._maybe_sent_after(item, result, leased_at)
            match result.verdict:
                case "accepted" | "rejected":
                    answer = (result.code, result.message, result.request_id)
                    yield Settlement(item.id, result.verdict, now, maybe_sent_at, now, *answer)
                case "denied":
                    yield due_again(item, now, maybe_sent_at, result.code, result.message, counts=False)
                case "retry" if not work.probing and now - max(item.tried_at, work.resumed_at) > RETRY_WINDOW:
                    message = f"not accepted within {duration(RETRY_WINDOW)}; last response: {result.message}"
                    yield settled(item, "expired", now, result.code, message, result.request_id)
                case "retry":
                    due = now + max(pauses[item.attempts], result.retry_after)
                    yield due_again(item, due, maybe_sent_at, result.code, result.message)

    def _expiry_reason(self, item: LeasedEvent, work: _Work, now: float) -> str:
        """Return why an event can no longer be sent, or ""."""
        if item.test_code:
            return ""
        if now - item.maybe_sent_at > SAFE_RESEND_WINDOW.total_seconds():
            window = duration(SAFE_RESEND_WINDOW.total_seconds())
            return f"may have reached TikTok more than {window} ago, so a copy could count twice"
        limit = work.store.age_limit(item.event, work.pixel)
        if now - item.occurred_at > limit.total_seconds():
            return f"older than {duration_setting(limit)} before it could be sent (max_event_age, browser_pixel)"
        return ""

    def _unsent(self, batch: Batch, leased_at: float) -> Iterator[Settlement]:
        """Yield the settlements of events that were leased but not sent: due again, attempt not counted."""
        now = self._clock()
        for item in batch:
            maybe_sent_at = None if _first_sent_in(item, leased_at) else item.maybe_sent_at
            yield due_again(item, now, maybe_sent_at, None, "", counts=False)

    def _maybe_sent_after(self, item: LeasedEvent, result: ApiResult, leased_at: float) -> float | None:
        """Return the first time at which the event may have reached TikTok, in Unix seconds.

        None if the failure is definite and no earlier lease may have sent it.
        """
        is_unsent = result.verdict != "accepted" and result.definite and _first_sent_in(item, leased_at)
        return None if is_unsent else item.maybe_sent_at

    def _backoff(self, attempts: int) -> float:
        """Return an exponential pause with jitter, in seconds: up to 5, 10, 20 … at most 600."""
        first, longest = PAUSES
        return min(first * 2.0 ** min(attempts - 1, 20), longest) * self._rng.uniform(0.5, 1.0)

    def _may_send(self, work: _Work) -> bool:
        """Return whether a request started now ends before the lease does, and the process is not stopping."""
        return not self._stop.is_set() and work.lease_ends - self._elapsed() > LONGEST_REQUEST

    def _log(self, lane: Lane, part: Batch, result: ApiResult, took: float) -> None:
        level = logging.INFO if result.verdict == "accepted" and result.code == 0 else logging.WARNING
        log.log(
            level,
            "TikTok: %s",
            result.verdict,
            extra={
                **_log_fields(lane),
                "events": len(part),
                "event_ids": ",".join(dict.fromkeys(item.event_id for item in part[:10])),
                "code": result.code,
                "request_id": result.request_id,
                "reason": "" if result.code == 0 else result.message,
                "ms": round(took * 1000, 1),
            },
        )


def _log_fields(lane: Lane) -> dict[str, str]:
    """Return the fields of a log line that name a lane."""
    return {"store": lane.store, "pixel": lane.pixel}


def _first_sent_in(item: LeasedEvent, leased_at: float) -> bool:
    """Return whether no lease before the one of `leased_at` may have sent the event."""
    return item.maybe_sent_at >= leased_at - 0.001  # rounding: it is computed from the lease's end
