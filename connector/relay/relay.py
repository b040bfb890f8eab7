"""Second half of the way, a process of its own: claim → batch → send → settle. Many may share one database.

A lane is one store's pixel. Lanes are worked side by side, so one that is refused or hangs delays no other: it holds
one worker, or two while a backlog flows, of which one sends while the other claims and settles. From its first slow
answer on it holds only one of a few that are set aside for such lanes.

Two clocks: what is written into the database is Unix time, which may jump; what is waited for here, and how long a
lease still lasts, goes by a clock that never does.
"""

import hashlib
import logging
import os
import random
import re
import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Event, Lock
from typing import Any

from connector.core.rate_limit import TokenBuckets
from connector.core.store import Pixel, Store
from connector.core.text import how_long
from connector.core.units import DEDUPLICATION_WINDOW
from connector.monitoring.event_stats import SettlementStats
from connector.outbox.outbox import MAX_AHEAD, Lane, LaneState, LeasedEvent, Outbox, again, settled
from connector.relay.events_api import LONGEST_REQUEST, PARTLY, EventsApi, Outcome
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
LOOK_AHEAD = 60.0  # seconds between looks for such rows


@dataclass(slots=True)
class _Work:
    """What is known of a lane while it is worked on."""

    lane: Lane
    store: Store
    pixel: Pixel
    probing: bool  # TikTok has refused the lane; it is asked with one event
    proven: bool = False  # TikTok took an event, so a refusal is that event's own fault
    lease_ends: float = 0.0  # of what is claimed now, by the clock that never jumps


class Relay:
    """Sends what is due.

    `clock` gives Unix seconds, `elapsed` seconds that never jump, `rng` the jitter; `pause` waits so long or until the
    event is set.
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
        self._pace = TokenBuckets(elapsed)
        self._rng = rng or random.Random()  # noqa: S311 — jitter, not a secret
        self._lanes = {Lane(s.name, pixel.code): (s, pixel) for s in stores.values() for pixel in s.pixels}
        self._workers: Counter[Lane] = Counter()
        self._backlogs: set[Lane] = set()  # whose last claim was full
        self._paused: dict[Lane, float] = {}  # until when, by `elapsed`
        self._slow: set[Lane] = set()
        self._looked_ahead = float("-inf")
        self._lock = Lock()
        self._stop = Event()

    def run(self, stop: Event) -> None:
        """Work until `stop` is set; then finish the requests under way, settle them and return."""
        self._stop = stop
        beaten = float("-inf")
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
                    if time.monotonic() - beaten >= HEARTBEAT:
                        self._outbox.beat(self.name, self._clock())
                        beaten = time.monotonic()
                    for lane, probing in self._open_lanes():
                        (slow if lane in self._slow else swift).submit(self._drain, lane, probing)
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
        return sum(self._drain(lane, probing) for lane, probing in self._open_lanes())

    # --- which lanes ----------------------------------------------------------------------------------------

    def _open_lanes(self) -> Iterator[tuple[Lane, bool]]:
        """Lanes with events due that want a worker (more), and whether it is only to be asked with one event."""
        now = self._clock()
        if self._elapsed() - self._looked_ahead >= LOOK_AHEAD:
            self._looked_ahead = self._elapsed()
            if number := self._outbox.pull_back(now, now + MAX_AHEAD):
                log.warning("events due further ahead than is possible (a clock jumped), due now: %s", number)
        for state in self._outbox.lanes_due(now):
            if state.lane not in self._lanes or (probing := self._probing(state, now)) is None:
                continue
            with self._lock:
                wanted = WORKERS if state.lane in self._backlogs - self._slow and not probing else 1
                if self._workers[state.lane] >= wanted or self._rests(state.lane):
                    continue
                self._workers[state.lane] += 1
            yield state.lane, probing

    def _rests(self, lane: Lane) -> bool:
        return self._paused.get(lane, 0) > self._elapsed()

    def _probing(self, state: LaneState, now: float) -> bool | None:
        """False: open. True: refused, but due to be asked with one event. None: refused, wait."""
        if state.denied_until is None:
            return False
        if state.denied_token != fingerprint(self._lanes[state.lane][1].access_token):
            log.info("the token has changed, trying it", extra={"store": state.lane.store, "pixel": state.lane.pixel})
            return True
        return None if now < state.denied_until <= now + MAX_AHEAD else True

    def _drain(self, lane: Lane, probing: bool) -> int:
        taken = 0
        begun = self._elapsed()
        work = _Work(lane, *self._lanes[lane], probing)
        try:
            while not self._stop.is_set() and not self._rests(lane) and self._elapsed() - begun < TIME_SLICE:
                work.lease_ends = self._elapsed() + LEASE
                number = 1 if work.probing else BACKLOG
                claimed = self._outbox.claim(lane, number, self.name, self._clock(), LEASE)
                taken += len(claimed)
                with self._lock:
                    (self._backlogs.add if len(claimed) == BACKLOG else self._backlogs.discard)(lane)
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
        """Send and settle what was claimed; False when the lane shall not be worked on for now."""
        lease_until = claimed[0].lease_until
        begun = lease_until - LEASE
        results: list[dict[str, Any]] = []
        late = {item.id: why for item in claimed if (why := self._too_late(item, work.store))}
        results += [settled(c, "expired", self._clock(), None, late[c.id], "") for c in claimed if c.id in late]
        going_on = True
        for batch in _batches([item for item in claimed if item.id not in late], len(claimed) >= BACKLOG):
            if not going_on or not self._may_send(work):
                # Not sent: as if never claimed.
                results += [self._untouched(item, begun) for item in batch]
                continue
            answers = self._send(work, batch)
            going_on = self._note(work, answers)
            for group, outcome in answers:
                results += self._results(group, outcome, begun)
        tally = SettlementStats(work.lane.store, work.lane.pixel, claimed, results, self._clock())
        self._outbox.settle(self.name, lease_until, results, tally.write)
        return going_on

    def _send(self, work: "_Work", batch: list[LeasedEvent]) -> list[tuple[list[LeasedEvent], Outcome]]:
        """Send a batch; if TikTok refuses an event in it, find that event and send the others on.

        Every single one refused in the same words: the set-up is at fault, so the lane is refused and nothing buried,
        unless TikTok has just taken events of this lane.
        """
        answers: list[tuple[list[LeasedEvent], Outcome]] = []
        for group, outcome in self._isolate(work, batch):
            answers.append((group, outcome))
            work.proven |= outcome.verdict == "accepted"
            if not work.proven and len(batch) > 1 and len(answers) >= SAME_REFUSALS and _same_refusal(answers):
                break
        if not work.proven and _same_refusal(answers):
            refusal = answers[0][1]
            if len(batch) > 1 or (work.probing and self._refused_so_before(work.lane, refusal)):
                return [(batch, replace(refusal, verdict="denied"))]
        return answers

    def _refused_so_before(self, lane: Lane, outcome: Outcome) -> bool:
        return _wording(self._outbox.lane(lane).reason) == _wording(_told(outcome))

    def _isolate(self, work: "_Work", batch: list[LeasedEvent]) -> Iterator[tuple[list[LeasedEvent], Outcome]]:
        """Each event once, with the answer that counts for it.

        Whether TikTok keeps the good events of a batch that it refuses is not documented: for those that are sent
        again no later failure is definite. An event named by its index is asked about alone before it is believed.
        """
        waiting = [(batch, False)]
        while waiting:
            part, resent = waiting.pop()
            if resent and not self._may_send(work):
                yield part, Outcome("retry", message="interrupted while a bad event was looked for", definite=False)
                continue
            outcome = self._ask(work, part)
            named = [part[index] for index in outcome.indexes]
            others = [item for index, item in enumerate(part) if index not in outcome.indexes]
            if outcome.code == PARTLY and named:
                yield named, replace(outcome, verdict="rejected")
                if others:
                    yield others, outcome
            elif outcome.verdict != "rejected" or len(part) == 1:
                definite = outcome.definite and (outcome.verdict == "rejected" or not resent)
                yield part, replace(outcome, definite=definite)
            else:
                half = len(part) // 2
                parts = [*([item] for item in named), others] if named else [part[:half], part[half:]]
                waiting += [(smaller, True) for smaller in reversed(parts) if smaller]

    def _ask(self, work: "_Work", part: list[LeasedEvent]) -> Outcome:
        """One request, as soon as its token's pace allows, and how long it took."""
        if (seconds := self._pace.take(work.pixel.access_token)) > 0:
            self._wait(self._stop, seconds)
        begun = self._elapsed()
        outcome = self._api.send(work.pixel, part[0].test_code, [item.payload for item in part])
        took = self._elapsed() - begun
        with self._lock:
            (self._slow.add if took > SLOW else self._slow.discard)(work.lane)
        self._log(work.lane, part, outcome, took)
        return outcome

    def _note(self, work: "_Work", answers: Sequence[tuple[list[LeasedEvent], Outcome]]) -> bool:
        """Remember what the answers say about the lane itself; False when it shall rest."""
        now = self._clock()
        denied = next((outcome for _, outcome in answers if outcome.verdict == "denied"), None)
        if denied:
            self._deny(work.lane, work.pixel, denied, now)
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
        """Leave the lane alone for a while; all lanes of its token if that was used too often."""
        token, until = work.pixel.access_token, self._elapsed() + seconds
        with self._lock:
            for lane, (_, pixel) in self._lanes.items():
                if lane == work.lane or (whole_token and pixel.access_token == token):
                    self._paused[lane] = max(until, self._paused.get(lane, 0))

    def _deny(self, lane: Lane, pixel: Pixel, outcome: Outcome, now: float) -> None:
        pause = self._pause(1 + self._outbox.lane(lane).denials)
        self._outbox.deny(lane, now + pause, now, fingerprint(pixel.access_token), _told(outcome))
        log.error(
            "TikTok refuses this store's token or pixel; its events wait. Check pixel and access_token",
            extra={"store": lane.store, "pixel": lane.pixel, "code": outcome.code, "reason": _told(outcome)},
        )

    # --- what becomes of an event ---------------------------------------------------------------------------

    def _results(self, group: list[LeasedEvent], outcome: Outcome, begun: float) -> Iterator[dict[str, Any]]:
        now = self._clock()
        for item in group:
            match outcome.verdict:
                case "accepted" | "rejected":
                    result = settled(item, outcome.verdict, now, outcome.code, outcome.message, outcome.request_id)
                    sent_at = item.sent_at if outcome.verdict == "accepted" else self._sent_at(item, outcome, begun)
                    yield result | {"new_sent_at": sent_at}
                case "denied":
                    yield again(item, now, self._sent_at(item, outcome, begun), outcome.code, outcome.message, False)
                case "retry" if now - item.tried_at > RETRY_WINDOW:
                    message = f"not accepted within 24 hours; last answer: {outcome.message}"
                    yield settled(item, "expired", now, outcome.code, message, outcome.request_id)
                case "retry":
                    due = now + max(self._pause(item.attempts), outcome.pause)
                    yield again(item, due, self._sent_at(item, outcome, begun), outcome.code, outcome.message)

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

    def _untouched(self, item: LeasedEvent, begun: float) -> dict[str, Any]:
        sent_at = None if _first_sent_in(item, begun) else item.sent_at
        return again(item, self._clock(), sent_at, None, "", counts=False)

    def _sent_at(self, item: LeasedEvent, outcome: Outcome, begun: float) -> float | None:
        """Only a definite refusal clears the possibly-sent time, and only that of this very claim."""
        return None if outcome.definite and _first_sent_in(item, begun) else item.sent_at

    def _pause(self, attempts: int) -> float:
        """Exponential, with jitter: 5 s, 10 s, 20 s … at most ten minutes."""
        first, longest = PAUSES
        return min(first * 2.0 ** min(attempts - 1, 20), longest) * self._rng.uniform(0.5, 1.0)

    def _may_send(self, work: "_Work") -> bool:
        """Whether a request begun now certainly ends within the lease, and nobody wants us to end."""
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
    """Enough of a token's SHA-256 to tell whether it has changed."""
    return hashlib.sha256(token.encode(errors="backslashreplace")).hexdigest()[:16]


def _batches(claimed: list[LeasedEvent], backlog: bool) -> Iterator[list[LeasedEvent]]:
    """Requests of one test code each, none too long or too large."""
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
    """Whether the claim that began then is the first that may have sent the event."""
    return item.sent_at >= begun - 0.001


def _same_refusal(answers: Sequence[tuple[list[LeasedEvent], Outcome]]) -> bool:
    if any(outcome.verdict != "rejected" for _, outcome in answers):
        return False
    return len({_wording(_told(outcome)) for _, outcome in answers}) == 1


def _told(outcome: Outcome) -> str:
    """A refusal's code and words."""
    return f"{outcome.code or ''} {outcome.message}".strip()


def _wording(told: str) -> str:
    """A refusal without the numbers in it: the position that it names."""
    return re.sub(r"\d+", "#", told)
