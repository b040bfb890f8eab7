"""`GET /metrics` for Prometheus: the requests counted by the web processes, and figures read from the database.

The cost of a scrape does not grow with the number of events: waiting events are counted up to `COUNTED` in each lane,
and counters are read from `totals` (`monitoring.event_stats`). The relay has no port of its own on a PaaS, so the web
process reports its figures, too. https://prometheus.io/docs/practices/naming/
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from flask import Blueprint, Response, jsonify, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from connector.config.settings import Config
from connector.dashboard.auth import Authenticator, caller_id
from connector.monitoring.accuracy import Accuracy
from connector.monitoring.event_stats import (
    BEYOND,
    BUCKETS,
    DELAYS,
    EventStats,
    Statistic,
    major_units,
    match_key_counts,
)
from connector.monitoring.problems import KINDS, SILENT, alive
from connector.monitoring.snippets import last_report
from connector.outbox.notices import NoticeTable
from connector.outbox.queries import OutboxQueries
from connector.storage.database import CannotStore, Database
from connector.web.request_metrics import RequestMetrics

COUNTED = 10_000  # events; a lane with more is reported as this number
PARKED_COUNTED = 1000  # webhooks; a store with more is reported as this number
PIXEL = ("store", "pixel")
EVENT = ("store", "pixel", "event")
_SENT = {
    "sent": (
        "connector_events_sent",
        "Attempts to send an event, by outcome and TikTok's code; without test events.",
    ),
    "tested": ("connector_test_events_sent", "Attempts to send an event to Test Events, by outcome and TikTok's code."),
}


def pages(
    config: Config, database: Database, request_metrics: RequestMetrics, authenticator: Authenticator
) -> Blueprint:
    """The `/metrics` route; it requires ADMIN_PASSWORD by basic auth if one is set."""
    blueprint = Blueprint("metrics", __name__)
    database_metrics = DatabaseMetrics(database, list(config.stores))

    @blueprint.get("/metrics")
    def metrics() -> Response:
        if not authenticator.disabled and (denial := _check_password(authenticator, config.trusted_proxies)):
            return denial
        registry = CollectorRegistry()
        registry.register(database_metrics)
        text = generate_latest(request_metrics.registry()) + generate_latest(registry)
        return Response(text, content_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})

    return blueprint


def _check_password(authenticator: Authenticator, trusted_proxies: int) -> Response | None:
    """Return the response that denies access, or None if the password is right."""
    try:
        credentials = request.authorization
    except ValueError:  # werkzeug raises it for Base64 of bytes beyond ASCII
        credentials = None
    if credentials is None or credentials.type != "basic":
        return _denial(401, "basic auth is required: any user name, and ADMIN_PASSWORD as the password")
    caller = caller_id(request.remote_addr or "", request.headers.get("X-Forwarded-For", ""), trusted_proxies)
    match authenticator.verify_password(credentials.password or "", caller):
        case "in":
            return None
        case "wait":
            return _denial(429, "too many wrong passwords; try again in five minutes")
        case "wrong":
            return _denial(401, "wrong password; use the value of ADMIN_PASSWORD")


def _denial(status: int, error: str) -> Response:
    response = jsonify(error=error)
    response.status_code = status
    header = {"WWW-Authenticate": 'Basic realm="connector"'} if status == 401 else {"Retry-After": "300"}
    response.headers.update(header)
    return response


class DatabaseMetrics:
    """A Prometheus collector that queries the database at each scrape. `clock` returns Unix seconds."""

    def __init__(self, database: Database, stores: Iterable[str], clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._queries = OutboxQueries(database)
        self._event_stats = EventStats(database)
        self._accuracy = Accuracy(database)
        self._notices = NoticeTable(database)
        self._stores = list(stores)
        self._clock = clock

    def describe(self) -> list[Metric]:
        """Return nothing; without this method the registry would collect once only to learn the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics, or only `connector_database_up 0` if the database does not answer."""
        up = GaugeMetricFamily(
            "connector_database_up", "1 if the database answered; if 0, all metrics read from it are missing."
        )
        try:
            metrics = [*self._queue_metrics(), *self._state_metrics(), *_counters(self._event_stats.totals())]
            up.add_metric([], 1)
        except CannotStore:
            metrics = []
            up.add_metric([], 0)
        yield from [up, *metrics]

    def _queue_metrics(self) -> Iterator[Metric]:
        due = GaugeMetricFamily(
            "connector_events_due",
            "Events waiting to be sent, including those being sent and those to be retried later; "
            f"{COUNTED} means {COUNTED} or more.",
            labels=PIXEL,
        )
        oldest = GaugeMetricFamily(
            "connector_events_oldest_due_seconds", "Seconds since the oldest waiting event became due.", labels=PIXEL
        )
        refused = GaugeMetricFamily(
            "connector_pixel_refused", "1 while TikTok denies the pixel's token or permission.", labels=PIXEL
        )
        now = self._clock()
        for queue in self._queries.queue(COUNTED):
            labels = [queue.lane.store, queue.lane.pixel]
            due.add_metric(labels, queue.number)
            oldest.add_metric(labels, max(0.0, now - queue.oldest) if queue.oldest is not None else 0.0)
            refused.add_metric(labels, queue.suspended_since is not None)
        yield from (due, oldest, refused)

    def _state_metrics(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "connector_relay_alive",
            "1 if a relay sent a heartbeat within the last minute.",
            alive(self._queries.relay_seen(), self._clock()),
        )
        parked = GaugeMetricFamily(
            "connector_webhooks_parked",
            f"Webhooks parked because they could not be processed; {PARKED_COUNTED} means {PARKED_COUNTED} or more.",
            labels=("store",),
        )
        for store, number in self._queries.parked_by_store(self._stores, PARKED_COUNTED).items():
            parked.add_metric([store], number)
        yield parked
        yield from self._notice_metrics()
        problems = GaugeMetricFamily(
            "connector_problems", "Open problems by kind; the same that alerts report.", labels=("kind",)
        )
        open_by_kind = Counter(problem.key.partition(":")[0] for problem in self._queries.open_problems())
        for kind in sorted(KINDS | {SILENT} | open_by_kind.keys()):
            problems.add_metric([kind], open_by_kind[kind])
        yield problems
        yield from self._accuracy_metrics()
        yield from self._snippet_metrics()

    def _notice_metrics(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily(
            "connector_notices_waiting",
            "Orders and registrations that thin webhooks named and that are not fetched from the shop yet; "
            f"{PARKED_COUNTED} means {PARKED_COUNTED} or more.",
            labels=("store",),
        )
        oldest = GaugeMetricFamily(
            "connector_notices_oldest_seconds", "Seconds since the oldest of them was named.", labels=("store",)
        )
        for found in self._notices.waiting(self._stores, PARKED_COUNTED):
            waiting.add_metric([found.store], found.number)
            oldest.add_metric([found.store], max(0.0, self._clock() - found.since))
        yield from (waiting, oldest)

    def _accuracy_metrics(self) -> Iterator[Metric]:
        share = GaugeMetricFamily(
            "connector_orders_arrived_ratio",
            "Share of a day's orders in the shop that were sent or deliberately skipped, of the latest day known.",
            labels=("store",),
        )
        missing = GaugeMetricFamily(
            "connector_orders_missing", "Orders of that day that did not reach TikTok.", labels=("store",)
        )
        for store in self._stores:
            day = self._accuracy.latest(store, self._clock())
            if day is not None and day.share is not None:
                share.add_metric([store], day.share)
                missing.add_metric([store], sum(day.missing.values()))
        yield from (share, missing)

    def _snippet_metrics(self) -> Iterator[Metric]:
        seen = GaugeMetricFamily(
            "connector_snippet_reported_timestamp_seconds",
            "When a page of the shop last reported that the snippet runs in it, in Unix seconds.",
            labels=("store",),
        )
        for store in self._stores:
            at = last_report(self._database, store)
            if at is not None:
                seen.add_metric([store], at)
        yield seen


def _counters(statistics: list[Statistic]) -> Iterator[Metric]:
    """Yield the counters; `connector.monitoring.event_stats` says when each is counted."""
    for what, (name, description) in _SENT.items():
        sent = CounterMetricFamily(name, description, labels=(*EVENT, "outcome", "code"))
        for statistic in statistics:
            if statistic.what == what:
                outcome, _, code = statistic.detail.partition(" ")
                sent.add_metric([*_event_labels(statistic), outcome, code], statistic.count)
        yield sent
    reported = CounterMetricFamily(
        "connector_browser_events",
        "Events that browsers reported, by what became of them: taken, or why not.",
        labels=("store", "milestone", "outcome"),
    )
    for statistic in statistics:
        if statistic.what == "funnel":
            reported.add_metric([statistic.store, statistic.event, statistic.detail], statistic.count)
    yield reported
    fetched = CounterMetricFamily(
        "connector_notices_fetched",
        "Orders and registrations fetched after a thin webhook, by outcome: relayed, skipped, duplicate, recorded, "
        "parked, gone (the shop no longer has it), given_up (after a day).",
        labels=("store", "kind", "outcome"),
    )
    for statistic in statistics:
        if statistic.what == "fetched":
            fetched.add_metric([statistic.store, statistic.event, statistic.detail], statistic.count)
    yield fetched
    yield from _merge_counters(statistics)
    value = CounterMetricFamily(
        "connector_events_value", "Value of accepted events, in major currency units.", labels=(*EVENT, "currency")
    )
    keys = CounterMetricFamily(
        "connector_events_match_keys", "Accepted events that had a match key.", labels=(*EVENT, "key")
    )
    customers = CounterMetricFamily(
        "connector_events_customers",
        "Accepted events of new and returning customers.",
        labels=(*EVENT, "customer_type"),
    )
    for statistic in statistics:
        if statistic.what == "customers":
            customers.add_metric([*_event_labels(statistic), statistic.detail], statistic.count)
        if statistic.what == "value":
            value.add_metric([*_event_labels(statistic), statistic.detail], float(major_units(statistic.count)))
    for labels, group in _group_by_event(statistics, "keys").items():
        for key, number in match_key_counts(group).items():
            keys.add_metric([*labels, key], number)
    yield from (value, keys, customers, _delay_histogram(_group_by_event(statistics, "seconds")))
    yield _part_histogram({whose: _group_by_event(statistics, what) for what, whose in DELAYS.items()})


def _merge_counters(statistics: list[Statistic]) -> Iterator[Metric]:
    copies = CounterMetricFamily(
        "connector_browser_copies",
        "Copies of events that browsers sent, as pages report them, by what TikTok makes of them: merged, dropped, "
        "twice (counted beside the server's), blocked (not sent), browser (the server's did not come).",
        labels=(*EVENT, "outcome"),
    )
    amounts = CounterMetricFamily(
        "connector_browser_values",
        "Events with a value from both sides, by whether it is the same or differs.",
        labels=(*EVENT, "outcome"),
    )
    for statistic in statistics:
        if statistic.what == "copies":
            copies.add_metric([*_event_labels(statistic), statistic.detail], statistic.count)
        elif statistic.what == "amounts":
            amounts.add_metric([*_event_labels(statistic), statistic.detail], statistic.count)
    yield from (copies, amounts)


def _delay_histogram(statistics_by_event: Mapping[tuple[str, str, str], list[Statistic]]) -> Metric:
    histogram = HistogramMetricFamily(
        "connector_shop_to_tiktok_seconds",
        "Seconds from the event in the shop until TikTok accepted it; TikTok merges copies that arrive within 300.",
        labels=EVENT,
    )
    for labels, group in statistics_by_event.items():
        seconds = sum(statistic.count for statistic in group if statistic.detail == "sum")
        histogram.add_metric([*labels], _buckets(group), float(seconds))
    return histogram


def _part_histogram(by_part: Mapping[str, Mapping[tuple[str, str, str], list[Statistic]]]) -> Metric:
    histogram = HistogramMetricFamily(
        "connector_delay_seconds",
        "The parts of that time: the shop's, until its webhook was stored; the connector's, until the first attempt to "
        "send; TikTok's, until it accepted.",
        labels=(*EVENT, "part"),
    )
    for part, statistics_by_event in by_part.items():
        for labels, group in statistics_by_event.items():
            histogram.add_metric([*labels, part.lower()], _buckets(group), None)
    return histogram


def _buckets(statistics: Iterable[Statistic]) -> list[tuple[str, float]]:
    """Return the cumulative numbers by the upper bounds of the buckets."""
    count_by_bucket = {statistic.detail: statistic.count for statistic in statistics}
    cumulative, buckets = 0, []
    for bound in BUCKETS:
        cumulative += count_by_bucket.get(bound, 0)
        buckets.append((bound if bound == BEYOND else f"{bound}.0", float(cumulative)))
    return buckets


def _group_by_event(statistics: Iterable[Statistic], what: str) -> dict[tuple[str, str, str], list[Statistic]]:
    groups: dict[tuple[str, str, str], list[Statistic]] = defaultdict(list)
    for statistic in statistics:
        if statistic.what == what:
            groups[_event_labels(statistic)].append(statistic)
    return groups


def _event_labels(statistic: Statistic) -> tuple[str, str, str]:
    return statistic.store, statistic.pixel, statistic.event
