"""Erasing a person: what a shop asks for is done once and whole, and nothing of it is sent any more."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from connector.mapping import hashing
from connector.outbox.queries import OutboxQueries
from connector.outbox.settlement import due_again, settled
from connector.privacy.data_subject import DataSubject
from connector.privacy.erasure import NOT_SENT, PERHAPS_SENT
from connector.privacy.lookup import PersonalDataLookup
from connector.privacy.retention import KEY_OUTLIVES, RetentionStore
from connector.storage.database import CannotStore, Database
from connector.storage.tables import demands, events, identities, ledger
from platforms.shopify import samples as shopify_samples
from tests.support.erasure_bench import ACME, ANN, BEANS, BOB, HOUR, LANE, NOW, STORES, Bench, Quick, ids, shopper


@pytest.fixture
def bench(engine: Engine) -> Iterator[Bench]:
    return Bench(engine)


class TestPerson:
    """customers/redact."""

    def test_all_that_is_kept_of_the_person_goes_and_nobody_elses(self, bench: Bench) -> None:
        """Payloads and hashes; what waited ends as expired, with the reason, and is never sent."""
        for journey in (ANN, BOB):
            for topic in ("checkouts/create", "orders/create", "orders/paid"):
                assert bench.take(topic, journey) == "relayed"
        assert bench.take("customers/redact", ANN) == "recorded"
        assert bench.kept() == ids(ANN) | ids(BOB)  # noted, not yet done
        assert bench.erase() == 1
        assert bench.kept() == ids(BOB)
        gone = [row for row in bench.events().values() if row.event_id in ids(ANN)]
        assert {(row.state, row.message) for row in gone} == {("expired", NOT_SENT)}
        assert all(row.settled_at == NOW.timestamp() for row in gone)
        claimed = bench.outbox.claim(LANE, 100, "relay", NOW.timestamp() + 60, 60)
        assert {row.event_id for row in claimed} == ids(BOB)

    def test_what_was_sent_keeps_its_key_and_what_became_of_it(self, bench: Bench) -> None:
        """So a late or repeated webhook sends nothing twice, and housekeeping forgets the key in its time."""
        bench.take("orders/create", ANN)
        bench.send()
        bench.take("customers/redact", ANN)
        bench.erase()
        (row,) = bench.events().values()
        assert (row.state, row.message, row.request_id, row.payload) == ("accepted", "OK", "r", None)
        assert bench.take("orders/create", ANN) == "duplicate"
        assert bench.take("orders/updated", ANN, note="shipped") in ("relayed", "duplicate")
        assert bench.events()["PlaceAnOrder", row.event_id].payload is None
        assert OutboxQueries(Database(bench.engine)).replay([row.id], NOW.timestamp()) == 0
        assert RetentionStore(Database(bench.engine)).forget_keys(NOW.timestamp() + KEY_OUTLIVES) >= 1

    def test_it_is_done_once(self, bench: Bench) -> None:
        """The same body again, an hour or a year later, neither fails nor touches what came since."""
        bench.take("orders/create", ANN)
        bench.take("customers/redact", ANN)
        assert (bench.erase(), bench.erase()) == (1, 0)
        bench.take("orders/paid", ANN)
        for later in (HOUR, timedelta(days=60), timedelta(days=400)):
            bench.now = NOW + later
            assert bench.take("customers/redact", ANN) == "recorded"
            assert bench.erase() == 0
        assert bench.kept() == {f"acme-order-{ANN.order_id}"}
        assert len(bench.rows(demands)) == 1

    def test_what_could_not_be_stored_whole_is_done_once_when_it_comes_again(self, bench: Bench) -> None:
        """The shop gets no 200 and sends it again; what was noted by then counts."""
        bench.take("orders/create", ANN)
        record = bench.outbox.record

        def broken(_: Any) -> int:
            bench.outbox.record = record  # type: ignore[method-assign]
            raise CannotStore("away")

        bench.outbox.record = broken  # type: ignore[method-assign]
        with pytest.raises(CannotStore):
            bench.take("customers/redact", ANN)
        assert bench.take("customers/redact", ANN) == "recorded"
        assert (bench.erase(), bench.erase()) == (1, 0)
        assert [line.topic for line in bench.rows(ledger)][-1] == "customers/redact"

    def test_nothing_of_the_person_stays_with_the_demand(self, bench: Bench) -> None:
        """Before it is done hashes and ids, afterwards not even those."""
        bench.take("customers/redact", ANN)
        assert ANN.person.email not in bench.everything()
        assert bench.rows(demands)[0].person
        bench.erase()
        (row,) = bench.rows(demands)
        assert (row.person, row.done_at) == (None, NOW.timestamp())

    def test_an_order_that_is_named_goes_although_nothing_else_fits(self, bench: Bench) -> None:
        """Its e-mail was another then; and its neighbours about the same order go with it."""
        bench.take("orders/create", ANN)
        bench.take("orders/paid", ANN, email="", contact_email="", phone="", customer={}, billing_address={})
        request = {**shopify_samples.sample("customers/redact", BOB, ACME), "orders_to_redact": [int(ANN.order_id)]}
        bench.post("customers/redact", shopify_samples.encode(request), BOB)
        bench.erase()
        assert bench.kept() == set()

    @pytest.mark.parametrize("field", ["phone", "email"])
    def test_a_further_hash_of_an_event_is_found_too(self, bench: Bench, field: str) -> None:
        """An event's own columns hold one e-mail and one phone; its payload may have several."""
        other = shopper(3).person
        if field == "email":
            bench.take("orders/create", ANN, contact_email=other.email)
        else:
            address = {"phone": other.phone, "country_code": "US", "first_name": "x"}
            bench.take("orders/create", ANN, shipping_address=address)
        (row,) = bench.events().values()
        several = msgspec.json.decode(row.payload)["user"][field]
        assert isinstance(several, list)
        assert {found.digest.hex() for found in bench.rows(identities)} == set(several[1:])
        request = {"shop_id": 66001, "shop_domain": ACME.shops[0], "orders_to_redact": []}
        request["customer"] = {field: getattr(other, field)}
        bench.post("customers/redact", json.dumps(request).encode(), ANN)
        bench.erase()
        assert bench.kept() == set()
        assert bench.rows(identities) == []

    def test_one_hash_of_each_kind_needs_no_second_table(self, bench: Bench) -> None:
        """The usual order costs nothing more."""
        bench.take("customers/create", ANN, state="enabled", default_address={})
        assert len(bench.events()) == 1
        assert bench.rows(identities) == []

    def test_another_shops_customer_of_the_same_number_stays(self, bench: Bench) -> None:
        """Shops count their customers and orders each for themselves."""
        bench.take("order.created", ANN, BEANS)
        bench.take("customers/redact", ANN)
        bench.erase()
        assert bench.kept("beans")

    def test_what_a_relay_has_in_hand_is_erased_under_it(self, bench: Bench) -> None:
        """Its lease is gone, so it writes nothing back; that TikTok may have it is said."""
        bench.take("orders/create", ANN)
        (claimed,) = bench.outbox.claim(LANE, 10, "relay", NOW.timestamp() + 1, 60)
        bench.take("customers/redact", ANN)
        bench.erase()
        for result in (
            settled(claimed, "accepted", NOW.timestamp(), 0, "OK", "r"),
            due_again(claimed, NOW.timestamp(), None, 50000, "busy"),
        ):
            assert bench.outbox.settle("relay", claimed.lease_until, [result]) == 0
        (row,) = bench.events().values()
        assert (row.state, row.message, row.payload, row.lease_owner) == ("expired", PERHAPS_SENT, None, None)

    @pytest.mark.slow
    def test_more_than_one_batch_goes(self, bench: Bench) -> None:
        """Somebody may have ordered for years."""
        bench.take("orders/create", ANN)
        with bench.engine.begin() as connection:
            row = dict(connection.execute(sa.select(events)).one()._mapping)
            del row["id"]
            many = [row | {"event_id": f"n{n}", "object_key": f"order:n{n}"} for n in range(1203)]
            connection.execute(sa.insert(events), many)
        bench.take("customers/redact", ANN)
        pauses: list[float | None] = []

        class Gap(Quick):
            def wait(self, timeout: float | None = None) -> bool:
                pauses.append(timeout)
                return False

        bench.eraser.round(Gap())
        assert bench.kept() == set()
        assert len(pauses) >= 3  # webhooks get the write lock


def test_a_person_is_found_by_indexes(sqlite_engine: Engine, plans: Callable[[], list[str]]) -> None:
    """A million other people's rows cost nothing."""
    bench = Bench(sqlite_engine)
    bench.take("orders/create", ANN)
    steps = plans()
    bench.take("customers/redact", ANN)
    (noted,) = bench.asked.waiting()
    assert noted.person
    PersonalDataLookup(Database(sqlite_engine), STORES).find("acme", noted.person)
    for index in ("events_email", "events_phone", "events_external_id", "events_object"):
        assert any(index in step for step in steps), (index, steps)
    assert not [step for step in steps if step.startswith("SCAN events")]


def test_one_that_fails_does_not_stop_the_others(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again in the next round, and the log says which one."""
    for journey in (ANN, BOB):
        for topic in ("checkouts/create", "orders/create"):
            bench.take(topic, journey)
    for journey in (ANN, BOB):
        bench.take("customers/redact", journey)
    find, ann = PersonalDataLookup.find, {hashing.email(ANN.person.email)}
    for error in (RecursionError("ann@example.com"), CannotStore("canceling statement due to timeout")):

        def faulty(lookup: PersonalDataLookup, store: str, person: DataSubject, error: Exception = error) -> Any:
            if person.emails == ann:
                raise error
            return find(lookup, store, person)

        monkeypatch.setattr(PersonalDataLookup, "find", faulty)
        assert bench.erase() == (1 if isinstance(error, RecursionError) else 0)
        assert bench.kept() == ids(ANN)
    assert "data request 1 failed" in caplog.text
    assert "data request 1 waits, the database does not answer: canceling statement" in caplog.text
    monkeypatch.undo()
    assert bench.erase() == 1
    assert bench.kept() == set()
