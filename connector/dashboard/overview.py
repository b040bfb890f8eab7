"""The figures of the overview page: each store's health, webhooks received, events sent, match keys and value.

All are read from hourly statistics and lanes; the cost does not grow with the number of events.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial

from connector.config.routes import pixel_words, unrouted_words
from connector.config.settings import Config
from connector.core.store import Store
from connector.core.text import delay
from connector.core.units import DAY, HOUR
from connector.dashboard.addresses import events_address, webhooks_address
from connector.dashboard.charts import Chart, spans
from connector.dashboard.labels import HEALTH, RECEIVED, WORST
from connector.monitoring.event_stats import DELAYS, EventStats, Statistic, major_units, match_key_counts, median_delays
from connector.monitoring.problems import ProblemFinder, alive, current_problems
from connector.monitoring.skips import RELAYED, SKIPPED, Skips, skips_of
from connector.monitoring.webhook_stats import WebhookStats
from connector.outbox.lanes import Lane, LaneState, fingerprint
from connector.outbox.queries import LaneQueue, OpenProblem, OutboxQueries
from connector.storage.database import Database

MAX_COUNTED = 10_000  # events of a lane that are counted; the page shows "10,000 or more"
MAX_PARKED_COUNTED = 1000
COVERAGE_DAYS = 7
WAITING_TOO_LONG = 60.0  # seconds
SENT = {"accepted": "accepted by TikTok", "tested": "to Test Events", "failed": "rejected or expired"}
_QUIET = ("recorded", "ignored", "duplicate", "nothing new")  # the last: rows of 0.1

Column = tuple[str, str, str]  # source (store or store and pixel), event, currency


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """The state of one store, and its figures of the last 24 hours."""

    store: Store
    problems: list[OpenProblem]
    queues: list[LaneQueue]
    last_webhook: float | None  # Unix seconds
    accepted: int
    tested: int
    failed: int
    parked: int
    delays: dict[str, float]  # medians in seconds: from the shop to TikTok ("seconds"), and its parts (DELAYS)
    skips: Skips
    now: float

    @property
    def routes(self) -> list[str]:
        """The pixels and their conditions in sentences; none for a store whose only pixel takes everything."""
        pixels = self.store.pixels
        plain = len(pixels) == 1 and not self.store.has_routes and pixels[0].source == "web"
        return [] if plain else [*map(pixel_words, pixels), *unrouted_words(self.store)]

    @property
    def delay_parts(self) -> str:
        """Split the delay into its parts, by their medians: "shop 2 seconds, connector under a second, …"."""
        return ", ".join(f"{whose} {delay(self.delays[what])}" for what, whose in DELAYS.items() if what in self.delays)

    @property
    def waiting(self) -> int:
        """Number of events in the queue, counted up to MAX_COUNTED in each lane."""
        return sum(queue.number for queue in self.queues)

    @property
    def oldest_due(self) -> float | None:
        """Unix seconds at which the oldest waiting event became due; None if none waits."""
        return min((queue.oldest for queue in self.queues if queue.oldest is not None), default=None)

    @property
    def label(self) -> str:
        """The health in a few words."""
        return self._health[0]

    @property
    def level(self) -> str:
        """The severity, "good", "note" or "bad": a class of the style sheet."""
        return self._health[1]

    @property
    def _health(self) -> tuple[str, str]:
        kinds = {problem.kind for problem in self.problems}
        worst = next((kind for kind in HEALTH if kind in kinds), "")
        if worst:
            return HEALTH[worst], "bad" if worst in WORST else "note"
        if self.oldest_due is not None and self.now - self.oldest_due > WAITING_TOO_LONG:
            return "waiting", "note"
        if self.last_webhook is None and not self.accepted:
            return "nothing received yet", "note"
        if self.skips.are_nearly_all:
            return self.skips.words, "note"
        return "flowing", "good"


@dataclass(frozen=True, slots=True)
class Coverage:
    """The accepted events of one name: how many had each match key, and were a new or returning customer's."""

    source: str
    event: str
    accepted: int
    keys: dict[str, int]
    customers: dict[str, int]

    def share(self, key: str) -> float:
        """Return the share of events with this key in percent."""
        return 100 * self.keys[key] / self.accepted if self.accepted else 0.0


@dataclass(frozen=True, slots=True)
class Overview:
    """All data of the overview page; times in Unix seconds."""

    now: float
    relay_alive: bool
    stores: list[StoreHealth]
    charts: list[Chart]
    skips: dict[str, Skips]  # by store, of COVERAGE_DAYS
    coverage: list[Coverage]
    browsers: list[tuple[str, str, dict[str, int]]]  # store, milestone, and the numbers by outcome
    value_columns: list[Column]
    values: list[tuple[int, list[Decimal | None]]]  # by day, the latest first; major currency units


def read_overview(
    config: Config,
    database: Database,
    chosen: str,
    now: float,
) -> Overview:
    """Read the figures of the chosen store, or of all stores if `chosen` is "". Raises CannotStore."""
    queries, event_stats = OutboxQueries(database), EventStats(database)
    stores = {name: store for name, store in config.stores.items() if chosen in ("", name)}
    soon = now + HOUR
    daily = event_stats.read(stores, ("received", "sent", "tested", "value"), spans(now, DAY, 14)[0], soon, DAY)
    hourly_kinds = ("received", "sent", "tested", "seconds", *DELAYS, SKIPPED, RELAYED)
    hourly = event_stats.read(stores, hourly_kinds, now - 23 * HOUR, soon, HOUR)
    keys = event_stats.read(stores, ("keys", "customers", SKIPPED), now - COVERAGE_DAYS * DAY, soon, 400 * DAY)
    columns, values = _value_table(daily, stores)
    webhooks, events = partial(webhooks_address, store=chosen), partial(events_address, store=chosen)
    return Overview(
        now=now,
        relay_alive=alive(queries.relay_seen(), now),
        stores=[*_read_health(stores, database, hourly, now)],
        charts=[
            _chart("Webhooks received, last 24 hours", hourly, RECEIVED, spans(now, HOUR, 24), webhooks),
            _chart("Events sent, last 24 hours", hourly, SENT, spans(now, HOUR, 24), events),
            _chart("Webhooks received, last 14 days", daily, RECEIVED, spans(now, DAY, 14), webhooks),
            _chart("Events sent, last 14 days", daily, SENT, spans(now, DAY, 14), events),
        ],
        skips={name: found for name in stores if (found := skips_of(keys, name)).reasons},
        coverage=_coverage([one for one in keys if one.what != SKIPPED], stores),
        browsers=_browsers(event_stats.read(stores, ("funnel",), now - 23 * HOUR, soon, 400 * DAY)),
        value_columns=columns,
        values=values,
    )


def _read_health(
    stores: dict[str, Store], database: Database, hourly: list[Statistic], now: float
) -> Iterable[StoreHealth]:
    queries, webhook_stats = OutboxQueries(database), WebhookStats(database)
    queues = queries.queue(MAX_COUNTED)
    suspended_lanes = {state.lane: state for state in queries.lane_states() if state.suspended_since}
    problems = current_problems(queries.open_problems(), ProblemFinder(database, stores).find(now), now)
    parked = queries.parked_by_store(stores, MAX_PARKED_COUNTED)
    newest = webhook_stats.newest(stores, now)  # webhooks are counted once a minute, by the relay
    for name, store in stores.items():
        codes = {pixel.code for pixel in store.pixels}
        last = webhook_stats.last(name, now)
        statistics = [statistic for statistic in hourly if statistic.store == name]
        counts = Counter[str]()
        for statistic in statistics:
            counts[bar_kind(statistic)] += statistic.count
        yield StoreHealth(
            store=store,
            problems=[
                _with_new_token(problem, store, suspended_lanes)
                for problem in problems
                if problem.key.split(":")[1:2] == [name]
            ],
            queues=[queue for queue in queues if queue.lane.store == name and queue.lane.pixel in codes],
            last_webhook=max(newest.get(name, 0.0), last.at if last else 0.0) or None,
            accepted=counts["accepted"],
            tested=counts["tested"],
            failed=counts["failed"],
            parked=parked[name],
            delays=median_delays(one for one in statistics if one.event not in store.browser_events),
            skips=skips_of(statistics, name),
            now=now,
        )


def _with_new_token(problem: OpenProblem, store: Store, suspended_lanes: Mapping[Lane, LaneState]) -> OpenProblem:
    """Reword the denial of a token that has been replaced since; TikTok judges the new one with the next event."""
    for pixel in store.pixels:
        state = suspended_lanes.get(Lane(store.name, pixel.code))
        if state is None or problem.key != f"denied:{store.name}:{pixel.code}":
            continue
        if state.suspended_token != fingerprint(pixel.access_token):
            sentence = (
                f"pixel {pixel.code}: TikTok denied the previous access_token ({state.reason}); the new one is tried "
                "with the next event"
            )
            return replace(problem, key=f"untried:{store.name}:{pixel.code}", sentence=sentence)
    return problem


def _chart(
    title: str, statistics: Iterable[Statistic], kinds: dict[str, str], starts: list[int], address: Callable[..., str]
) -> Chart:
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    for statistic in statistics:
        counts[statistic.at][bar_kind(statistic)] += statistic.count
    return Chart(title, kinds, starts, [counts[start] for start in starts], starts[1] - starts[0], address)


def bar_kind(statistic: Statistic) -> str:
    """Return the segment of a bar to which a statistic belongs (a key of RECEIVED or SENT), or ""."""
    outcome = statistic.detail.partition(" ")[0]
    match statistic.what:
        case "received":
            return "quiet" if statistic.detail in _QUIET else statistic.detail
        case "tested":
            return "tested" if outcome == "accepted" else ""
        case "sent" if outcome in ("rejected", "expired"):
            return "failed"
        case "sent" if outcome == "accepted":
            return "accepted"
    return ""


def _coverage(statistics: list[Statistic], stores: dict[str, Store]) -> list[Coverage]:
    groups: dict[tuple[str, str], list[Statistic]] = defaultdict(list)
    for statistic in statistics:
        groups[_source(statistic, stores), statistic.event].append(statistic)
    return [_covered(source, event, group) for (source, event), group in sorted(groups.items())]


def _covered(source: str, event: str, statistics: list[Statistic]) -> Coverage:
    keys = [statistic for statistic in statistics if statistic.what == "keys"]
    customers = Counter[str]()
    for statistic in statistics:
        if statistic.what == "customers":
            customers[statistic.detail] += statistic.count
    return Coverage(source, event, sum(statistic.count for statistic in keys), match_key_counts(keys), dict(customers))


def _browsers(statistics: list[Statistic]) -> list[tuple[str, str, dict[str, int]]]:
    groups: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for statistic in statistics:
        groups[statistic.store, statistic.event][statistic.detail] += statistic.count
    return [(*key, dict(groups[key].most_common())) for key in sorted(groups)]


def _value_table(
    statistics: list[Statistic], stores: dict[str, Store]
) -> tuple[list[Column], list[tuple[int, list[Decimal | None]]]]:
    """Return the columns, and a row of order values for each day.

    Columns are never added up: an order has the same value in each of its events and on each pixel.
    """
    sums: Counter[tuple[int, Column]] = Counter()
    for statistic in statistics:
        store = stores[statistic.store]
        names = (*store.all_event_names("order_placed"), *store.all_event_names("order_paid"))
        if statistic.what == "value" and statistic.event in names:
            column = (_source(statistic, stores), statistic.event, statistic.detail)
            sums[statistic.at, column] += statistic.count
    columns = sorted({column for _, column in sums})
    return columns, [
        (day, [major_units(sums[day, column], column[-1]) if (day, column) in sums else None for column in columns])
        for day in sorted({day for day, _ in sums}, reverse=True)
    ]


def _source(statistic: Statistic, stores: dict[str, Store]) -> str:
    """Return the store's name, with the pixel code if the store has several pixels."""
    several = len(stores[statistic.store].pixels) > 1
    return f"{statistic.store} {statistic.pixel}" if several else statistic.store
