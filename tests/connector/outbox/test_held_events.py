"""The end of a wait: who may end it, what is left, and what the commands say of it."""

import threading
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import event

from connector.devtools.preview import preview
from connector.mapping.consent import CONSENT_MISSING
from connector.outbox import held_events as module
from connector.outbox.held_events import HeldEventsJob, HoldExpiry
from connector.privacy.retention import RetentionStore
from connector.relay.relay import MAX_AHEAD
from connector.storage.database import CannotStore, Database
from connector.storage.tables import events
from platforms.shopify import samples as shopify_samples
from tests.support.checkouts import ASKING, NOTHING_TO_MATCH, SHOP, UNTOLD, Way, shopper
from tests.support.platforms import PLATFORMS
from tests.support.rows import each_row


@pytest.fixture
def asking(engine):
    """A shop whose shoppers must say yes, with an order that waits for one."""
    way = Way(engine, ASKING)
    way.webhook("orders/create", **UNTOLD)
    return way


def test_a_wait_ends_when_it_is_over_and_not_before(asking):
    """Its end is the store's hold after the webhook."""
    assert asking.holds.end(asking.now + 4.9) == 0
    assert asking.holds.end(asking.now + 5) == 1
    assert asking.holds.end(asking.now + 5) == 0


def test_a_wait_that_a_wrong_clock_wrote_ends(asking):
    """Further ahead than anything may lie, as the relay sees it, too."""
    with asking.engine.begin() as connection:
        connection.execute(events.update().values(due_at=asking.now + MAX_AHEAD + 1))
    assert asking.holds.end(asking.now) == 1


def test_one_that_lacks_nothing_goes(asking):
    """A later release may ask for less than the one that held it back."""
    with asking.engine.begin() as connection:
        connection.execute(events.update().values(consent=""))
    asking.step(6)
    assert asking.states() == {"PlaceAnOrder": "accepted"}


def test_one_that_was_erased_meanwhile(asking):
    """By somebody's wish to be forgotten: nothing fills it again, and it ends like one that knows nobody."""
    with asking.engine.begin() as connection:
        connection.execute(events.update().values(payload=None))
    asking.beacon(consent="granted")
    asking.webhook("orders/updated", financial_status="pending", **UNTOLD)
    (row,) = asking.rows()
    assert (row.state, row.payload) == ("held", None)
    asking.step(6)
    assert asking.states() == {"PlaceAnOrder": "skipped"}


def test_more_than_a_batch(asking, monkeypatch):
    """The rest comes with the next look."""
    monkeypatch.setattr(module, "BATCH", 2)
    for number in range(4):
        asking.webhook("orders/create", id=number + 1, checkout_token=f"checkout-{number}", **UNTOLD)
    assert [asking.holds.end(asking.now + 6) for _ in range(4)] == [2, 2, 1, 0]
    assert {row.state for row in asking.rows()} == {"skipped"}


def test_the_ledger_says_skipped_only_when_nothing_is_left(engine):
    """An order that was sent, and of which a later event was skipped, was relayed."""
    way = Way(engine, ASKING)
    way.beacon(consent="granted")
    way.webhook("orders/create", **UNTOLD)
    way.step()
    way.beacon(consent="denied")
    way.webhook("orders/paid", **UNTOLD)
    way.step()
    assert way.states() == {"PlaceAnOrder": "accepted", "Purchase": "skipped"}
    assert [outcome for _, outcome, _ in way.lines()] == ["relayed", "relayed"]
    assert way.lines()[-1][2].startswith("Purchase: no consent")


def test_other_orders_keep_their_lines(asking):
    """Only those of the order that was skipped are told anew."""
    asking.webhook(
        "orders/create", id=2, checkout_token=None, note_attributes=[{"name": "tiktok_consent", "value": "yes"}]
    )
    asking.step(6)
    assert sorted(outcome for _, outcome, _ in asking.lines()) == ["relayed", "skipped"]


def test_the_key_of_a_skipped_event_is_forgotten_in_the_end(asking):
    """Like that of any finished event."""
    asking.step(6)
    retention = RetentionStore(Database(asking.engine))
    assert retention.forget_keys(asking.now) == 0
    assert retention.forget_keys(asking.now + 1) == 1
    assert asking.rows() == []


def test_nothing_is_looked_for_row_by_row(sqlite_engine):
    """However many events there are: a beacon, a webhook and a look for ended waits use indexes."""
    way, seen = Way(sqlite_engine, ASKING), []

    def plan(connection, _cursor, statement, parameters, *_):
        if statement.startswith(("SELECT", "UPDATE", "DELETE")) and ("events" in statement or "signals" in statement):
            asked = connection.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            seen.extend(row[-1] for row in asked.fetchall())

    event.listen(way.engine, "before_cursor_execute", plan)
    way.webhook("orders/create", **UNTOLD)
    way.webhook("orders/updated", **UNTOLD)
    way.beacon()
    way.holds.end(way.now + 6)
    event.remove(way.engine, "before_cursor_execute", plan)
    assert any("events_checkout" in step for step in seen)
    assert any("events_held" in step for step in seen)
    # Of what is held just now each is looked at, which is few.
    scans = {step for step in seen if step.startswith("SCAN")}
    assert scans <= {"SCAN events USING INDEX events_held", "SCAN CONSTANT ROW"}


def test_the_thread_works_until_it_is_stopped(asking, caplog):
    """It survives a database that does not answer for a while."""
    caplog.set_level("INFO")
    stop, ended = threading.Event(), []

    class Shaky(HoldExpiry):
        def end(self, now):
            ended.append(now)
            if len(ended) == 1:
                raise CannotStore("away")
            if len(ended) == 2:
                raise ValueError("a bug")
            number = super().end(now)
            if not number:
                stop.set()
            return number

    job = HeldEventsJob(Shaky(Database(asking.engine)), interval=0.001, clock=lambda: asking.now + 6)
    thread = threading.Thread(target=job.run, args=(stop,), daemon=True)
    thread.start()
    thread.join(120)
    assert not thread.is_alive()
    assert asking.states() == {"PlaceAnOrder": "skipped"}
    assert "the database does not answer: away" in caplog.text
    (told,) = [record for record in caplog.records if record.message.startswith("skipped")]
    assert (told.store, told.events, told.reason) == ("acme", 1, CONSENT_MISSING)


@each_row(
    ("store", "topic", "changes", "note"),
    [
        (SHOP, "orders/create", {}, "PlaceAnOrder waits up to 5 s for the browser's signals"),
        (ASKING, "orders/create", {}, f"without them it would be skipped ({CONSENT_MISSING})"),
        (SHOP, "checkouts/create", NOTHING_TO_MATCH, "InitiateCheckout waits up to 20 s"),
        (replace(SHOP, signals=None), "orders/create", {}, ""),
    ],
)
def test_preview_says_that_an_event_waits(store, topic, changes, note):
    """And what it would lack at the end."""
    body = shopify_samples.sample(topic, shopper(datetime.now(UTC)), store) | UNTOLD | changes
    notes = preview(shopify_samples.encode(body), topic, store, PLATFORMS[store.platform])["notes"]
    assert any(note in said for said in notes)
    assert note or not any("waits" in said for said in notes)
