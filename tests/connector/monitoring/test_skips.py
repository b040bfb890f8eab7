"""Why webhooks were skipped: each reason of the documentation is explained, and told from those that nobody chose."""

import re
from pathlib import Path

from connector.monitoring.event_stats import Statistic
from connector.monitoring.skips import Skips, explain, first_reason, skips_of
from tests.support.rows import each_row

PAGE = (Path(__file__).parents[3] / "docs/mapping.md").read_text(encoding="utf-8")
TABLE = PAGE.partition("## Why something is skipped")[2].partition("\n## ")[0]
DOCUMENTED = [reason for line in TABLE.splitlines() for reason in re.findall("`([^`]+)`", line.split(" | ")[0])]


def test_every_documented_reason_is_explained() -> None:
    """As `stats` and the overview print it."""
    assert len(DOCUMENTED) > 20
    assert [reason for reason in DOCUMENTED if not explain(reason).meaning] == []


@each_row(
    ("reasons", "first"),
    [
        ("order_placed: no consent: no answer (consent); order_paid: x", "no consent: no answer (consent)"),
        ("Purchase: nothing to match on: no e-mail", "nothing to match on: no e-mail"),
        ("pos orders are not relayed (orders.include)", "pos orders are not relayed (orders.include)"),
        ("", ""),
    ],
)  # fmt: skip
def test_the_first_reason_counts(reasons: str, first: str) -> None:
    """Without the milestone or the event."""
    assert first_reason(reasons) == first


@each_row(
    ("skipped", "relayed", "nearly_all", "words"),
    [
        (160, 0, True, "all 160 order webhooks skipped"),
        (9, 1, True, "9 of 10 order webhooks skipped (90%)"),
        (8, 1, False, "8 of 9 order webhooks skipped (89%)"),
        (999, 1, True, "999 of 1,000 order webhooks skipped (99%)"),
        (0, 0, False, ""),
    ],
)
def test_nearly_all(skipped: int, relayed: int, nearly_all: bool, words: str) -> None:
    """From nine of ten on; the share never says all while one was relayed."""
    found = Skips((), skipped, relayed)
    assert found.are_nearly_all is nearly_all
    assert found.words == words or not words


def test_an_unknown_reason_is_no_choice() -> None:
    """A package's platform may give reasons of its own."""
    assert (explain("the moon is full").meaning, explain("the moon is full").is_chosen) == ("", False)


def test_only_orders_count_for_the_share() -> None:
    """Registrations of guests are skipped in every shop."""
    found = skips_of(
        [
            Statistic("acme", "skipped", "", "customer", "the customer has no account", 0, 50),
            Statistic("acme", "skipped", "", "order", "x", 0, 1),
            Statistic("acme", "skipped", "", "order", "x", 86400, 2),
            Statistic("acme", "relayed", "", "order", "", 0, 7),
            Statistic("other", "skipped", "", "order", "x", 0, 9),
        ],
        "acme",
    )
    assert [(one.reason, one.number) for one in found.reasons] == [("the customer has no account", 50), ("x", 3)]
    assert (found.total, found.orders_skipped, found.orders_relayed) == (53, 3, 7)
