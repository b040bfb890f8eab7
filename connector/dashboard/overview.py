"""The overview's figures: each store's health, what came, what was sent. From tallies and lanes: no row is counted."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from connector.config.settings import Config
from connector.core.store import Store
from connector.core.units import DAY, HOUR
from connector.dashboard.charts import Chart, spans
from connector.dashboard.labels import HEALTH, WORST
from connector.monitoring.event_stats import EventStats, Statistic, amount, match_key_counts, median
from connector.monitoring.problems import ProblemFinder, alive, current_problems
from connector.monitoring.webhook_stats import WebhookStats
from connector.outbox.lanes import Lane, LaneState
from connector.outbox.queries import LaneQueue, OpenProblem, OutboxQueries
from connector.relay.relay import fingerprint
from connector.storage.database import Database

MANY = 10_000  # events of a lane that are counted; more are "10000 or more"
COVERED_DAYS = 7
RECEIVED = {
    "relayed": "became events",
    "skipped": "skipped",
    "quiet": "nothing new or ignored",
    "parked": "parked",
    "refused": "signature refused",
}
SENT = {"accepted": "accepted by TikTok", "tested": "to Test Events", "failed": "rejected or expired"}
_QUIET = ("recorded", "ignored", "nothing new")


@dataclass(slots=True)
class StoreHealth:
    """A store in one look."""

    store: Store
    word: str = "flowing"
    rank: str = "good"  # good, note, bad: a class of the style sheet
    problems: list[OpenProblem] = field(default_factory=list)
    queues: list[LaneQueue] = field(default_factory=list)
    last: float | None = None
    accepted: int = 0
    tested: int = 0
    failed: int = 0
    parked: int = 0
    median: float | None = None

    @property
    def waiting(self) -> int:
        """Events in the queue, counted up to MANY in each lane."""
        return sum(queue.number for queue in self.queues)

    @property
    def oldest(self) -> float | None:
        """When the first of them was due."""
        return min((queue.oldest for queue in self.queues if queue.oldest is not None), default=None)


@dataclass(frozen=True, slots=True)
class Coverage:
    """Of an event's accepted ones: how many had each match key."""

    whose: str
    event: str
    accepted: int
    keys: dict[str, int]

    def share(self, key: str) -> int:
        """In percent, rounded down, so that 100 means all."""
        return 100 * self.keys[key] // self.accepted if self.accepted else 0


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything the page shows."""

    now: float
    relay: bool
    stores: list[StoreHealth]
    charts: list[Chart]
    coverage: list[Coverage]
    worth_of: list[tuple[str, str, str]]  # whose, event, currency: the columns
    worth: list[tuple[int, list[Decimal | None]]]  # by day, the latest first


def overview(config: Config, database: Database, chosen: str, now: float) -> Overview:
    """Return the figures of all stores, or of the chosen one. Raises CannotStore."""
    queries, tallies = OutboxQueries(database), EventStats(database)
    stores = {name: store for name, store in config.stores.items() if chosen in ("", name)}
    soon = now + HOUR
    daily = tallies.read(stores, ("received", "sent", "tested", "value"), spans(now, DAY, 14)[0], soon, DAY)
    hourly = tallies.read(stores, ("received", "sent", "tested", "seconds"), now - 23 * HOUR, soon, HOUR)
    keys = tallies.read(stores, ("keys",), now - COVERED_DAYS * DAY, soon, 400 * DAY)
    columns, rows = _worth(daily, stores)
    return Overview(
        now=now,
        relay=alive(queries.relay_seen(), now),
        stores=[*_health(stores, database, hourly, now)],
        charts=[
            _chart("Webhooks received, last 24 hours", hourly, RECEIVED, now, HOUR, 24),
            _chart("Events sent, last 24 hours", hourly, SENT, now, HOUR, 24),
            _chart("Webhooks received, last 14 days", daily, RECEIVED, now, DAY, 14),
            _chart("Events sent, last 14 days", daily, SENT, now, DAY, 14),
        ],
        coverage=_coverage(keys, stores),
        worth_of=columns,
        worth=rows,
    )


def kind_of(one: Statistic) -> str:
    """To which part of a bar a number belongs, or ""."""
    outcome = one.detail.partition(" ")[0]
    match one.what:
        case "received":
            return "quiet" if one.detail in _QUIET else one.detail
        case "tested":
            return "tested" if outcome == "accepted" else ""
        case "sent" if outcome in ("rejected", "expired"):
            return "failed"
        case "sent" if outcome == "accepted":
            return "accepted"
    return ""


def _chart(title: str, numbers: Iterable[Statistic], kinds: dict[str, str], now: float, span: int, bars: int) -> Chart:
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    for one in numbers:
        counts[one.at][kind_of(one)] += one.count
    starts = spans(now, span, bars)
    return Chart(title, kinds, starts, [counts[start] for start in starts], span)


def _health(stores: dict[str, Store], database: Database, hourly: list[Statistic], now: float) -> Iterable[StoreHealth]:
    queries, arrivals = OutboxQueries(database), WebhookStats(database)
    queues, refused = (
        queries.queue(MANY),
        {state.lane: state for state in queries.lane_states() if state.suspended_since},
    )
    problems = current_problems(queries.open_problems(), ProblemFinder(database, stores).find(now), now)
    parked = queries.parked_by_store(stores, 1000)
    for name, store in stores.items():
        health = StoreHealth(store)
        codes = {pixel.code for pixel in store.pixels}
        health.queues = [queue for queue in queues if queue.lane.store == name and queue.lane.pixel in codes]
        health.problems = [
            _with_new_token(problem, store, refused) for problem in problems if problem.key.split(":")[1:2] == [name]
        ]
        last = arrivals.last(name, now)
        health.last = last.at if last else None
        mine = [one for one in hourly if one.store == name]
        counted = Counter[str]()
        for one in mine:
            counted[kind_of(one)] += one.count
        health.accepted, health.tested, health.failed = (counted[kind] for kind in SENT)
        health.parked = parked[name]
        buckets = Counter[str]()
        for one in mine:
            if one.what == "seconds":
                buckets[one.detail] += one.count
        health.median = median(buckets)
        health.word, health.rank = _word(health, now)
        yield health


def _with_new_token(problem: OpenProblem, store: Store, refused: Mapping[Lane, LaneState]) -> OpenProblem:
    """A refusal was of the token that was there then; what TikTok says of another shows when an event is due."""
    for pixel in store.pixels:
        state = refused.get(Lane(store.name, pixel.code))
        if state is None or problem.key != f"denied:{store.name}:{pixel.code}":
            continue
        if state.suspended_token != fingerprint(pixel.access_token):
            told = (
                f"TikTok refused the access_token of before ({state.reason}); the new one is tried with the next event"
            )
            return replace(problem, key=f"untried:{store.name}:{pixel.code}", sentence=f"pixel {pixel.code}: {told}")
    return problem


def _word(health: StoreHealth, now: float) -> tuple[str, str]:
    kinds = {problem.kind for problem in health.problems}
    worst = next((kind for kind in HEALTH if kind in kinds), "")
    if worst:
        return HEALTH[worst], "bad" if worst in WORST else "note"
    if health.oldest is not None and now - health.oldest > 60:
        return "waiting", "note"
    if health.last is None and not health.accepted:
        return "nothing has come yet", "note"
    return "flowing", "good"


def _coverage(numbers: list[Statistic], stores: dict[str, Store]) -> list[Coverage]:
    found: dict[tuple[str, str], list[Statistic]] = defaultdict(list)
    for one in numbers:
        found[_whose(one, stores), one.event].append(one)
    return [
        Coverage(whose, event, sum(one.count for one in mine), match_key_counts(mine))
        for (whose, event), mine in sorted(found.items())
    ]


def _worth(
    numbers: list[Statistic], stores: dict[str, Store]
) -> tuple[list[tuple[str, str, str]], list[tuple[int, list[Decimal | None]]]]:
    """Of orders, by day. An order is worth the same in each event and on each pixel, so these are never added up."""
    sums: Counter[tuple[int, tuple[str, str, str]]] = Counter()
    for one in numbers:
        events = stores[one.store].events
        if one.what == "value" and one.event in (*events["order_placed"], *events["order_paid"]):
            sums[one.at, (_whose(one, stores), one.event, one.detail)] += one.count
    columns = sorted({column for _, column in sums})
    return columns, [
        (day, [amount(sums[day, column]) if (day, column) in sums else None for column in columns])
        for day in sorted({day for day, _ in sums}, reverse=True)
    ]


def _whose(one: Statistic, stores: dict[str, Store]) -> str:
    """The store, and its pixel where it has several."""
    return one.store if len(stores[one.store].pixels) < 2 else f"{one.store} {one.pixel}"
