"""The relay: leases due events, sends them in batches and settles them. Several relays may share a database.

A lane is one store's pixel. Lanes are drained in parallel, so a suspended or hanging lane delays no other: it holds one
worker, or two while it has a backlog, of which one sends while the other leases and settles. From its first slow answer
on, a lane gets only one of the few workers set aside for slow lanes.

Two clocks: times written to the database are Unix time, which may jump; pauses and the rest of a lease are measured
by a clock that never jumps.
"""

import hashlib
import logging
import os
import random
import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from threading import Event, Lock
from typing import Literal

from msgspec import structs

from connector.core.rate_limit import TokenBuckets
from connector.core.store import Pixel, Store
from connector.core.text import how_long
from connector.core.units import DEDUPLICATION_WINDOW
from connector.monitoring.event_stats import SettlementStats
from connector.outbox.lanes import Lane, LaneState
from connector.outbox.outbox import MAX_AHEAD, Outbox
from connector.outbox.settlement import LeasedEvent, Settlement, due_again, settled
from connector.relay.events_api import LONGEST_REQUEST, EventsApi, Outcome
from connector.relay.isolation import Answer, Batch, is_same_refusal, isolate, refusal_text, without_numbers
from connector.storage.database import CannotStore

log = logging.getLogger("connector.relay.relay")

BATCH = 100  # events a request; TikTok takes 1,000 and recommends few
BATCH_BYTES = 512 * 1024
BACKLOG = 1000  # a claim this full is a backlog, drained in requests of TikTok's maximum
BACKLOG_BYTES = 2 * 1024 * 1024
LEASE = 120.0  # seconds; a dead relay's events fall due again after it
POLL = 0.2
HEARTBEAT = 10.0
LANES_AT_ONCE = 128  # threads are made as needed
WORKERS = 2  # of a lane with a backlog
SLOW_LANES_AT_ONCE = 16
SLOW = 3.0  # seconds; TikTok usually answers in less than one
TIME_SLICE = 30.0  # seconds a lane with a backlog is worked on before others may have its thread
RETRY_WINDOW = 24 * 3600.0  # after the first attempt
SAME_REFUSALS = 10  # so many events refused in the same words, and none taken: the set-up is at fault
PAUSES = (5.0, 600.0)  # first and longest pause between attempts, also between probes of a refused token
CLOCK_CHECK_INTERVAL = 60.0  # seconds between searches for events whose due time a jumped clock has written


# How a lane is worked on: a suspended lane is left alone until it is due to be probed with one event.
LaneMode = Literal["open", "probe", "suspended"]


@dataclass(slots=True)
class _Work:
    """The state of a lane while one worker drains it."""

    lane: Lane
    store: Store
    pixel: Pixel
    probing: bool  # the lane is suspended; one event is sent to find out whether TikTok accepts it again
    proven: bool = False  # TikTok accepted an event, so a refusal is the refused event's own fault
    lease_ends: float = 0.0  # of the current claim, by `elapsed`


class Relay:
    """Sends due events of the configured stores.

    `clock` gives Unix seconds, `elapsed` seconds that never jump, `rng` the jitter; `pause` waits for so many seconds
    or until the event is set.
    """

    def __init__(
        self,
        stores: Mapping[str, Store],
        outbox: Outbox,
        api: EventsApi,
        clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
        elapsed: Callable[[], float] = time.monotonic,
        pause: Callable[[Event, float], object] = Event.wait,
    ) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._outbox = outbox
        self._api = api
        self._clock = clock
        self._elapsed = elapsed
        self._wait = pause
        self._rate_limit = TokenBuckets(elapsed)
        self._rng = rng or random.Random()  # noqa: S311 — jitter, not a secret
        self._lanes = {Lane(s.name, pixel.code): (s, pixel) for s in stores.values() for pixel in s.pixels}
        self._workers: Counter[Lane] = Counter()
        self._backlogs: set[Lane] = set()  # whose last claim was full
        self._paused: dict[Lane, float] = {}  # until when, by `elapsed`
        self._slow: set[Lane] = set()
        self._clock_checked_at = float("-inf")
        self._lock = Lock()
        self._stop = Event()

    @property
    def slow_lanes(self) -> frozenset[Lane]:
        """Return the lanes whose last answer took longer than `SLOW` seconds."""
        return frozenset(self._slow)

    def run(self, stop: Event) -> None:
        """Work until `stop` is set; then finish the requests under way, settle them and return."""
        self._stop = stop
        heartbeat_at = float("-inf")
        ready = False
        with (
            ThreadPoolExecutor(LANES_AT_ONCE, thread_name_prefix="lane") as swift,
            ThreadPoolExecutor(SLOW_LANES_AT_ONCE, thread_name_prefix="slow-lane") as slow,
        ):
            while not stop.is_set():
                try:
                    if not ready:
                        self._outbox.add_lanes(self._lanes)
                        ready = True
                    if time.monotonic() - heartbeat_at >= HEARTBEAT:
                        self._outbox.heartbeat(self.name, self._clock())
                        heartbeat_at = time.monotonic()
                    for lane, mode in self._open_lanes():
                        (slow if lane in self._slow else swift).submit(self._drain, lane, mode)
                except CannotStore as error:
                    log.error("the database does not answer: %s", error)
                    stop.wait(1.0)
                stop.wait(POLL)
        try:
            self._outbox.leave(self.name)
        except CannotStore as error:
            log.warning("could not sign off: %s", error)

    def step(self) -> int:
        """One round over the lanes that are open now, in this thread; how many events were claimed."""
        self._outbox.add_lanes(self._lanes)
        return sum(self._drain(lane, mode) for lane, mode in self._open_lanes())

    # --- which lanes ----------------------------------------------------------------------------------------

    def _open_lanes(self) -> Iterator[tuple[Lane, LaneMode]]:
        """Yield the lanes with events due that have room for a (further) worker; each is counted as started."""
        now = self._clock()
        if self._elapsed() - self._clock_checked_at >= CLOCK_CHECK_INTERVAL:
            self._clock_checked_at = self._elapsed()
            if number := self._outbox.correct_clock_jumps(now, now + MAX_AHEAD):
                log.warning("events due further ahead than is possible (a clock jumped), due now: %s", number)
        for state in self._outbox.lanes_due(now):
            if state.lane not in self._lanes or (mode := self._mode(state, now)) == "suspended":
                continue
            with self._lock:
                wanted = WORKERS if state.lane in self._backlogs - self._slow and mode == "open" else 1
                if self._workers[state.lane] >= wanted or self._rests(state.lane):
                    continue
                self._workers[state.lane] += 1
            yield state.lane, mode

    def _rests(self, lane: Lane) -> bool:
        return self._paused.get(lane, 0) > self._elapsed()

    def _mode(self, state: LaneState, now: float) -> LaneMode:
        if state.suspended_until is None:
            return "open"
        if state.suspended_token != fingerprint(self._lanes[state.lane][1].access_token):
            log.info("the token has changed, trying it", extra={"store": state.lane.store, "pixel": state.lane.pixel})
            return "probe"
        # A suspension that ends further ahead than one can last was written by a clock that jumped.
        return "suspended" if now < state.suspended_until <= now + MAX_AHEAD else "probe"

    def _drain(self, lane: Lane, mode: LaneMode) -> int:
        """Work on a lane for a time slice at most; return how many events were leased."""
        taken = 0
        begun = self._elapsed()
        work = _Work(lane, *self._lanes[lane], probing=mode == "probe")
        try:
            while not self._stop.is_set() and not self._rests(lane) and self._elapsed() - begun < TIME_SLICE:
                work.lease_ends = self._elapsed() + LEASE
                number = 1 if work.probing else BACKLOG
                claimed = self._outbox.claim(lane, number, self.name, self._clock(), LEASE)
                taken += len(claimed)
                with self._lock:
                    _set_membership(self._backlogs, lane, len(claimed) == BACKLOG)
                if not claimed or not self._deliver(work, claimed):
                    break
        except CannotStore as error:
            # Whatever was sent falls due again when its lease ends; TikTok knows its event_id.
            log.error("the database does not answer: %s", error, extra={"store": lane.store})
        except Exception:
            log.exception("the relay failed on a lane", extra={"store": lane.store, "pixel": lane.pixel})
            with self._lock:
                self._paused[lane] = self._elapsed() + 30
        finally:
            with self._lock:
                self._workers[lane] -= 1
        return taken

    # --- one claim ------------------------------------------------------------------------------------------

    def _deliver(self, work: "_Work", claimed: list[LeasedEvent]) -> bool:
        """Send and settle leased events; return False when the lane shall rest."""
        lease_until = claimed[0].lease_until
        begun = lease_until - LEASE
        results: list[Settlement] = []
        late = {item.id: why for item in claimed if (why := self._too_late(item, work.store))}
        results += [
            settled(item, "expired", self._clock(), None, late[item.id], "") for item in claimed if item.id in late
        ]
        going_on = True
        for batch in _batches([item for item in claimed if item.id not in late], len(claimed) >= BACKLOG):
            if not going_on or not self._may_send(work):
                results += [self._untouched(item, begun) for item in batch]
                continue
            answers = self._send(work, batch)
            going_on = self._update_lane(work, answers)
            for group, outcome in answers:
                results += self._results(group, outcome, begun)
        tally = SettlementStats(work.lane.store, work.lane.pixel, claimed, results, self._clock())
        self._outbox.settle(self.name, lease_until, results, tally.write)
        return going_on

    def _send(self, work: "_Work", batch: Batch) -> list[Answer]:
        """Send a batch; if TikTok refuses it, isolate the event at fault and send the others.

        If every event is refused in the same words, the configuration is at fault: the lane is suspended and no event
        is rejected, unless TikTok has just accepted events of this lane.
        """
        answers: list[Answer] = []
        for group, outcome in isolate(batch, partial(self._ask, work), partial(self._may_send, work)):
            answers.append((group, outcome))
            work.proven |= outcome.verdict == "accepted"
            if not work.proven and len(batch) > 1 and len(answers) >= SAME_REFUSALS and is_same_refusal(answers):
                break
        if not work.proven and is_same_refusal(answers):
            refusal = answers[0][1]
            if len(batch) > 1 or (work.probing and self._refused_so_before(work.lane, refusal)):
                return [(batch, replace(refusal, verdict="denied"))]
        return answers

    def _refused_so_before(self, lane: Lane, outcome: Outcome) -> bool:
        return without_numbers(self._outbox.lane(lane).reason) == without_numbers(refusal_text(outcome))

    def _ask(self, work: "_Work", part: list[LeasedEvent]) -> Outcome:
        """Send one request, as soon as the rate limit of its token allows."""
        if (seconds := self._rate_limit.reserve(work.pixel.access_token)) > 0:
            self._wait(self._stop, seconds)
        begun = self._elapsed()
        outcome = self._api.send(work.pixel, part[0].test_code, [item.payload for item in part])
        took = self._elapsed() - begun
        with self._lock:
            _set_membership(self._slow, work.lane, took > SLOW)
        self._log(work.lane, part, outcome, took)
        return outcome

    def _update_lane(self, work: "_Work", answers: Sequence[Answer]) -> bool:
        """Suspend, resume or pause the lane as the answers demand; return False when it shall rest."""
        now = self._clock()
        denied = next((outcome for _, outcome in answers if outcome.verdict == "denied"), None)
        if denied:
            self._suspend(work.lane, work.pixel, denied, now)
            self._rest(work, POLL, whole_token=False)
            return False
        if work.probing and any(outcome.verdict in ("accepted", "rejected") for _, outcome in answers):
            self._outbox.open(work.lane)
            work.probing = False
            log.info(
                "TikTok accepts this store's token again", extra={"store": work.store.name, "pixel": work.pixel.code}
            )
        retried = [(group, outcome) for group, outcome in answers if outcome.verdict == "retry"]
        if retried:
            attempts = max(item.attempts for group, _ in retried for item in group)
            pause = max(min(self._pause(attempts), 30.0), max(outcome.pause for _, outcome in retried))
            self._rest(work, pause, whole_token=any(outcome.throttled for _, outcome in retried))
            return False
        return True

    def _rest(self, work: "_Work", seconds: float, whole_token: bool) -> None:
        """Pause the lane, or all lanes of its token if TikTok throttles the token."""
        token, until = work.pixel.access_token, self._elapsed() + seconds
        with self._lock:
            for lane, (_, pixel) in self._lanes.items():
                if lane == work.lane or (whole_token and pixel.access_token == token):
                    self._paused[lane] = max(until, self._paused.get(lane, 0))

    def _suspend(self, lane: Lane, pixel: Pixel, outcome: Outcome, now: float) -> None:
        pause = self._pause(1 + self._outbox.lane(lane).refusals)
        self._outbox.suspend(lane, now + pause, now, fingerprint(pixel.access_token), refusal_text(outcome))
        log.error(
            "TikTok refuses this store's token or pixel; its events wait. Check pixel and access_token",
            extra={"store": lane.store, "pixel": lane.pixel, "code": outcome.code, "reason": refusal_text(outcome)},
        )

    # --- what becomes of an event ---------------------------------------------------------------------------

    def _results(self, group: list[LeasedEvent], outcome: Outcome, begun: float) -> Iterator[Settlement]:
        now = self._clock()
        for item in group:
            match outcome.verdict:
                case "accepted" | "rejected":
                    sent_at = item.sent_at if outcome.verdict == "accepted" else self._sent_at(item, outcome, begun)
                    final = settled(item, outcome.verdict, now, outcome.code, outcome.message, outcome.request_id)
                    yield structs.replace(final, sent_at=sent_at)
                case "denied":
                    sent_at = self._sent_at(item, outcome, begun)
                    yield due_again(item, now, sent_at, outcome.code, outcome.message, counts=False)
                case "retry" if now - item.tried_at > RETRY_WINDOW:
                    message = f"not accepted within 24 hours; last answer: {outcome.message}"
                    yield settled(item, "expired", now, outcome.code, message, outcome.request_id)
                case "retry":
                    due = now + max(self._pause(item.attempts), outcome.pause)
                    yield due_again(item, due, self._sent_at(item, outcome, begun), outcome.code, outcome.message)

    def _too_late(self, item: LeasedEvent, store: Store) -> str:
        now = self._clock()
        if item.test_code:
            return ""
        if now - item.sent_at > DEDUPLICATION_WINDOW.total_seconds():
            return "may have reached TikTok over 47 hours ago; a copy would now count twice"
        limit = store.age_limit(item.event)
        if now - item.occurred_at > limit.total_seconds():
            return f"older than {how_long(limit)} before it could be sent (max_event_age, browser_pixel)"
        return ""

    def _untouched(self, item: LeasedEvent, begun: float) -> Settlement:
        """Settle an event that was not sent as if it had never been leased."""
        sent_at = None if _first_sent_in(item, begun) else item.sent_at
        return due_again(item, self._clock(), sent_at, None, "", counts=False)

    def _sent_at(self, item: LeasedEvent, outcome: Outcome, begun: float) -> float | None:
        """Return the possibly-sent time; only a definite refusal clears it, and only one that this lease has set."""
        return None if outcome.definite and _first_sent_in(item, begun) else item.sent_at

    def _pause(self, attempts: int) -> float:
        """Return an exponential pause with jitter, in seconds: 5, 10, 20 … at most ten minutes."""
        first, longest = PAUSES
        return min(first * 2.0 ** min(attempts - 1, 20), longest) * self._rng.uniform(0.5, 1.0)

    def _may_send(self, work: "_Work") -> bool:
        """Return whether a request begun now certainly ends within the lease, and the process is not stopping."""
        return not self._stop.is_set() and work.lease_ends - self._elapsed() > LONGEST_REQUEST

    def _log(self, lane: Lane, batch: list[LeasedEvent], outcome: Outcome, took: float) -> None:
        level = logging.INFO if outcome.verdict == "accepted" and outcome.code == 0 else logging.WARNING
        log.log(
            level,
            "TikTok: %s",
            outcome.verdict,
            extra={
                "store": lane.store,
                "pixel": lane.pixel,
                "events": len(batch),
                "event_ids": ",".join(dict.fromkeys(item.event_id for item in batch[:10])),
                "code": outcome.code,
                "request_id": outcome.request_id,
                "reason": "" if outcome.code == 0 else outcome.message,
                "ms": round(took * 1000, 1),
            },
        )


def fingerprint(token: str) -> str:
    """Return enough of a token's SHA-256 to tell whether the token has changed."""
    return hashlib.sha256(token.encode(errors="backslashreplace")).hexdigest()[:16]


def _set_membership(lanes: set[Lane], lane: Lane, belongs: bool) -> None:
    if belongs:
        lanes.add(lane)
    else:
        lanes.discard(lane)


def _batches(claimed: list[LeasedEvent], backlog: bool) -> Iterator[list[LeasedEvent]]:
    """Split events into requests: one test code each, and none with too many events or bytes."""
    most, most_bytes = (BACKLOG, BACKLOG_BYTES) if backlog else (BATCH, BATCH_BYTES)
    for code in dict.fromkeys(item.test_code for item in claimed):
        batch: list[LeasedEvent] = []
        size = 0
        for item in (item for item in claimed if item.test_code == code):
            if batch and (len(batch) == most or size + len(item.payload) > most_bytes):
                yield batch
                batch, size = [], 0
            batch.append(item)
            size += len(item.payload) + 1
        if batch:
            yield batch


def _first_sent_in(item: LeasedEvent, begun: float) -> bool:
    """Return whether the lease that began at `begun` is the first under which the event may have been sent."""
    return item.sent_at >= begun - 0.001
