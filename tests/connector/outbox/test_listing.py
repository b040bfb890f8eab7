"""Lists say the same as a look at every row, although they read only where something is."""

import random
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from connector.core.units import DAY, HOUR
from connector.monitoring.event_stats import add_counts
from connector.monitoring.webhook_stats import WebhookStats
from connector.outbox import listing as module
from connector.outbox.lanes import Lane
from connector.outbox.listing import EVENT_STATES, WEBHOOK_OUTCOMES, EventChoice, Listing, WebhookChoice
from connector.storage.database import Database
from connector.storage.tables import events, ledger
from tests.support.effort import first_of
from tests.support.outbox_rows import NOW, rows, sha

STORES = ("acme", "beans", "gone")
LANES = (Lane("acme", "CACME"), Lane("beans", "CBEANS"))
SPANS = ((NOW - 40 * DAY, NOW + DAY), (NOW - 3 * DAY, NOW - DAY), (NOW - 5 * HOUR, 1e11), (NOW, NOW))


def add_events(database: Database, chance: random.Random, number: int) -> None:
    """Events of the last ten days in clusters, counted in the hour in which they were answered, or a moment later."""
    with database.write() as connection:
        for place in range(number):
            store = chance.choices(STORES, (8, 1, 4))[0]
            state = chance.choice(["accepted"] * 6 + ["rejected", "expired", "skipped", "due", "held"])
            at = NOW - chance.choice((0, 2, 9)) * DAY - chance.choice((0.0, 1.0, 5.5)) * HOUR - chance.random() * 60
            row: dict[str, Any] = {
                "store": store, "pixel": f"C{store.upper()}", "event": chance.choice(("Purchase", "PlaceAnOrder")),
                "event_id": str(place), "object_key": f"order:{place}", "test_code": chance.choice(("", "", "TEST1")),
                "state": state, "due_at": at, "attempts": 1, "occurred_at": at - 9, "created_at": at - 3,
                "settled_at": None if state in ("due", "held") else at, "payload": chance.choice((b"{}", None)),
            }  # fmt: skip
            connection.execute(sa.insert(events).values(row))
            if state in ("accepted", "rejected", "expired"):
                what = "tested" if row["test_code"] else "sent"
                hour = int(at + chance.choice((0, 30))) // HOUR * HOUR
                add_counts(connection, hour, {(store, row["pixel"], what, row["event"], f"{state} 0"): 1})


def wanted(row: Any, choice: EventChoice) -> bool:
    """Whether a row belongs to a list, by the words of its documentation."""
    fits = row.store in choice.stores and choice.event in ("", row.event)
    if choice.state == "waiting":
        return fits and row.state == "due"
    at = row.settled_at if choice.state else row.created_at
    fits = fits and at is not None and choice.since <= at < choice.until
    states = EVENT_STATES.get(choice.state, (row.state,))
    apart = choice.state not in ("accepted", "tested", "failed") or bool(row.test_code) == (choice.state == "tested")
    return fits and row.state in states and apart


@pytest.mark.parametrize("seed", first_of(range(3)))
@pytest.mark.slow
def test_a_list_of_events_has_all_and_no_others(engine: Engine, seed: int) -> None:
    """Of every state, time and store, in order, in parts and counted; those of a removed store are in none."""
    database, chance = Database(engine), random.Random(seed)
    add_events(database, chance, 250)
    lists, known = Listing(database), rows(engine)
    for state in ("", *EVENT_STATES):
        for stores in (("acme", "beans"), ("beans",)):
            for since, until in SPANS:
                choice = EventChoice(state, stores, event=chance.choice(("", "Purchase")), since=since, until=until,
                                     lanes=LANES)  # fmt: skip
                column, latest_first = choice.order
                fitting = [row for row in known if wanted(row, choice)]
                fitting.sort(key=lambda row: (row._mapping[column.name], row.id), reverse=latest_first)
                ids = [row.id for row in fitting]
                found = lists.events(choice, 1000)
                assert [row.id for row in found] == ids, choice
                assert lists.count_events(choice, 1000) == len(ids)
                assert lists.count_events(choice, 3) == min(len(ids), 3)
                if len(ids) > 4:
                    after = (found[3]._mapping[column.name], found[3].id)
                    assert [row.id for row in lists.events(choice, 2, after)] == ids[4:6]
                assert [row.id for part in lists.all_events(choice) for row in part] == ids


@pytest.mark.slow
def test_what_no_statistics_count_is_searched_among_the_latest(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list says since when; the whole of it, for a file, is read all the same."""
    add_events(database, random.Random(7), 250)
    monkeypatch.setattr(module, "MOST_READ", 20)
    lists = Listing(database)
    for state in ("", "skipped"):
        choice = EventChoice(state, STORES, since=NOW - 40 * DAY)
        since = lists.searched_since(choice)
        assert since > choice.since
        found, whole = lists.events(choice, 1000), [row for part in lists.all_events(choice) for row in part]
        column = choice.order[0].name
        assert found == [row for row in whole if row._mapping[column] >= since]
        assert lists.count_events(choice, 1000) == len(found) < len(whole)
    assert lists.searched_since(EventChoice("accepted", STORES, since=5.0)) == 5.0


@pytest.mark.parametrize("seed", first_of(range(3)))
def test_a_list_of_webhooks_has_all_and_no_others(engine: Engine, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those whose outcome has changed since they were counted, and those that are not counted yet."""
    database, chance = Database(engine), random.Random(seed)
    with database.write() as connection:
        for place in range(150):
            at = NOW - chance.choice((0, 2, 9)) * DAY - chance.choice((0.0, 1.0, 5.5)) * HOUR - chance.random() * 60
            row = {
                "store": chance.choices(STORES, (8, 1, 4))[0], "topic": "t", "body_sha256": sha(str(place)),
                "object_key": f"order:{place}", "order_number": "", "reason": "", "received_at": at,
                "delivery": chance.choice(("", "", "backfill")),
                "outcome": chance.choice(["relayed"] * 3 + ["skipped", "recorded", "parked"]),
            }  # fmt: skip
            connection.execute(sa.insert(ledger).values(row))
    WebhookStats(database).count_up(NOW - 4 * HOUR)  # what came later is not counted yet
    with database.write() as connection:
        was_parked = sa.select(ledger.c.id).where(ledger.c.outcome == "parked").limit(5).scalar_subquery()
        connection.execute(sa.update(ledger).where(ledger.c.id.in_(was_parked)).values(outcome="relayed"))
    monkeypatch.setattr("time.time", lambda: NOW - 3 * HOUR)
    lists, known = Listing(database), rows(engine, ledger)
    for kind in ("", *WEBHOOK_OUTCOMES):
        for stores in (("acme", "beans"), ("beans",)):
            for since, until in SPANS:
                choice = WebhookChoice(kind, stores, since, until)
                fitting = [
                    row for row in known
                    if row.store in stores and since <= row.received_at < until
                    and row.outcome in choice.outcomes[0] and row.delivery != "backfill"
                ]  # fmt: skip
                fitting.sort(key=lambda row: (row.received_at, row.id), reverse=True)
                ids = [row.id for row in fitting]
                assert [row.id for row in lists.webhooks(choice, 1000)] == ids, choice
                assert lists.count_webhooks(choice, 1000) == len(ids)
                assert [row.id for part in lists.all_webhooks(choice) for row in part] == ids
