"""The numbers for pages and metrics: what is counted when events are settled, on SQLite and PostgreSQL."""

import json
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from sqlalchemy import Engine

from connector.core.store import Pixel
from connector.core.units import HOUR
from connector.monitoring.event_stats import (
    BOUNDS,
    DELAYS,
    EventStats,
    SettlementStats,
    Statistic,
    major_units,
    match_key_counts,
    median,
    median_delays,
)
from connector.outbox.outbox import Outbox
from connector.outbox.settlement import LeasedEvent, due_again, settled
from connector.storage.database import Database
from connector.storage.tables import events
from tests.support.outbox_rows import LANE, NOW, PIXEL, claim, decision, fill, mapped
from tests.support.rows import each_row

HOUR_OF_NOW = int(NOW) // HOUR * HOUR
ALL = ("sent", "tested", "seconds", "keys", "customers", "value", "received")


def payload(**parts: Any) -> bytes:
    return json.dumps(parts).encode()


def put(
    outbox: Outbox, number: int, body: bytes, pixel: Pixel = PIXEL, age: float = 60, event: str = "Purchase"
) -> None:
    fill(outbox, pixel=pixel)
    at = datetime.fromtimestamp(NOW - age, UTC)
    item = mapped(number, event, pixel, payload=body, occurred_at=at)
    outbox.record(decision(f"{event} {number}", item))


def settle(outbox: Outbox, *verdicts: tuple[str, int | None], at: float = NOW, owner: str = "one") -> list[LeasedEvent]:
    """Claim what is due and settle it, one verdict for each."""
    claimed = claim(outbox, owner, at)
    results = [
        due_again(item, at, at, code, "busy") if state == "again" else settled(item, state, at, code, "", "r")  # type: ignore[arg-type]
        for item, (state, code) in zip(claimed, verdicts, strict=True)
    ]
    tally = SettlementStats(LANE.store, LANE.pixel, claimed, results, at)
    outbox.settle(owner, claimed[0].lease_until, results, tally.write)
    return claimed


def told(engine: Engine, *what: str) -> Counter[str]:
    """What the hour's tallies say, in a line each; the totals must say the same."""
    found = EventStats(Database(engine)).read(["acme"], what or ALL, NOW - HOUR, NOW + 2 * HOUR, HOUR)
    every = [number for number in EventStats(Database(engine)).totals() if number.what in (what or ALL)]
    lines, ever = Counter[str](), Counter[str]()
    for numbers, counted in ((found, lines), (every, ever)):
        for one in numbers:
            counted[f"{one.event} {one.what} {one.detail}".strip()] += one.count
    assert lines == ever
    return lines


def test_an_accepted_event_counts_once_in_every_number(outbox: Outbox, engine: Engine) -> None:
    """Outcome and code, seconds, match keys, value."""
    user = {"email": "a" * 64, "phone": ["b" * 64], "ip": "203.0.113.7", "user_agent": "UA", "ttclid": ""}
    put(outbox, 1, payload(user=user, properties={"value": 49.95, "currency": "EUR"}))
    settle(outbox, ("accepted", 0))
    assert told(engine) == {
        "Purchase sent accepted 0": 1,
        "Purchase seconds 60": 1,
        "Purchase seconds sum": 60,
        "Purchase keys email phone ip+user_agent": 1,
        "Purchase value EUR": 499_500,
    }


def test_values_add_up_exactly(outbox: Outbox, engine: Engine) -> None:
    """Ten times ten cents is one, whatever floats think of it."""
    for number in range(10):
        put(outbox, number, payload(properties={"value": 0.1, "currency": "EUR"}))
    put(outbox, 11, b'{"properties":{"value":0.3333,"currency":"BHD"}}')
    settle(outbox, *[("accepted", 0)] * 11)
    sums = told(engine, "value")
    assert sums == {"Purchase value EUR": 10_000, "Purchase value BHD": 3333}
    assert (major_units(10_000), major_units(3333)) == (Decimal("1.00"), Decimal("0.3333"))
    assert str(major_units(10_000)) == "1.00"


@each_row(
    ("units", "currency", "shown"),
    [
        (169_690, "KWD", "16.969"),
        (169_700, "KWD", "16.970"),
        (169_690, "USD", "16.969"),
        (169_700, "USD", "16.97"),
        (3333, "KWD", "0.3333"),
        (20_000_000, "JPY", "2000"),
        (15_000, "JPY", "1.5"),
    ],
)
def test_an_amount_has_the_decimals_of_its_currency(units: int, currency: str, shown: str) -> None:
    """Two, three in Kuwait, none in Japan; more only if there are more."""
    assert str(major_units(units, currency)) == shown


def test_what_is_not_accepted_has_an_outcome_and_nothing_more(outbox: Outbox, engine: Engine) -> None:
    """Neither its value nor its keys reached TikTok."""
    for number in range(3):
        put(outbox, number, payload(properties={"value": 5, "currency": "EUR"}))
    settle(outbox, ("rejected", 40002), ("expired", None), ("again", 40100))
    assert told(engine) == {
        "Purchase sent rejected 40002": 1,
        "Purchase sent expired": 1,
        "Purchase sent again 40100": 1,
    }


def test_what_was_claimed_and_not_sent_counts_nothing(outbox: Outbox, engine: Engine) -> None:
    """A relay that is asked to end gives its claim back."""
    put(outbox, 1, b"{}")
    (item,) = claim(outbox, at=NOW)
    result = due_again(item, NOW, None, None, "", counts=False)
    outbox.settle("one", item.lease_until, [result], SettlementStats("acme", PIXEL.code, [item], [result], NOW).write)
    assert told(engine) == {}


def test_a_refused_token_is_an_outcome_of_its_own(outbox: Outbox, engine: Engine) -> None:
    """It says nothing about the event."""
    put(outbox, 1, b"{}")
    (item,) = claim(outbox, at=NOW)
    result = due_again(item, NOW, None, 40105, "revoked", counts=False)
    outbox.settle("one", item.lease_until, [result], SettlementStats("acme", PIXEL.code, [item], [result], NOW).write)
    assert told(engine) == {"Purchase sent denied 40105": 1}


def test_test_events_are_kept_apart(outbox: Outbox, engine: Engine) -> None:
    """They are no orders that count."""
    pixel = Pixel(PIXEL.code, PIXEL.access_token, "TEST1")
    put(outbox, 1, payload(properties={"value": 5, "currency": "EUR"}), pixel)
    settle(outbox, ("accepted", 0))
    assert told(engine) == {"Purchase tested accepted 0": 1}


def test_only_what_was_still_its_own_is_counted(outbox: Outbox, engine: Engine) -> None:
    """Another relay counts the events it took over."""
    put(outbox, 1, b"{}")
    slow = claim(outbox, "slow", NOW)
    settle(outbox, ("accepted", 0), at=NOW + 61, owner="swift")
    results = [settled(item, "accepted", NOW + 62, 0, "", "r") for item in slow]
    tally = SettlementStats("acme", PIXEL.code, slow, results, NOW + 62)
    assert outbox.settle("slow", slow[0].lease_until, results, tally.write) == 0
    assert told(engine, "sent") == {"Purchase sent accepted 0": 1}


def test_numbers_add_up_over_settlings_and_hours(outbox: Outbox, engine: Engine) -> None:
    """By the hour for charts, since ever for metrics."""
    for number, at in enumerate((NOW, NOW, NOW + HOUR)):
        put(outbox, number, b"{}")
        settle(outbox, ("accepted", 0), at=at)
    tallies = EventStats(Database(engine))
    by_hour = tallies.read(["acme"], ["sent"], NOW, NOW + 2 * HOUR, HOUR)
    assert [(one.at, one.count) for one in sorted(by_hour, key=lambda one: one.at)] == [
        (HOUR_OF_NOW, 2),
        (HOUR_OF_NOW + HOUR, 1),
    ]
    (day,) = tallies.read(["acme"], ["sent"], NOW, NOW + 2 * HOUR, 24 * HOUR)
    assert (day.at, day.count) == (HOUR_OF_NOW // 86400 * 86400, 3)
    assert [one.count for one in tallies.totals() if one.what == "sent"] == [3]
    assert tallies.read(["other"], ["sent"], NOW, NOW + 2 * HOUR, HOUR) == []
    assert tallies.read(["acme"], ["sent"], NOW + 2 * HOUR, NOW + 3 * HOUR, HOUR) == []


JUNK = [
    b"", b"[]", b"{", b'{"user":[],"properties":1}', b'{"properties":{"value":"many","currency":1}}', b"\xff",
    b'{"properties":{"value":1e400,"currency":"EUR"}}', b'{"properties":{"value":1e999999999,"currency":"EUR"}}',
    b'{"properties":{"value":-1e30}}', b"[" * 5000, b'{"properties":{"value":"NaN"}}',
]  # fmt: skip


@pytest.mark.parametrize("body", JUNK, ids=range(len(JUNK)))
def test_no_payload_keeps_an_event_from_being_settled(outbox: Outbox, engine: Engine, body: bytes) -> None:
    """A number may be missing, an event never."""
    put(outbox, 1, body)
    settle(outbox, ("accepted", 0))
    assert told(engine, "sent", "value") == {"Purchase sent accepted 0": 1}


@pytest.mark.parametrize("strange", [{"payload": None}, {"occurred_at": float("nan")}, {"occurred_at": -float("inf")}])
def test_whatever_cannot_be_counted_is_settled(
    outbox: Outbox, engine: Engine, strange: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """TikTok has it: an event that could not be settled for a number's sake would be sent again."""
    put(outbox, 1, b"{}")
    (item,) = claim(outbox)
    result = settled(item, "accepted", NOW, 0, "", "r")
    tally = SettlementStats(LANE.store, LANE.pixel, [structs.replace(item, **strange)], [result], NOW)
    assert outbox.settle("one", item.lease_until, [result], tally.write) == 1
    assert told(engine) == {}
    assert "could not count an event" in caplog.text


def test_a_value_too_small_to_count_is_nothing(outbox: Outbox, engine: Engine) -> None:
    """Nor does it stop anything."""
    put(outbox, 1, b'{"properties":{"value":1e-999999999,"currency":"EUR"}}')
    settle(outbox, ("accepted", 0))
    assert told(engine, "value") == {"Purchase value EUR": 0}


def test_a_sum_that_is_full_stays_as_it_is(outbox: Outbox, engine: Engine) -> None:
    """No overflow ever keeps events from being settled."""
    huge = payload(properties={"value": 99_999_999_999, "currency": "VND"})
    with engine.begin() as connection:
        for table in ("tallies", "totals"):
            hour = (", hour", f", {HOUR_OF_NOW}") if table == "tallies" else ("", "")
            connection.exec_driver_sql(
                f"INSERT INTO {table} (store, what, pixel, event, detail, count{hour[0]}) "
                f"VALUES ('acme', 'value', '{PIXEL.code}', 'Purchase', 'VND', {8 * 10**18}{hour[1]})"
            )
    put(outbox, 1, huge)
    settle(outbox, ("accepted", 0))
    assert told(engine, "sent", "value") == {"Purchase sent accepted 0": 1, "Purchase value VND": 8 * 10**18}


@pytest.mark.parametrize(
    ("age", "bucket"), [(-5, "1"), (1, "1"), (1.5, "2"), (300, "300"), (301, "900"), (1e6, "+Inf")]
)
def test_seconds_go_into_the_bucket_that_holds_them(outbox: Outbox, engine: Engine, age: float, bucket: str) -> None:
    """300 seconds still merge with the browser's copy; a shop's clock that is ahead counts as no time at all."""
    put(outbox, 1, b"{}", age=age)
    settle(outbox, ("accepted", 0))
    assert told(engine, "seconds")[f"Purchase seconds {bucket}"] == 1


def test_the_delay_is_split_into_the_shops_ours_and_tiktoks(outbox: Outbox, engine: Engine) -> None:
    """Until the webhook was stored, until the first attempt, until TikTok accepted; also after attempts that failed."""
    put(outbox, 1, b"{}", age=100)
    with engine.begin() as connection:
        connection.execute(sa.update(events).values(created_at=NOW - 60, tried_at=NOW - 2.5))
    settle(outbox, ("accepted", 0))
    assert told(engine, *DELAYS) == {
        "Purchase delay_shop 60": 1, "Purchase delay_connector 60": 1, "Purchase delay_tiktok 5": 1,
    }  # fmt: skip
    found = EventStats(Database(engine)).read(["acme"], ("seconds", *DELAYS), NOW - HOUR, NOW + HOUR, HOUR)
    assert median_delays(found) == {
        "seconds": 180.0, "delay_shop": 45.0, "delay_connector": 45.0, "delay_tiktok": 3.5,
    }  # fmt: skip


def test_two_relays_that_settle_at_once_lose_no_number(outbox: Outbox, engine: Engine) -> None:
    """Every upsert adds to what the other has written."""
    for number in range(6):
        put(outbox, number, b"{}", event="Purchase" if number % 2 else "PlaceAnOrder")
    parts = [claim(outbox, owner, NOW, limit=3) for owner in ("one", "two")]
    for owner, part in zip(("one", "two"), parts, strict=True):
        results = [settled(item, "accepted", NOW, 0, "", "r") for item in part]
        outbox.settle(
            owner, part[0].lease_until, results, SettlementStats("acme", PIXEL.code, part, results, NOW).write
        )
    assert told(engine, "sent") == {"Purchase sent accepted 0": 3, "PlaceAnOrder sent accepted 0": 3}


def test_coverage_is_counted_key_by_key() -> None:
    """Of words that name what an event had."""
    numbers = [Statistic("acme", "keys", "P", "Purchase", words, 0, count) for words, count in
               (("email phone", 3), ("email ip+user_agent", 2), ("", 4), ("unheard-of", 1))]  # fmt: skip
    assert match_key_counts(numbers) == {
        "email": 5, "phone": 3, "external_id": 0, "ip+user_agent": 2, "ttclid": 0, "ttp": 0,
    }  # fmt: skip


def test_median_lies_in_the_bucket_that_holds_the_middle() -> None:
    """In between as far as the bucket's share goes."""
    assert median({}) is None
    assert median({"sum": 9}) is None
    assert median({"10": 2}) == 7.5
    assert median({"1": 5, "2": 5, "sum": 3}) == 1
    assert median({"+Inf": 1}) == BOUNDS[-1]


@given(st.dictionaries(st.sampled_from([*map(str, BOUNDS), "+Inf", "sum"]), st.integers(0, 10**9)))
def test_median_is_one_of_the_seconds_there_are(buckets: dict[str, int]) -> None:
    """Never beyond the last bound, and never raises."""
    found = median(buckets)
    assert found is None or 0 <= found <= BOUNDS[-1]


def test_reading_goes_by_an_index(sqlite_engine: Engine) -> None:
    """Three months of hours of another store cost nothing."""
    query = "SELECT sum(count) FROM tallies WHERE store IN ('a') AND what IN ('sent') AND hour >= 1 AND hour < 2"
    with sqlite_engine.connect().execution_options(reading=True) as connection:
        (step,) = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}").all()
    assert "(store=? AND what=? AND hour>? AND hour<?)" in step[-1]


@pytest.mark.parametrize(
    ("said", "counted"), [("new", {"new": 1}), ("returning", {"returning": 1}), ("other", {}), (None, {})]
)
def test_new_and_returning_customers_are_counted(outbox: Outbox, said: str | None, counted: dict[str, int]) -> None:
    """Of accepted events, where it is known."""
    put(outbox, 1, payload(properties={"customer_type": said} if said else {}))
    settle(outbox, ("accepted", 0))
    found = EventStats(outbox.database).read(["acme"], ["customers"], NOW - HOUR, NOW + HOUR, HOUR)
    assert {one.detail: one.count for one in found} == counted
