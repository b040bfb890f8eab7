"""What the dashboard says of events: states, codes, the merge window, times."""

from types import SimpleNamespace
from typing import Any

import pytest

from connector.core.store import Pixel, Store
from connector.core.text import duration
from connector.dashboard import labels
from connector.outbox.queries import OpenProblem
from tests.support.factories import CODE, PLAIN_EVENT_IDS, a_store
from tests.support.rows import each_row

HAPPENED = 1_780_000_000.0
HOUR = 3600.0


def store(**changes: Any) -> Store:
    return a_store(event_id=PLAIN_EVENT_IDS, **changes)


def problem(key: str, sentence: str) -> OpenProblem:
    return OpenProblem(key, sentence, HAPPENED, None)


def event(**changes: Any) -> Any:
    values: dict[str, Any] = {
        "state": "accepted", "occurred_at": HAPPENED, "settled_at": HAPPENED + 4, "test_code": "", "code": 0,
        "attempts": 1, "due_at": HAPPENED, "lease_owner": None, "lease_until": None, "pixel": CODE,
    }  # fmt: skip
    return SimpleNamespace(**(values | changes))


@each_row(
    ("late", "said"),
    [
        (-3, "Accepted 0.0 seconds after it happened: within 5 minutes"),
        (300, "Accepted 5 minutes after it happened: within 5 minutes"),
        (301, "after the 5 minutes for merging"),
        (48 * HOUR, "TikTok drops this one"),
        (49 * HOUR, "after 48 hours TikTok no longer drops copies"),
    ],
)
def test_the_merge_window_is_judged_where_the_browser_sends_too(late: float, said: str) -> None:
    """Five minutes to merge, two days to be dropped."""
    assert said in labels.merging(event(settled_at=HAPPENED + late), store(browser_pixel="own"))


def test_without_a_browsers_copy_there_is_nothing_to_merge() -> None:
    """Nor of a store that is gone, a test event, or one that TikTok has not accepted."""
    assert "No browser copy is expected" in labels.merging(event(), store())
    assert "No browser copy is expected" in labels.merging(event(), None)
    offline = store(browser_pixel="own", pixels=(Pixel("7012345678901234567", "t", source="offline"),))
    found = event(pixel="7012345678901234567")
    assert labels.merging(found, offline).endswith("No browser sends to an offline event set.")
    assert (labels.is_offline(found, offline), labels.is_offline(event(), offline)) == (True, False)
    assert labels.merging(event(test_code="TEST1"), store(browser_pixel="own")) == ""
    assert labels.merging(event(state="rejected"), store(browser_pixel="own")) == ""


@each_row(
    ("changes", "said"),
    [
        ({}, "TikTok has accepted it."),
        ({"state": "rejected", "code": 40002}, "does not accept one of the event's fields. Fix the cause"),
        ({"state": "rejected", "code": 49999}, "see its message below"),
        ({"state": "expired"}, "did not accept it in time"),
        ({"state": "skipped", "message": "no consent"}, "Deliberately not sent: no consent."),
        ({"state": "held"}, "Waiting for signals from the shopper's browser"),
        ({"state": "due", "attempts": 0}, "Waiting to be sent."),
        ({"state": "due", "attempts": 2, "code": 40100}, "Waiting for the next attempt: TikTok is busy."),
        ({"state": "due", "attempts": 1}, "Waiting for the next attempt: TikTok has not accepted it yet."),
        (
            {"state": "due", "attempts": 0, "due_at": HAPPENED + 90},
            "Waiting briefly for signals",
        ),
        ({"state": "due", "lease_owner": "a", "lease_until": HAPPENED + 90}, "Being sent now."),
        ({"state": "due", "lease_owner": "a", "lease_until": HAPPENED}, "Waiting for the next attempt: "),
    ],
)
def test_a_state_is_a_sentence(changes: dict[str, Any], said: str) -> None:
    """With what to do, where there is something to do."""
    assert said in labels.state_sentence(event(**({"code": None} | changes)), HAPPENED + 1)


@each_row(("code", "said"), [(None, ""), (0, ""), (50001, "internal error at TikTok"), (41000, "")])
def test_a_code_nobody_knows_is_not_explained(code: int | None, said: str) -> None:
    """Those of TikTok's own faults are."""
    assert labels.meaning(code) == said


@each_row(
    ("seconds", "said"),
    [(0.04, "0.0 seconds"), (12, "12 seconds"), (119, "119 seconds"), (120, "2 minutes"), (7200, "2 hours"),
     (172_800, "2 days")],
)  # fmt: skip
def test_a_time_has_the_unit_that_fits(seconds: float, said: str) -> None:
    """Never "1 minutes"."""
    assert duration(seconds) == said


def test_a_problem_is_told_without_the_store_it_is_shown_at() -> None:
    """Commands are set apart."""
    assert labels.problem_parts(problem("lag:acme:C", "store acme, pixel C: late; see `connector check`"), "acme") == [
        ("text", "Pixel C: late; see "),
        ("command", "connector check"),
    ]
    assert labels.problem_parts(problem("lag:acme:C", ""), "acme") == []


@pytest.mark.parametrize(("kind", "page"), [("parked", "parked"), ("rejected", "failed")])
def test_where_a_button_helps_a_problem_leads_to_it(kind: str, page: str) -> None:
    """The command stays as the second way, whatever TikTok's words are."""
    sentence = "store acme: 2 webhooks; odd `words`; `connector events list` says why"
    said, link, then, command = labels.problem_parts(problem(f"{kind}:acme", sentence), "acme")
    assert said == ("text", "2 webhooks; odd `words`. ")
    assert (link[0], then, command) == (page, ("text", ", or "), ("command", "connector events list"))


def test_a_remembered_key_is_named_with_its_time() -> None:
    """Not of an event that was never sent, and nothing of its own keys."""
    assert labels.remembered(event(ttclid_from=None, ttp_from=None)) == ""
    one = labels.remembered(event(ttclid_from=HAPPENED, ttp_from=None))
    assert one.endswith("remembered from an earlier visit (remember_clicks): ttclid, given 2026-05-28 20:26 UTC.")
    both = event(ttclid_from=HAPPENED, ttp_from=HAPPENED + 60)
    assert "; ttp, given 2026-05-28 20:27 UTC" in labels.remembered(both)
    assert labels.remembered(event(ttclid_from=HAPPENED, ttp_from=None, state="skipped")) == ""
