"""`GET /metrics`: what Prometheus reads. The web's processes count requests, the rest is read from the database.

What is read costs the same however many events there are: what waits is counted up to `COUNTED` in each lane, and all
that grows is read from `totals` (`monitoring.event_stats`). The relay, which sends, has no port of its own on a PaaS.
https://prometheus.io/docs/practices/naming/
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from flask import Blueprint, Response, jsonify, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from connector.config.settings import Config
from connector.dashboard.auth import Authenticator, caller
from connector.monitoring.event_stats import BEYOND, BUCKETS, EventStats, Statistic, amount, match_key_counts
from connector.monitoring.problems import KINDS, SILENT, alive
from connector.outbox.queries import OutboxQueries
from connector.storage.database import CannotStore, Database
from connector.web.request_metrics import RequestMetrics

COUNTED = 10_000  # rows of a lane; a number this large means so many or more
PARKED_COUNTED = 1000
_SENT = {
    "sent": (
        "connector_events_sent",
        "Attempts to send an event, by how they ended and TikTok's code; no test events.",
    ),
    "tested": ("connector_test_events_sent", "The same for events that went to Test Events."),
}


def pages(
    config: Config, database: Database, request_metrics: RequestMetrics, authenticator: Authenticator
) -> Blueprint:
    """The route, which asks for ADMIN_PASSWORD by basic auth where there is one."""
    page = Blueprint("metrics", __name__)
    stored = DatabaseMetrics(database, list(config.stores))

    @page.get("/metrics")
    def metrics() -> Response:
        if not authenticator.closed and (refusal := _refusal(authenticator, config.trusted_proxies)):
            return refusal
        registry = CollectorRegistry()
        registry.register(stored)
        text = generate_latest(request_metrics.registry()) + generate_latest(registry)
        return Response(text, content_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})

    return page


def _refusal(authenticator: Authenticator, hops: int) -> Response | None:
    try:
        given = request.authorization
    except ValueError:  # no Base64 is beyond ASCII
        given = None
    who = caller(request.remote_addr or "", request.headers.get("X-Forwarded-For", ""), hops)
    if given is None or given.type != "basic":
        return _refused(401, "basic auth is needed: any user name, and ADMIN_PASSWORD")
    match authenticator.ask(given.password or "", who):
        case "in":
            return None
        case "wait":
            return _refused(429, "too many wrong passwords; try again in five minutes")
        case "wrong":
            return _refused(401, "this is not ADMIN_PASSWORD")


def _refused(status: int, error: str) -> Response:
    answer = jsonify(error=error)
    answer.status_code = status
    answer.headers.update({"WWW-Authenticate": 'Basic realm="connector"'} if status == 401 else {"Retry-After": "300"})
    return answer


class DatabaseMetrics:
    """What the database tells, collected anew each time Prometheus asks."""

    def __init__(self, database: Database, stores: Iterable[str], clock: Callable[[], float] = time.time) -> None:
        self._queries = OutboxQueries(database)
        self._tallies = EventStats(database)
        self._stores = list(stores)
        self._clock = clock

    def describe(self) -> list[Metric]:
        """Nothing: or the registry would ask the database only to learn the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All of it; only `connector_database_up 0` when the database does not answer."""
        up = GaugeMetricFamily(
            "connector_database_up", "Whether the database answered; if not, what it tells is missing."
        )
        try:
            found = [*self._queue(), *self._state(), *_sent(self._tallies.totals())]
            up.add_metric([], 1)
        except CannotStore:
            found = []
            up.add_metric([], 0)
        yield from [up, *found]

    def _queue(self) -> Iterator[Metric]:
        lane = ("store", "pixel")
        due = GaugeMetricFamily(
            "connector_events_due",
            f"Events that wait to be sent, those that are being sent or tried again later too; {COUNTED} means so many "
            "or more.",
            labels=lane,
        )
        oldest = GaugeMetricFamily(
            "connector_events_oldest_due_seconds",
            "How long the first event of the queue has been due.",
            labels=lane,
        )
        refused = GaugeMetricFamily(
            "connector_pixel_refused", "1 while TikTok refuses the pixel's token or permission.", labels=lane
        )
        now = self._clock()
        for queue in self._queries.queue(COUNTED):
            names = [queue.lane.store, queue.lane.pixel]
            due.add_metric(names, queue.number)
            oldest.add_metric(names, max(0.0, now - queue.oldest) if queue.oldest is not None else 0.0)
            refused.add_metric(names, queue.suspended_since is not None)
        yield from (due, oldest, refused)

    def _state(self) -> Iterator[Metric]:
        seen = self._queries.relay_seen()
        yield GaugeMetricFamily(
            "connector_relay_alive",
            "1 when a relay gave a sign of life within a minute.",
            alive(seen, self._clock()),
        )
        parked = GaugeMetricFamily(
            "connector_webhooks_parked",
            f"Webhooks that could not be handled and are kept; {PARKED_COUNTED} means so many or more.",
            labels=("store",),
        )
        for store, number in self._queries.parked_by_store(self._stores, PARKED_COUNTED).items():
            parked.add_metric([store], number)
        yield parked
        problems = GaugeMetricFamily(
            "connector_problems", "Problems that there are now, by kind, as the alerts tell them.", labels=("kind",)
        )
        open_now = Counter(problem.key.partition(":")[0] for problem in self._queries.open_problems())
        for kind in sorted(KINDS | {SILENT} | open_now.keys()):
            problems.add_metric([kind], open_now[kind])
        yield problems


def _sent(numbers: list[Statistic]) -> Iterator[Metric]:
    """What only grows: see `connector.monitoring.event_stats` for what is counted when."""
    who = ("store", "pixel", "event")
    for what, (name, words) in _SENT.items():
        sent = CounterMetricFamily(name, words, labels=(*who, "outcome", "code"))
        for one in numbers:
            if one.what == what:
                outcome, _, code = one.detail.partition(" ")
                sent.add_metric([one.store, one.pixel, one.event, outcome, code], one.count)
        yield sent
    value = CounterMetricFamily(
        "connector_events_value", "The value of accepted events, in units of the currency.", labels=(*who, "currency")
    )
    keys = CounterMetricFamily(
        "connector_events_match_keys", "Accepted events that had a match key.", labels=(*who, "key")
    )
    for one in numbers:
        if one.what == "value":
            value.add_metric([one.store, one.pixel, one.event, one.detail], float(amount(one.count)))
    for names, mine in _grouped(numbers, "keys").items():
        for key, number in match_key_counts(mine).items():
            keys.add_metric([*names, key], number)
    yield from (value, keys, _seconds(_grouped(numbers, "seconds")))


def _seconds(found: Mapping[tuple[str, str, str], list[Statistic]]) -> Metric:
    seconds = HistogramMetricFamily(
        "connector_shop_to_tiktok_seconds",
        "From what happened in the shop until TikTok accepted it; TikTok merges copies that come within 300 seconds.",
        labels=("store", "pixel", "event"),
    )
    for names, mine in found.items():
        inside = {one.detail: one.count for one in mine}
        below, buckets = 0, []
        for bound in BUCKETS:
            below += inside.get(bound, 0)
            buckets.append((bound if bound == BEYOND else f"{bound}.0", float(below)))
        seconds.add_metric([*names], buckets, float(inside.get("sum", 0)))
    return seconds


def _grouped(numbers: Iterable[Statistic], what: str) -> dict[tuple[str, str, str], list[Statistic]]:
    found: dict[tuple[str, str, str], list[Statistic]] = defaultdict(list)
    for one in numbers:
        if one.what == what:
            found[one.store, one.pixel, one.event].append(one)
    return found
