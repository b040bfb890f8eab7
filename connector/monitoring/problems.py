"""What is wrong just now, found in the database: each problem by a query of bounded cost, however many rows there are.

    denied      TikTok refuses a pixel's token
    lag         a pixel that TikTok takes waits longer than TikTok merges copies
    rejected    TikTok refused single events within the last day
    parked      webhooks that could not be handled, within the last day
    signatures  several refused signatures within this hour and the one before
    testing     a test_event_code that has been set for a day
    silent      a store is quieter than its past explains
    uninstalled  a shop has uninstalled the app, within the last day
    export      a shopper has asked through the shop what is kept of them, and nobody has answered
    erasing     what a shop has asked to be erased is not erased yet
    relay       no relay works (the web says so too, for a dead relay cannot)

What a shop's own API shows (shop, webhooks, gaps, withheld) is reported by `connector.sync.reconcile`.

Times are Unix seconds. Raises CannotStore.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import sqlalchemy as sa

from connector.core.registry import installed_platforms
from connector.core.store import Store
from connector.core.text import utc_minute
from connector.core.units import DAY, HOUR, MERGE_WINDOW
from connector.monitoring.alerts import Problem
from connector.monitoring.inactivity import SHORTEST, Inactivity, detect_inactivity
from connector.monitoring.webhook_stats import WebhookStats
from connector.outbox.queries import OpenProblem, OutboxQueries
from connector.storage.database import Database
from connector.storage.tables import counters, demands, events, parked

KINDS = frozenset({"denied", "lag", "rejected", "parked", "signatures", "testing", "relay"})
KINDS |= {"uninstalled", "export", "erasing"}
SILENT = "silent"

REFUSED_SIGNATURES = 3
RELAY_SILENT = 60.0  # seconds without a heartbeat after which no relay counts as alive
OVERDUE = 60.0  # seconds that events may be due with no relay alive before it is a problem
MAX_ROWS = 100  # rows of a lane, the longest due first
LAST_ORDERS = 5  # that do not say who bought, after which the app is at fault and not the shoppers
COUNTED = 1000  # rows; more are "1000 or more"
NO_RELAY = Problem(
    "relay", "events are due and no relay works, so none is sent; start `connector serve` or `connector relay`"
)


class ProblemFinder:
    """Looks for the problems of the configured stores."""

    def __init__(self, database: Database, stores: Mapping[str, Store]) -> None:
        self._database = database
        self._stores = stores
        self._queries = OutboxQueries(database)
        self._arrivals = WebhookStats(database)

    def find(self, now: float) -> Iterator[Problem]:
        """All problems of KINDS."""
        yield from self._lanes(now)
        yield from self._rejected(now)
        yield from self._parked(now)
        yield from self._signatures(now)
        yield from self._testing()
        yield from self._demands(now)
        if overdue(self._queries, now) is not None:
            yield NO_RELAY

    def find_silent(self, now: float) -> Iterator[Problem]:
        """Stores that are silent. Counts what has come since the last time."""
        self._arrivals.count_up(now)
        for store in self._stores.values():
            last = self._arrivals.last(store.name, now)
            if last is None or now - last.at < SHORTEST:
                continue
            if found := detect_inactivity(*self._arrivals.hours(store.name, last), last.at, now):
                yield Problem(f"{SILENT}:{store.name}", _silent(store, found))

    def _lanes(self, now: float) -> Iterator[Problem]:
        states = {(state.lane.store, state.lane.pixel): state for state in self._queries.lane_states()}
        for store in self._stores.values():
            for pixel in store.pixels:
                place = f"store {store.name}, pixel {pixel.code}"
                state = states.get((store.name, pixel.code))
                if state and state.suspended_since is not None:
                    yield Problem(
                        f"denied:{store.name}:{pixel.code}",
                        f"{place}: TikTok refuses the token or pixel since {utc_minute(state.suspended_since)} "
                        f"({state.reason}), so its events wait; check pixel and access_token, then restart",
                    )
                elif (since := self._waiting_since(store.name, pixel.code)) is not None and now - since > MERGE_WINDOW:
                    yield Problem(
                        f"lag:{store.name}:{pixel.code}",
                        f"{place}: events have waited for TikTok since {utc_minute(since)}, and after 5 minutes "
                        "TikTok no longer merges them with the browser's; look in the relay's log for TikTok's answers",
                    )

    def _waiting_since(self, store: str, pixel: str) -> float | None:
        """Since when the first events in the queue have waited, those included that are tried again later."""
        mine = (events.c.store == store, events.c.pixel == pixel, events.c.state == "due")
        first = (
            sa.select(sa.func.coalesce(events.c.tried_at, events.c.due_at).label("since"))
            .where(*mine)
            .order_by(events.c.due_at)
            .limit(MAX_ROWS)
            .subquery()
        )
        with self._database.read() as connection:
            return connection.execute(sa.select(sa.func.min(first.c.since))).scalar()

    def _rejected(self, now: float) -> Iterator[Problem]:
        columns = (events.c.store, events.c.code, events.c.message)
        failed = sa.text("state IN ('rejected', 'expired')")  # in these words SQLite finds the index
        query = sa.select(*columns).where(failed, events.c.state == "rejected", events.c.created_at > now - DAY)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(events.c.created_at.desc()).limit(COUNTED)).all()
        newest = {row.store: f"{row.code or ''} {row.message or ''}".strip() for row in reversed(rows)}
        for store, number in self._of_each(row.store for row in rows):
            yield Problem(
                f"rejected:{store}",
                f"store {store}: TikTok has rejected {number} of a day's events, the last with: {newest[store]}; "
                f"see `connector events list --store {store} --state rejected`",
            )

    def _parked(self, now: float) -> Iterator[Problem]:
        query = sa.select(parked.c.store).where(parked.c.parked_at > now - DAY)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(parked.c.parked_at.desc()).limit(COUNTED)).all()
        for store, number in self._of_each(row.store for row in rows):
            yield Problem(
                f"parked:{store}",
                f"store {store}: {number} {'webhook' if number == '1' else 'webhooks'} of the last day could not be "
                f"handled and {'is' if number == '1' else 'are'} parked; "
                "`connector events replay --parked --dry-run` says why",
            )

    def _signatures(self, now: float) -> Iterator[Problem]:
        moment = int(now)  # compared with a fraction PostgreSQL would not use the index
        hours = (counters.c.hour > moment - 2 * HOUR, counters.c.hour <= moment)
        query = sa.select(counters.c.store, sa.func.sum(counters.c.count).label("number")).where(
            *hours, counters.c.what == "refused"
        )
        with self._database.read() as connection:
            rows = connection.execute(query.group_by(counters.c.store).order_by(counters.c.store)).all()
        for row in rows:
            if row.number < REFUSED_SIGNATURES:
                continue
            if row.store in self._stores:
                where = f"store {row.store}: webhooks"
            elif row.store in {store.platform for store in self._stores.values()}:
                where = f"webhooks to the shared address /webhooks/{row.store}"
            else:
                continue
            yield Problem(
                f"signatures:{row.store}",
                f"{where} are refused because their signatures are wrong; "
                "compare webhook_secrets with the shop's, and see that no proxy changes bodies",
            )

    def _testing(self) -> Iterator[Problem]:
        for store in self._stores.values():
            for pixel in store.pixels:
                if pixel.test_event_code:
                    yield Problem(
                        f"testing:{store.name}:{pixel.code}",
                        f"store {store.name}, pixel {pixel.code}: test_event_code has been set for over a day, so its "
                        "orders go to Test Events and do not count; take it out if you are done testing",
                        after=DAY,
                    )

    def _demands(self, now: float) -> Iterator[Problem]:
        recent = (demands.c.asked_at > now - DAY, demands.c.what == "uninstalled")
        open_ = (demands.c.done_at.is_(None), demands.c.asked_at <= now)
        late = (*open_, sa.or_(demands.c.what == "export", demands.c.asked_at < now - HOUR))
        with self._database.read() as connection:
            rows = [row for which in (recent, late) for row in connection.execute(sa.select(demands).where(*which))]
        for row in rows:
            if row.what == "uninstalled":
                sentence = (
                    "the app was uninstalled, so no more webhooks come; what is queued is still sent; leave the store "
                    "in the stores file until its erasure is asked for, 48 hours later, or do that with "
                    f"`connector erase --store {row.store} --all`"
                )
            elif row.what == "export":
                sentence = (
                    f"a shopper asked on {utc_minute(row.asked_at)} what is kept of them, to be answered within "
                    f"30 days; `connector events export --demand {row.id}` prints it"
                )
            else:
                since = utc_minute(row.asked_at)
                sentence = f"what was to be erased since {since} (demand {row.id}) is not; see the relay's log"
            kind = row.what if row.what in KINDS else "erasing"
            yield Problem(f"{kind}:{row.store}:{row.id}", f"store {row.store}: {sentence}")

    def _of_each(self, stores: Iterator[str]) -> Iterator[tuple[str, str]]:
        for store, number in sorted(Counter(stores).items()):
            if store in self._stores:
                yield store, str(number) if number < COUNTED else f"{COUNTED} or more"


def current_problems(noted: Iterable[OpenProblem], found: Iterable[Problem], now: float) -> list[OpenProblem]:
    """What there is at this moment: of KINDS what is `found`, begun or not yet noted; of the others what is `noted`.

    The watcher notes once a minute, and after a restart only when it gets the lease: too late for a fix made just now.
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
    """That none of a shop's last orders says who bought; reconciliation and `check` find it."""
    return Problem(
        f"withheld:{store.name}",
        f"store {store.name}: {installed_platforms().facts(store.platform).withheld}",
    )


def alive(seen: float | None, now: float) -> bool:
    """Whether that heartbeat is one of a relay that works; one from the future is that of a clock that jumped."""
    return bool(seen) and abs(now - (seen or 0.0)) < RELAY_SILENT


def overdue(queries: OutboxQueries, now: float) -> float | None:
    """Since when events are due that no relay sends, or None."""
    if alive(queries.relay_seen(), now):
        return None
    due = queries.oldest_due(now)
    return due if due is not None and now - due > OVERDUE else None


def _silent(store: Store, found: Inactivity) -> str:
    return (
        f"store {store.name}: no webhook since {utc_minute(found.since)}, when about {found.usual} are usual; "
        f"see whether the shop is up and its webhooks are active ({store.platform} switches failing ones off)"
    )
