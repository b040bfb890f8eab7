"""Sending finished events again, and parked webhooks through the current code."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from connector.config import Config
from connector.desk import Choice, Desk
from connector.intake import Intake
from connector.outbox import Outbox
from connector.parking import Unopenable
from connector.relay import DEDUPLICATED
from connector.webhook import Platform

MOST = 1_000_000


@dataclass
class Report:
    """How many were made due again, and why the others were not."""

    replayed: int = 0
    refused: Counter[str] = field(default_factory=Counter)


def replay_events(config: Config, desk: Desk, choice: Choice, dry_run: bool, force: bool) -> Report:
    """Make the chosen finished events due again, with the same event_id and the same bytes."""
    report, now = Report(), datetime.now(UTC).timestamp()
    ready: list[int] = []
    for row in desk.find(choice, MOST):
        if why := _why_not(config, row, now, force):
            report.refused[why] += 1
        else:
            ready.append(row.id)
    for start in range(0, len(ready), 500):
        part = ready[start : start + 500]
        report.replayed += len(part) if dry_run else desk.replay(part, now, forget_sent=force)
    return report


def _why_not(config: Config, row: Any, now: float, force: bool) -> str:
    if row.state == "due":
        return "still waiting to be sent"
    if row.state == "accepted":
        return "TikTok has accepted it already; a copy would count twice or be dropped"
    if row.store not in config.stores:
        return f"its store {row.store} is no longer configured"
    if force or row.test_code:
        return ""
    if row.sent_at is not None and now - row.sent_at > DEDUPLICATED:
        return "it may have reached TikTok over 47 hours ago, and a copy would count twice (--force insists)"
    if now - row.occurred_at > config.stores[row.store].age_limit(row.event).total_seconds():
        return "it is older than the store lets events be (max_event_age, browser_pixel; --force insists)"
    return ""


def replay_parked(
    config: Config, desk: Desk, platforms: Mapping[str, Platform], store: str, dry_run: bool
) -> Counter[str]:
    """Each parked webhook through the current code: outcome → how many."""
    intake, outcomes = Intake(config.stores, platforms, Outbox(desk.engine)), Counter[str]()
    for item in desk.parked(store, MOST):
        if dry_run:
            outcomes[f"would be tried: {item.store} {item.topic}: {item.reason}"] += 1
            continue
        try:
            outcome = intake.replay(item)
        except KeyError:
            outcome = f"cannot be tried: store {item.store} is no longer configured"
        except Unopenable as error:
            outcome = f"cannot be opened: {error}"
        outcomes["still parked: " + item.reason if outcome == "parked" else outcome] += 1
    intake.flush()
    return outcomes
