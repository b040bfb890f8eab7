"""A store whose orders are all skipped is healthy otherwise, and sends nothing; on both databases."""

import pytest

from connector.monitoring.problems import ProblemFinder
from connector.monitoring.skips import ENOUGH, explain
from connector.monitoring.webhook_stats import WebhookStats
from connector.outbox.outbox import Outbox
from tests.support.factories import a_store
from tests.support.outbox_rows import NOW, PIXEL, decision, mapped

NOWHERE = explain("no consent: consent_source.key is not set (consent)")
NEVER = "order_placed: no consent: consent_source.key is not set (consent)"


def skip(outbox: Outbox, number: int, reason: str = NEVER) -> None:
    for place in range(number):
        key = f"order:{reason[:20]}{place}"
        outbox.record(decision(key, at=NOW - 60, outcome="skipped", reason=reason, object_key=key))


def found(outbox: Outbox) -> str:
    """The problem of the store with a relay that is alive, or an empty text."""
    WebhookStats(outbox.database).count_up(NOW)
    outbox.heartbeat("one", NOW)
    stores = {"acme": a_store("woocommerce", pixels=(PIXEL,))}
    problems = {problem.key: problem.sentence for problem in ProblemFinder(outbox.database, stores).find(NOW)}
    return problems.get("skipped:acme", "")


def test_it_is_told_with_the_reason_and_the_setting(outbox: Outbox) -> None:
    """From ten webhooks on."""
    skip(outbox, ENOUGH - 1)
    assert found(outbox) == ""
    skip(outbox, ENOUGH)
    assert found(outbox) == (
        "store acme: all 10 order webhooks skipped in the last day, so nothing is sent; 10 because of "
        f'"no consent: consent_source.key is not set (consent)": {NOWHERE.meaning}; see {NOWHERE.setting}'
    )


def test_not_if_one_order_was_relayed(outbox: Outbox) -> None:
    """Then the dashboard shows the share."""
    skip(outbox, ENOUGH)
    outbox.record(decision("sent", mapped("sent"), at=NOW - 60))
    assert found(outbox) == ""


@pytest.mark.parametrize(
    "reason", ["order_paid: events.order_paid is off", "order_placed: pos orders are not relayed (orders.include)"]
)
def test_not_what_a_setting_wants(outbox: Outbox, reason: str) -> None:
    """Somebody has chosen that."""
    skip(outbox, ENOUGH, reason)
    assert found(outbox) == ""
