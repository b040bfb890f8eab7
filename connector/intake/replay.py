"""Replay: send finished events again, and handle parked webhooks with the current code."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from connector.config.settings import Config
from connector.core.units import SAFE_RESEND_WINDOW
from connector.core.webhook import NotJson
from connector.intake.intake import Intake
from connector.outbox.encryption import CannotDecrypt
from connector.outbox.ledger import ParkedWebhook
from connector.outbox.queries import EventFilter, OutboxQueries

MAX_EVENTS = 1_000_000
EVENTS_PER_TRANSACTION = 500
PAGE = 50  # parked bodies in memory at once; each can have several MB

PAST_DEDUPLICATION = (
    "it may have reached TikTok over 47 hours ago. TikTok forgets an event_id after 48, so a copy could count twice "
    "(--force sends it anyway)"
)


@dataclass
class ReplayPlan:
    """The events to send again, those sent only because of --force, and counts of the reasons against the others."""

    ready: list[int] = field(default_factory=list)
    forced: list[int] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """The number of events to send again."""
        return len(self.ready) + len(self.forced)


def plan_replay(
    config: Config, queries: OutboxQueries, choice: EventFilter, force: bool, most: int = MAX_EVENTS
) -> ReplayPlan:
    """Decide for each chosen event, newest first, at most `most`. Changes nothing."""
    plan, now = ReplayPlan(), datetime.now(UTC).timestamp()
    for row in queries.find(choice, most):
        reason = _why_not(config, row, now)
        if reason == PAST_DEDUPLICATION and force:
            plan.forced.append(row.id)
        elif reason:
            plan.left_out[reason] += 1
        else:
            plan.ready.append(row.id)
    return plan


def replay_events(queries: OutboxQueries, plan: ReplayPlan, tick: Callable[[int], None] = lambda _: None) -> int:
    """Make the planned events due again, with the same event_id and bytes; return their number."""
    now, replayed = datetime.now(UTC).timestamp(), 0
    for ids, forced in ((plan.ready, False), (plan.forced, True)):
        for start in range(0, len(ids), EVENTS_PER_TRANSACTION):
            part = ids[start : start + EVENTS_PER_TRANSACTION]
            replayed += queries.replay(part, now, forget_sent=forced)
            tick(len(part))
    return replayed


def _why_not(config: Config, row: Any, now: float) -> str:
    if row.state == "due":
        return "still waiting to be sent"
    if row.state == "held":
        return "still waiting for the browser's signals; without consent, or anything to match on, it is skipped"
    if row.state == "skipped":
        return f"it was skipped: {row.message}"
    if row.state == "accepted":
        return "TikTok has accepted it already; a copy would count twice or be dropped"
    if not row.kept:
        return "its payload is no longer kept (keep_payloads)"
    if row.store not in config.stores:
        return f"its store {row.store} is no longer configured"
    if row.test_code:
        return ""
    if now - row.occurred_at > config.stores[row.store].max_event_age.total_seconds():
        return "it is older than the store's max_event_age (which may be set to 28d at most)"
    if row.sent_at is not None and now - row.sent_at > SAFE_RESEND_WINDOW.total_seconds():
        return PAST_DEDUPLICATION
    return ""


def replay_parked(
    intake: Intake,
    queries: OutboxQueries,
    store: str,
    dry_run: bool,
    tick: Callable[[int], None] = lambda _: None,
    most: int = MAX_EVENTS,
    after: int = 0,
    since: float | None = None,
    until: float | None = None,
) -> Counter[str]:
    """Handle a store's parked webhooks with the current code; return the number of each outcome.

    At most `most` with an id above `after`, parked from `since` to `until` (Unix seconds), oldest first. Raises
    CannotStore; the webhooks handled before it remain handled.
    """
    outcomes, last = Counter[str](), after
    while page := queries.parked(store, min(PAGE, most - outcomes.total()), last, since, until):
        for item in page:
            outcomes[_planned(item) if dry_run else _outcome(intake, item)] += 1
            tick(1)
        last = page[-1].id
    intake.counters.flush()
    return outcomes


def _planned(item: ParkedWebhook) -> str:
    return f"would be tried: {item.store} {item.topic}: {item.reason}"


def _outcome(intake: Intake, item: ParkedWebhook) -> str:
    try:
        outcome = intake.replay(item)
    except KeyError:
        return f"cannot be tried: store {item.store} is no longer configured"
    except CannotDecrypt as error:
        return f"cannot be opened: {item.store}: {error}"
    except NotJson as error:
        return f"still parked: {item.store} {item.topic}: {error}"
    return f"still parked: {item.store} {item.topic}: {item.reason}" if outcome == "parked" else outcome
