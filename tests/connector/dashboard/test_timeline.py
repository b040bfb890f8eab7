"""An event's line of time: its points, how long each took, and the browser beside it."""

from types import SimpleNamespace
from typing import Any

from connector.dashboard.timeline import Step, beacon_steps, copy_steps, timeline
from connector.meter.event_copies import EventCopy
from connector.signals.seen_beacons import SeenBeacon
from tests.support.rows import each_row

HAPPENED = 1_780_000_000.0


def event(**changes: Any) -> Any:
    values: dict[str, Any] = {
        "state": "accepted", "occurred_at": HAPPENED, "created_at": HAPPENED + 3, "tried_at": HAPPENED + 4.5,
        "settled_at": HAPPENED + 5, "due_at": HAPPENED + 3, "attempts": 1, "test_code": "",
    }  # fmt: skip
    return SimpleNamespace(**(values | changes))


def webhook(**changes: Any) -> Any:
    values = {"received_at": HAPPENED + 3, "topic": "orders/paid", "outcome": "relayed", "delivery": "1"}
    return SimpleNamespace(**(values | changes))


def told(*steps: Step) -> list[tuple[str, str, str]]:
    return [(step.name, step.detail, step.after) for step in steps]


def test_from_the_shop_to_tiktok():
    """Each point says how long it took since the one before."""
    assert told(*timeline(event(), [webhook()], [], HAPPENED + 60)) == [
        ("shop", "the event's time", ""),
        ("received, stored", "orders/paid", "3.0 seconds later"),
        ("sent", "", "1.5 seconds later"),
        ("accepted", "TikTok", "0.5 seconds later"),
    ]


def test_the_webhook_is_the_one_that_brought_the_event():
    """Neither an earlier one of the order, nor one that was skipped, nor one that came later."""
    lines = [
        webhook(received_at=HAPPENED + 1, topic="orders/create"),
        webhook(),
        webhook(topic="carts/update", outcome="skipped"),
        webhook(received_at=HAPPENED + 9, topic="orders/updated"),
    ]
    assert told(*timeline(event(), lines, [], HAPPENED))[1] == ("received, stored", "orders/paid", "3.0 seconds later")
    assert told(*timeline(event(), [], [], HAPPENED))[1][0] == "stored"
    (_, fetched, *_) = timeline(event(), [webhook(delivery="reconcile")], [], HAPPENED)
    assert fetched.name == "fetched, stored"


def test_a_parked_webhook_was_received_before_it_was_stored():
    """By the replay."""
    line = timeline(event(), [webhook(received_at=HAPPENED + 1)], [], HAPPENED + 60)
    assert told(*line)[1:3] == [
        ("received", "orders/paid", "1.0 seconds later"),
        ("stored", "by a replay", "2.0 seconds later"),
    ]


@each_row(
    ("changes", "last", "state", "has_time"),
    [
        ({"state": "rejected"}, ("rejected", "TikTok"), "bad", True),
        ({"state": "expired"}, ("expired", "not accepted in time"), "bad", True),
        ({"state": "skipped"}, ("not sent", "deliberately"), "bad", True),
        ({"test_code": "TEST1"}, ("accepted", "Test Events"), "done", True),
        ({"state": "due", "settled_at": None}, ("next attempt", ""), "open", False),
        ({"state": "due", "settled_at": None, "due_at": HAPPENED + 90}, ("next attempt", ""), "open", True),
        ({"state": "due", "settled_at": None, "attempts": 0, "tried_at": None}, ("to be sent", ""), "open", False),
        ({"state": "held", "settled_at": None, "tried_at": None}, ("waiting", "for the browser, until"), "open", True),
    ],
)
def test_how_the_line_ends(changes, last, state, has_time):
    """What has not happened yet has no duration."""
    end = timeline(event(**changes), [webhook()], [], HAPPENED + 60)[-1]
    assert (end.name, end.detail) == last
    assert end.state == state
    assert (end.at is not None) == has_time
    assert bool(end.after) == (state != "open")


def test_several_attempts_are_said():
    assert timeline(event(attempts=3), [webhook()], [], HAPPENED)[2].detail == "first of 3 attempts"


@each_row(
    ("at", "place", "after"),
    [
        (1, 1, "1.0 seconds later"),
        (4, 2, "4.0 seconds later"),
        (99, 4, "99 seconds later"),
        (-6, 0, "6.0 seconds earlier"),
    ],
)
def test_the_browser_stands_where_it_was_in_time(at, place, after):
    """Its duration is since the event; those of the server do not count it."""
    beacon = SeenBeacon(HAPPENED + at, ("ttclid", "ttp"), "granted")
    line = timeline(event(), [webhook()], beacon_steps([beacon]), HAPPENED + 60)
    step = line[place]
    assert (step.state, step.detail, step.after) == ("browser", "consent granted; ttclid, ttp", after)
    assert [one.after for one in line if one.state == "done"] == [
        one.after for one in timeline(event(), [webhook()], [], HAPPENED)
    ]


@each_row(
    ("sender", "was_sent", "said"),
    [
        ("snippet", True, "sent by the snippet"),
        ("other", True, "sent by other code"),
        ("both", True, "sent by the snippet and other code"),
        ("snippet", False, "TikTok's script did not load: not sent"),
    ],
)
def test_the_browsers_own_copy_stands_beside_the_line(sender, was_sent, said):
    """With the code that sent it, as far as a page reported one."""
    line = timeline(event(), [webhook()], copy_steps(EventCopy(HAPPENED + 2, sender, was_sent)), HAPPENED + 60)
    assert (line[1].name, line[1].detail, line[1].after) == ("browser's copy", said, "2.0 seconds later")
    assert copy_steps(None) == []


def test_a_browser_that_comes_while_the_event_waits_stands_before_the_end():
    """What is still to come is the last."""
    waiting = event(state="held", settled_at=None, tried_at=None, due_at=HAPPENED + 300)
    beacon = SeenBeacon(HAPPENED + 10, (), "denied")
    assert [step.name for step in timeline(waiting, [webhook()], beacon_steps([beacon]), HAPPENED + 20)] == [
        "shop", "received, stored", "browser's beacon", "waiting",
    ]  # fmt: skip


def test_clocks_that_differ_do_not_turn_the_line_around():
    """A shop's clock may be ahead."""
    ahead = event(occurred_at=HAPPENED + 20)
    assert told(*timeline(ahead, [webhook()], [], HAPPENED))[:2] == [
        ("shop", "the event's time", ""),
        ("received, stored", "orders/paid", "17 seconds earlier"),
    ]
