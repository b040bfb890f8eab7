"""Finds the current problems in the database. The cost of each query is bounded, whatever the number of rows.

    denied       TikTok denies a pixel's token, so its lane is suspended
    lag          events of a pixel have waited longer than TikTok merges copies
    rejected     TikTok rejected single events within the last day
    parked       webhooks that could not be processed, within the last day
    broken       a shop's webhook delivers errors in place of data, since the last data within the last day
    signatures   several invalid signatures within this hour and the previous one
    testing      a test_event_code has been set for a day
    silent       a store has sent no webhooks for longer than its history explains
    uninstalled  a shop has uninstalled the app within the last day
    export       a shopper's request for their data has not been answered
    erasing      an erasure that a shop requested is not done after an hour
    accuracy     less than 99 % of the orders of a day were sent or deliberately skipped
    skipped      every webhook about an order of the last day was skipped, and nobody has chosen that
    reconcile    a store's round of reconciliation is overdue
    notices      what a shop's webhooks named could not be fetched for five minutes
    platform     a store's platform cannot be loaded, so its webhooks are answered 503
    alerts       an address that alerts are sent to has taken none for an hour
    relay        events are due, but no relay is running (also reported by the web processes)

Problems found through a shop's API (shop, webhooks, gaps, withheld) are reported by `connector.sync.reconcile`.

Times are Unix seconds. Raises CannotStore.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

import sqlalchemy as sa

from connector.core.registry import installed_platforms
from connector.core.store import Store
from connector.core.text import how_many, utc_minute
from connector.core.units import DAY, HOUR, MERGE_WINDOW
from connector.core.webhook import BrokenWebhook
from connector.monitoring.accuracy import Accuracy
from connector.monitoring.alerts import Problem
from connector.monitoring.event_stats import EventStats
from connector.monitoring.inactivity import SHORTEST, Inactivity, detect_inactivity
from connector.monitoring.rounds import MISSED, RoundWatch
from connector.monitoring.skips import ENOUGH, RELAYED, SKIPPED, skips_of
from connector.monitoring.webhook_stats import WebhookStats
from connector.outbox.lanes import Lane
from connector.outbox.notices import NoticeTable
from connector.outbox.queries import OpenProblem, OutboxQueries
from connector.storage.database import Database
from connector.storage.tables import alert_addresses, counters, demands, events, funnel_lanes, parked

KINDS = frozenset({"denied", "lag", "rejected", "parked", "signatures", "testing", "relay"})
KINDS |= {"uninstalled", "export", "erasing", "reconcile", "broken", "accuracy", "platform"}
KINDS |= {"notices", "alerts", "skipped"}
SILENT = "silent"

INVALID_SIGNATURES = 3
RELAY_SILENT = 60.0  # seconds without a heartbeat after which a relay counts as dead
OVERDUE = 60.0  # seconds that events can be due without a relay before it is a problem
MAX_ROWS = 100  # events read per lane, the longest due first
ROUND_BEGINS = 90.0  # seconds in which a relay that has just started begins the rounds that are due
LAST_ORDERS = 5  # orders in a row without personal data, after which the app's permissions are at fault
COUNTED = 1000  # rows counted; above that the text says "1000 or more"
NO_RELAY = Problem(
    "relay", "events are due but no relay is running, so none is sent; start `connector serve` or `connector relay`"
)


class ProblemFinder:
    """Finds the problems of the configured stores."""

    def __init__(self, database: Database, stores: Mapping[str, Store]) -> None:
        self._database = database
        self._stores = stores
        self._queries = OutboxQueries(database)
        self._webhook_stats = WebhookStats(database)
        self._rounds = RoundWatch(database, stores)
        self._accuracy = Accuracy(database)
        self._notices = NoticeTable(database)

    def find(self, now: float) -> Iterator[Problem]:
        """Yield all problems of KINDS."""
        yield from self._platforms()
        yield from self._lanes(now)
        yield from self._rejected(now)
        yield from self._parked(now)
        yield from self._broken(now)
        yield from self._signatures(now)
        yield from self._testing()
        yield from self._data_requests(now)
        yield from self._low_accuracy(now)
        yield from self._notices_waiting(now)
        yield from self._all_skipped(now)
        yield from self._undelivered_alerts(now)
        for store, since in self._rounds.overdue(now).items():
            yield Problem(
                f"reconcile:{store}",
                f"store {store}: missed orders have not been fetched since {utc_minute(since)}, more than "
                f"{MISSED} intervals late (reconcile); the relay's log says why, and a restart begins a round",
                after=ROUND_BEGINS,
            )
        lanes = {Lane(store.name, pixel.code) for store in self._stores.values() for pixel in store.pixels}
        if overdue(self._queries, lanes, now) is not None:
            yield NO_RELAY

    def find_silent(self, now: float) -> Iterator[Problem]:
        """Yield a problem for each silent store. First counts the webhooks received since the last call."""
        self._webhook_stats.count_up(now)
        for store in self._stores.values():
            last = self._webhook_stats.last(store.name, now)
            if last is None or now - last.at < SHORTEST:
                continue
            if found := detect_inactivity(*self._webhook_stats.hours(store.name, last), last.at, now):
                yield Problem(f"{SILENT}:{store.name}", _inactivity_sentence(store, found))

    def _platforms(self) -> Iterator[Problem]:
        for store in self._stores.values():
            if why := installed_platforms().fault(store.platform):
                yield Problem(
                    f"platform:{store.name}",
                    f"store {store.name}: {why}; its webhooks are answered 503 and other stores go on. Install or mend "
                    "the package, then restart",
                )

    def _lanes(self, now: float) -> Iterator[Problem]:
        states = {(state.lane.store, state.lane.pixel): state for state in self._queries.lane_states()}
        browsers = {}
        if any(store.funnel for store in self._stores.values()):
            browsers = {
                (state.lane.store, state.lane.pixel): state for state in self._queries.lane_states(funnel_lanes)
            }
        for store in self._stores.values():
            for pixel in store.pixels:
                place = f"store {store.name}, pixel {pixel.code}"
                state = states.get((store.name, pixel.code))
                if state and state.suspended_since is not None:
                    yield Problem(
                        f"denied:{store.name}:{pixel.code}",
                        f"{place}: TikTok has denied the token or pixel since "
                        f"{utc_minute(state.suspended_since)} ({state.reason}), so its events wait; "
                        "check pixel and access_token, then restart",
                    )
                elif (since := self._waiting_since(store.name, pixel.code)) is not None and now - since > MERGE_WINDOW:
                    yield Problem(
                        f"lag:{store.name}:{pixel.code}",
                        f"{place}: events have waited for TikTok since {utc_minute(since)}, and after 5 minutes "
                        "TikTok no longer merges them with the browser's; the relay's log shows TikTok's responses",
                    )

                elif (state := browsers.get((store.name, pixel.code))) and state.suspended_since is not None:
                    yield Problem(
                        f"denied:{store.name}:{pixel.code}:funnel",
                        f"{place}: TikTok has denied the events that browsers report since "
                        f"{utc_minute(state.suspended_since)} ({state.reason}), so they wait, a day at most; orders "
                        "are sent. Check the names in the store's [funnel]",
                    )

    def _waiting_since(self, store: str, pixel: str) -> float | None:
        """Return the time (Unix seconds) since which events of a lane have waited, those to be retried included."""
        waiting = (events.c.store == store, events.c.pixel == pixel, events.c.state == "due")
        first = (
            sa.select(sa.func.coalesce(events.c.tried_at, events.c.due_at).label("since"))
            .where(*waiting)
            .order_by(events.c.due_at)
            .limit(MAX_ROWS)
            .subquery()
        )
        with self._database.read() as connection:
            return connection.execute(sa.select(sa.func.min(first.c.since))).scalar()

    def _rejected(self, now: float) -> Iterator[Problem]:
        columns = (events.c.store, events.c.code, events.c.message, events.c.settled_at, events.c.created_at)
        # The condition of the partial index, in the same words: SQLite does not use the index otherwise.
        failed = sa.text("state IN ('rejected', 'expired')")
        query = sa.select(*columns).where(failed, events.c.state == "rejected")
        # An event can wait for days before it is rejected; the index has when they came, and the newest are read.
        read = query.order_by(events.c.created_at.desc()).limit(COUNTED).subquery()
        recent = sa.select(read).where(read.c.settled_at > now - DAY)
        with self._database.read() as connection:
            rows = connection.execute(recent.order_by(read.c.settled_at.desc(), read.c.created_at.desc())).all()
        newest = {row.store: f"{row.code or ''} {row.message or ''}".strip() for row in reversed(rows)}
        for store, number in self._count_by_store(row.store for row in rows):
            yield Problem(
                f"rejected:{store}",
                f"store {store}: TikTok has rejected {number} {'event' if number == '1' else 'events'} within the last "
                f"day, the last with: {newest[store]}; see `connector events list --store {store} --state rejected`",
            )

    def _parked(self, now: float) -> Iterator[Problem]:
        errors = parked.c.reason.startswith(BrokenWebhook.PREFIX, autoescape=True)
        query = sa.select(parked.c.store).where(parked.c.parked_at > now - DAY, ~errors)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(parked.c.parked_at.desc()).limit(COUNTED)).all()
        for store, number in self._count_by_store(row.store for row in rows):
            yield Problem(
                f"parked:{store}",
                f"store {store}: {number} {'webhook' if number == '1' else 'webhooks'} of the last day could not be "
                f"processed and {'is' if number == '1' else 'are'} parked; "
                "`connector events replay --parked --dry-run` shows why",
            )

    def _broken(self, now: float) -> Iterator[Problem]:
        topics: dict[str, dict[str, str]] = {}
        for (store, topic), reason in sorted(self._queries.broken_webhooks(now - DAY).items()):
            topics.setdefault(store, {})[topic] = reason
        for store, found in topics.items():
            if store in self._stores:
                yield Problem(
                    f"broken:{store}",
                    f"store {store}: the shop's webhooks for {', '.join(found)} deliver no data: "
                    f"{next(iter(found.values()))}; `connector webhooks register {store}` replaces them, and "
                    f"`connector backfill {store} --since 2d` fetches what was missed (`reconcile` does both)",
                )

    def _signatures(self, now: float) -> Iterator[Problem]:
        moment = int(now)  # PostgreSQL does not use the index for a comparison with a fraction
        hours = (counters.c.hour > moment - 2 * HOUR, counters.c.hour <= moment)
        query = sa.select(counters.c.store, sa.func.sum(counters.c.count).label("number")).where(
            *hours, counters.c.what == "refused"
        )
        with self._database.read() as connection:
            rows = connection.execute(query.group_by(counters.c.store).order_by(counters.c.store)).all()
        for row in rows:
            if row.number < INVALID_SIGNATURES:
                continue
            if row.store in self._stores:
                where = f"store {row.store}: webhooks"
            elif row.store in {store.platform for store in self._stores.values()}:
                where = f"webhooks to the shared address /webhooks/{row.store}"
            else:
                continue
            yield Problem(
                f"signatures:{row.store}",
                f"{where} are refused because their signatures are invalid; "
                "compare webhook_secrets with the shop's, and make sure that no proxy changes request bodies",
            )

    def _testing(self) -> Iterator[Problem]:
        for store in self._stores.values():
            for pixel in store.pixels:
                if pixel.test_event_code:
                    yield Problem(
                        f"testing:{store.name}:{pixel.code}",
                        f"store {store.name}, pixel {pixel.code}: test_event_code has been set for over a day, so its "
                        "orders go to Test Events and do not count; remove it when you have finished testing",
                        after=DAY,
                    )

    def _data_requests(self, now: float) -> Iterator[Problem]:
        recent = (demands.c.asked_at > now - DAY, demands.c.what == "uninstalled")
        open_ = (demands.c.done_at.is_(None), demands.c.asked_at <= now)
        late = (*open_, sa.or_(demands.c.what == "export", demands.c.asked_at < now - HOUR))
        with self._database.read() as connection:
            rows = [row for which in (recent, late) for row in connection.execute(sa.select(demands).where(*which))]
        for row in rows:
            if row.what == "uninstalled":
                sentence = (
                    "the app was uninstalled, so the shop sends no more webhooks; queued events are still sent; "
                    "leave the store in the stores file until the shop requests its erasure after 48 hours, or run "
                    f"`connector erase --store {row.store} --all`"
                )
            elif row.what == "export":
                sentence = (
                    f"a shopper requested their data on {utc_minute(row.asked_at)}; answer within 30 days with "
                    f"the output of `connector events export --demand {row.id}`"
                )
            else:
                since = utc_minute(row.asked_at)
                sentence = (
                    f"the erasure requested on {since} (data request {row.id}) is not done; look in the relay's log"
                )
            kind = row.what if row.what in KINDS else "erasing"
            yield Problem(f"{kind}:{row.store}:{row.id}", f"store {row.store}: {sentence}")

    def _low_accuracy(self, now: float) -> Iterator[Problem]:
        for store in self._stores.values():
            day = self._accuracy.latest(store.name, now) if store.reconcile else None
            if day and day.low:
                missing = sum(day.missing.values())
                reasons = ", ".join(f"{number} × {reason}" for reason, number in sorted(day.missing.items()))
                yield Problem(
                    f"accuracy:{store.name}",
                    f"store {store.name}: {missing} of the {day.orders} orders of {utc_minute(day.day)[:10]} did not "
                    f"reach TikTok ({reasons}); see `connector accuracy {store.name}`",
                )

    def _notices_waiting(self, now: float) -> Iterator[Problem]:
        for found in self._notices.waiting(self._stores, COUNTED):
            if now - found.since > MERGE_WINDOW:
                number = how_many(found.number, "order or registration", "orders or registrations")
                why = found.error or "the relay's log says why"
                yield Problem(
                    f"notices:{found.store}",
                    f"store {found.store}: {number} that its webhooks named could not be fetched from the shop since "
                    f"{utc_minute(found.since)}, will retry for a day: {why}",
                )

    def _all_skipped(self, now: float) -> Iterator[Problem]:
        found = EventStats(self._database).read(self._stores, (SKIPPED, RELAYED), now - DAY, now + 1, DAY)
        for store in self._stores:
            skips = skips_of(found, store)
            worst = next((one for one in skips.reasons if not one.explanation.is_chosen), None)
            if worst is None or skips.orders_relayed or skips.orders_skipped < ENOUGH:
                continue
            explained = worst.explanation
            remedy = f"; see {explained.setting}" if explained.setting else ""
            meaning = f": {explained.meaning}" if explained.meaning else ""
            yield Problem(
                f"{SKIPPED}:{store}",
                f"store {store}: {skips.words} in the last day, so nothing is sent; {worst.number} because of "
                f'"{worst.reason}"{meaning}{remedy}',
            )

    def _undelivered_alerts(self, now: float) -> Iterator[Problem]:
        query = sa.select(alert_addresses).where(alert_addresses.c.failing_since < now - HOUR)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(alert_addresses.c.label)).all()
        for row in rows:
            yield Problem(
                f"alerts::{row.address}",
                f"messages to {row.label} have not been delivered since {utc_minute(row.failing_since)} ({row.error}); "
                "`connector alerts test` says what to do",
            )

    def _count_by_store(self, stores: Iterator[str]) -> Iterator[tuple[str, str]]:
        for store, number in sorted(Counter(stores).items()):
            if store in self._stores:
                yield store, str(number) if number < COUNTED else f"{COUNTED} or more"


def current_problems(noted: Iterable[OpenProblem], found: Iterable[Problem], now: float) -> list[OpenProblem]:
    """Return the problems at this moment: of KINDS those `found`, of other kinds those `noted`.

    `noted` alone would be outdated after a fix: the watcher stores problems once a minute, and after a restart only
    when it gets the lease.
    """
    fresh = {problem.key: problem for problem in found}
    still = [
        replace(problem, sentence=fresh[problem.key].sentence) if problem.key in fresh else problem
        for problem in noted
        if problem.kind not in KINDS or problem.key in fresh
    ]
    known = {problem.key for problem in still}
    begun = [problem for problem in fresh.values() if problem.key not in known and not problem.after]
    return still + [OpenProblem(problem.key, problem.sentence, now, None) for problem in begun]


def withheld(store: Store) -> Problem:
    """Return the problem that the platform withholds personal data: none of the shop's last orders names a buyer."""
    return Problem(
        f"withheld:{store.name}",
        f"store {store.name}: {installed_platforms().facts(store.platform).withheld}",
    )


def alive(seen: float | None, now: float) -> bool:
    """Return whether a heartbeat is recent. One from far in the future does not count: its clock had jumped."""
    return bool(seen) and abs(now - (seen or 0.0)) < RELAY_SILENT


def overdue(queries: OutboxQueries, lanes: Collection[Lane], now: float) -> float | None:
    """Return the time (Unix seconds) since which events of these lanes have been due without a relay, or None."""
    if alive(queries.relay_seen(), now):
        return None
    due = queries.oldest_due(lanes, now)
    return due if due is not None and now - due > OVERDUE else None


def _inactivity_sentence(store: Store, found: Inactivity) -> str:
    return (
        f"store {store.name}: no webhook since {utc_minute(found.since)}, when about {found.usual} are usual; "
        f"check that the shop is up and its webhooks are active ({store.platform} disables webhooks that fail)"
    )
