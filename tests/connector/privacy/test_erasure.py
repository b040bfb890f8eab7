"""Erasing: what a shop asks for is done once and whole, and nothing of it is sent any more; on both databases."""

import json
import random
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from connector.core.store import EventIdTemplates, MappingSettings, Pixel, SignalSettings, Store
from connector.core.webhook import Request
from connector.intake.intake import Intake
from connector.outbox.lanes import Lane
from connector.outbox.outbox import Outbox
from connector.outbox.queries import OutboxQueries
from connector.outbox.settlement import due_again, settled
from connector.plugin.testing.shoppers import Journey
from connector.privacy.erasure import LEASE_SECONDS, NOT_SENT, PERHAPS_SENT, ErasureJob, erasure_job
from connector.privacy.lookup import PersonalDataLookup
from connector.privacy.requests import DataRequestStore
from connector.privacy.retention import KEY_OUTLIVES, RetentionStore
from connector.signals.matching import Beacon, SignalMatcher
from connector.signals.merge import Signal
from connector.storage.database import CannotStore, Database
from connector.storage.lease import Lease
from connector.storage.tables import demands, events, identities, ledger, metadata, parked, signals
from platforms.shopify import samples as shopify_samples
from tests.support.platforms import PLATFORMS, SAMPLES

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
PIXEL = Pixel("CABCDEFGHIJKLMNOPQR0", "token")
LANE = Lane("acme", PIXEL.code)
ACME = Store(
    name="acme",
    platform="shopify",
    url="https://acme.example",
    shops=("acme.myshopify.com",),
    webhook_secrets=("a-secret",),
    pixels=(PIXEL,),
    consent="not_required",
    event_id=EventIdTemplates("acme-order-{order_id}", "acme-checkout-{checkout_token}", "acme-customer-{customer_id}"),
    mapping=MappingSettings(content_id="variant_id"),
    go_live=NOW - timedelta(days=300),
    country="US",
)
BEANS = replace(
    ACME,
    name="beans",
    platform="woocommerce",
    url="https://b.example",
    shops=("b.example",),
    pixels=(Pixel("CBEANSHIJKLMNOPQRST0", "token"),),
)
STORES = {"acme": ACME, "beans": BEANS}


class Quick(threading.Event):
    """A stop that nobody sets and that is not waited for."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


class Bench:
    """Two shops, their webhooks, and the one who erases; time passes when it is told to."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.now = NOW
        self.outbox = Outbox(Database(engine))
        self.serve(STORES)
        self.outbox.add_lanes([LANE])
        self.asked = DataRequestStore(Database(engine))
        self.eraser = self.hire("one")

    def serve(self, stores: Mapping[str, Store]) -> None:
        """Webhooks come to a process that was started with these stores."""
        asked = DataRequestStore(self.outbox.database)
        self.intake = Intake(stores, PLATFORMS, self.outbox, asked, clock=lambda: self.now)
        self.intake.start()

    def hire(self, owner: str) -> ErasureJob:
        return erasure_job(Database(self.engine), STORES, owner, lambda: datetime.timestamp(self.now))

    def take(self, topic: str, journey: Journey, store: Store = ACME, **changes: Any) -> str:
        samples = SAMPLES[store.platform]
        body = samples.encode({**samples.sample(topic, journey, store), **changes})
        return self.post(topic, body, journey, store)

    def post(self, topic: str, body: bytes, journey: Journey, store: Store = ACME) -> str:
        signed = PLATFORMS[store.platform].signed_headers(body, store.webhook_secrets[0])
        headers = SAMPLES[store.platform].headers(topic, journey, store) | signed
        return self.intake.take(store, Request({k.lower(): v for k, v in headers.items()}, body, self.now))

    def erase(self) -> int:
        return self.eraser.round(Quick())

    def send(self, number: int = 100) -> None:
        """What is due is accepted."""
        if claimed := self.outbox.claim(LANE, number, "relay", self.now.timestamp() + 60, 60):
            ended = [settled(c, "accepted", self.now.timestamp(), 0, "OK", "r") for c in claimed]
            self.outbox.settle("relay", claimed[0].lease_until, ended)

    def events(self, store: str = "acme") -> dict[tuple[str, str], Any]:
        with self.engine.connect() as connection:
            rows = connection.execute(sa.select(events).where(events.c.store == store)).all()
        return {(row.event, row.event_id): row for row in rows}

    def kept(self, store: str = "acme") -> set[str]:
        """The event_ids of which anything personal is left."""
        personal = ("payload", "email", "phone", "external_id")
        return {row.event_id for row in self.events(store).values() if any(getattr(row, name) for name in personal)}

    def rows(self, table: sa.Table) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(sa.select(table)).all())

    def everything(self) -> str:
        """All that is in the database, as text."""
        return "\n".join(repr(tuple(row)) for table in metadata.sorted_tables for row in self.rows(table))


@pytest.fixture
def bench(engine: Engine) -> Iterator[Bench]:
    return Bench(engine)


def shopper(seed: int) -> Journey:
    return Journey.random(random.Random(seed), NOW)


ANN, BOB = shopper(1), shopper(2)


def ids(journey: Journey) -> set[str]:
    return {f"acme-order-{journey.order_id}", f"acme-checkout-{journey.checkout_token}"}


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

    def test_more_than_one_batch_goes(self, bench: Bench) -> None:
        """Somebody may have ordered for years."""
        bench.take("orders/create", ANN)
        with bench.engine.begin() as connection:
            row = dict(connection.execute(sa.select(events)).one()._mapping)
            del row["id"]
            many = [row | {"event_id": f"n{n}", "object_key": f"order:n{n}"} for n in range(1203)]
            connection.execute(sa.insert(events), many)
        bench.take("customers/redact", ANN)
        bench.erase()
        assert bench.kept() == set()


class TestParked:
    """Bodies that could not be handled."""

    def test_those_that_name_the_person_go_and_the_others_stay(self, bench: Bench) -> None:
        """They are opened to be looked at; the ledger says that a body is gone."""
        for journey in (ANN, BOB):
            assert bench.take("orders/create", journey, created_at=None, processed_at=None) == "parked"
        bench.take("customers/redact", ANN)
        bench.erase()
        assert len(bench.rows(parked)) == 1
        lines = [line.reason for line in bench.rows(ledger) if line.outcome == "parked"]
        assert sorted(reason.endswith("(its body is no longer kept)") for reason in lines) == [False, True]

    def test_those_that_nobody_can_open_go_too(self, bench: Bench) -> None:
        """Nobody can say that they do not name the person; another store's stay."""
        for store in (ACME, BEANS):
            sample = SAMPLES[store.platform].TOPICS[0]
            assert bench.take(sample, BOB, store, id=None) == "parked"
        with bench.engine.begin() as connection:
            connection.execute(sa.update(parked).values(sealed=b"gAAAAAsealed-with-a-secret-that-is-gone"))
        bench.take("customers/redact", ANN)
        bench.erase()
        assert [row.store for row in bench.rows(parked)] == ["beans"]

    def test_a_demand_that_does_not_fit_is_parked_and_erases_nothing(self, bench: Bench) -> None:
        """Until somebody has looked at it; replayed by a release that knows its shape, it is done."""
        bench.take("orders/create", ANN)
        for changes in ({"more": 1}, {"shop_domain": "other.myshopify.com"}):
            assert bench.take("customers/redact", ANN, **changes) == "parked"
        assert bench.erase() == 0
        assert bench.kept()

    def test_a_demand_that_was_parked_is_done_when_it_is_replayed(self, bench: Bench) -> None:
        """Nothing that was asked for is forgotten."""
        bench.take("orders/create", ANN)
        sample = shopify_samples.sample("customers/redact", ANN, ACME)
        other = replace(ACME, shops=("renamed.myshopify.com",))
        bench.serve({"acme": other})
        signed = PLATFORMS["shopify"].signed_headers(shopify_samples.encode(sample), "a-secret")
        headers = {
            k.lower(): v for k, v in {**shopify_samples.headers("customers/redact", ANN, ACME), **signed}.items()
        }
        assert bench.intake.take(other, Request(headers, shopify_samples.encode(sample), NOW)) == "parked"
        bench.serve(STORES)
        (item,) = OutboxQueries(Database(bench.engine)).parked()
        assert bench.intake.replay(item) == "recorded"
        assert bench.erase() == 1
        assert bench.kept() == set()


class TestStore:
    """shop/redact."""

    def fill(self, bench: Bench) -> None:
        for journey in (ANN, BOB):
            bench.take("orders/create", journey)
            bench.take("order.created", journey, BEANS)
        bench.send(1)
        bench.take("orders/paid", ANN, created_at=None, processed_at=None)

    def test_all_of_the_store_goes_but_the_keys(self, bench: Bench) -> None:
        """Payloads, hashes, ledger, parked bodies; another store has all of its own."""
        self.fill(bench)
        bench.take("shop/redact", ANN)
        assert bench.erase() == 1
        assert bench.kept() == set()
        assert {row.state for row in bench.events().values()} == {"accepted", "expired"}
        assert {(line.store, line.topic) for line in bench.rows(ledger)} == {
            ("acme", "shop/redact"),
            ("beans", "order.created"),
        }
        assert bench.rows(parked) == []
        assert len(bench.kept("beans")) == 2

    def test_what_comes_later_is_not_touched(self, bench: Bench) -> None:
        """A shop that is there again, before the deed is done."""
        self.fill(bench)
        bench.take("shop/redact", ANN)
        bench.now = NOW + timedelta(seconds=5)
        bench.take("checkouts/create", BOB)
        bench.erase()
        assert bench.kept() == {f"acme-checkout-{BOB.checkout_token}"}

    def test_an_old_body_erases_nothing_of_a_shop_that_lives(self, bench: Bench) -> None:
        """It is the same in every shop's life, so whoever has one could use it whenever he likes."""
        bench.take("shop/redact", ANN)
        bench.erase()
        bench.now = NOW + timedelta(days=30)
        bench.take("orders/create", ANN, note="new", created_at=(bench.now - HOUR).isoformat())
        bench.now += HOUR
        assert bench.take("shop/redact", ANN) == "recorded"
        assert bench.erase() == 0
        assert bench.kept()

    def test_a_shop_that_has_left_again_is_erased_again(self, bench: Bench) -> None:
        """Shopify asks in the very same words, 48 hours after the app's end; since then nothing has come."""
        bench.take("shop/redact", ANN)
        bench.erase()
        bench.now = NOW + timedelta(days=30)
        bench.take("orders/create", ANN, note="new", created_at=(bench.now - HOUR).isoformat())
        bench.now += 48 * HOUR
        bench.take("shop/redact", ANN)
        assert bench.erase() == 1
        assert bench.kept() == set()

    def test_many_rows_go_batch_by_batch(self, bench: Bench) -> None:
        """Each row is looked at once, and between the batches a webhook finds its gap."""
        gaps: list[str] = []

        class Gap(Quick):
            def wait(self, timeout: float | None = None) -> bool:
                gaps.append(bench.take("order.created", BOB, BEANS))
                return False

        bench.take("orders/create", ANN)
        with bench.engine.begin() as connection:
            row = dict(connection.execute(sa.select(events)).one()._mapping)
            del row["id"]
            connection.execute(sa.insert(events), [row | {"event_id": f"n{n}"} for n in range(1203)])
        bench.take("shop/redact", ANN)
        bench.eraser.round(Gap())
        assert bench.kept() == set()
        assert len(gaps) >= 4


class TestAround:
    """Uninstalled, exported, and the loop itself."""

    def test_an_uninstalled_apps_queue_is_still_sent(self, bench: Bench) -> None:
        """The orders were real, and TikTok's token is not the shop's."""
        bench.take("orders/create", ANN)
        assert bench.take("app/uninstalled", ANN) == "recorded"
        assert bench.erase() == 0
        assert [row.state for row in bench.events().values()] == ["due"]
        assert [row.what for row in bench.rows(demands)] == ["uninstalled"]

    def test_a_question_waits_for_a_person(self, bench: Bench) -> None:
        """Nothing is erased by it."""
        bench.take("orders/create", ANN)
        bench.take("customers/data_request", ANN)
        assert bench.erase() == 0
        (noted,) = bench.asked.waiting()
        assert (noted.what, noted.store, noted.done_at) == ("export", "acme", None)
        assert noted.person
        assert noted.person.order_ids == {str(ANN.order_id)}

    def test_one_process_at_a_time(self, bench: Bench) -> None:
        """And another's turn is waited for."""
        bench.take("customers/redact", ANN)
        assert Lease(Database(bench.engine), "erasing", LEASE_SECONDS).take("two", NOW.timestamp())
        assert bench.erase() == 0
        bench.now = NOW + HOUR
        assert bench.erase() == 1

    def test_the_loop_does_it_and_outlives_a_fault(
        self, bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The next look comes; nothing personal is in the log."""
        caplog.set_level("INFO")
        bench.take("orders/create", ANN)
        bench.take("customers/redact", ANN)
        find, faults = PersonalDataLookup.find, iter([sqlite3.OperationalError("ann@example.com"), None, None])

        def faulty(*arguments: Any) -> Any:
            if error := next(faults):
                raise sa.exc.OperationalError("SELECT", {}, error) from error
            return find(*arguments)

        monkeypatch.setattr(PersonalDataLookup, "find", faulty)
        looks = iter([False, False, True])

        class Thrice(Quick):
            def wait(self, timeout: float | None = None) -> bool:
                return next(looks, True) if timeout != 0.2 else False

        bench.eraser.run(Thrice())
        assert bench.kept() == set()
        assert "is done (waiting events: 1)" in caplog.text
        assert ANN.person.email not in caplog.text

    def test_housekeeping_forgets_further_hashes_with_the_payload(self, bench: Bench) -> None:
        """They are as personal as the rest."""
        bench.take("orders/create", ANN, contact_email="other@example.com")
        assert bench.rows(identities)
        bench.send()
        RetentionStore(Database(bench.engine)).erase_payloads(NOW.timestamp() + 1)
        assert bench.kept() == set()
        assert bench.rows(identities) == []

    def test_of_two_events_the_first_to_go_keeps_the_hashes_of_the_other(self, bench: Bench) -> None:
        """As long as one payload has them they must be found."""
        bench.take("orders/create", ANN, contact_email="other@example.com")
        bench.send()
        bench.take("orders/paid", ANN, contact_email="other@example.com")
        RetentionStore(Database(bench.engine)).erase_payloads(NOW.timestamp() + 1)
        assert bench.rows(identities)


def test_a_person_is_found_by_indexes(engine: Engine) -> None:
    """A million other people's rows cost nothing."""
    if engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL plans small tables by reading them whole")
    steps: list[str] = []

    @sa.event.listens_for(engine, "before_cursor_execute")
    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT") and "FROM events" in statement:
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            steps.extend(row[3] for row in cursor.fetchall())

    bench = Bench(engine)
    bench.take("orders/create", ANN)
    steps.clear()
    bench.take("customers/redact", ANN)
    (noted,) = bench.asked.waiting()
    assert noted.person
    PersonalDataLookup(Database(engine), STORES).find("acme", noted.person)
    for index in ("events_email", "events_phone", "events_external_id", "events_object"):
        assert any(index in step for step in steps), (index, steps)
    assert not [step for step in steps if step.startswith("SCAN events")]


class TestBrowser:
    """What the browser of a checkout told, and the events that waited for it."""

    @pytest.fixture
    def told(self, bench: Bench) -> Bench:
        """Both shoppers' browsers have told of their checkouts; the checkouts' webhooks name nobody."""
        store = replace(ACME, signals=SignalSettings())
        bench.serve({"acme": store, "beans": BEANS})
        matcher = SignalMatcher(Database(bench.engine))
        for journey in (ANN, BOB):
            told = Signal(ip=journey.ip, user_agent=journey.user_agent)
            matcher.collect(Beacon("acme", journey.checkout_token, NOW.timestamp(), "https://acme.example", told))
            anonymous = {"email": "", "phone": "", "customer": {}, "billing_address": {}, "shipping_address": {}}
            assert bench.take("checkouts/create", journey, store, **anonymous) == "relayed"
            assert bench.take("orders/create", journey, store) == "relayed"
        return bench

    def test_it_goes_with_the_order_and_so_does_its_checkout(self, told: Bench) -> None:
        """Nothing in the checkout names the shopper, but the order came from it."""
        told.take("customers/redact", ANN)
        assert told.erase() == 1
        assert told.kept() == ids(BOB)
        assert [row.token for row in told.rows(signals)] == [BOB.checkout_token]

    def test_it_goes_with_the_store(self, told: Bench) -> None:
        """All of it, of everybody."""
        told.take("shop/redact", ANN)
        told.erase()
        assert told.rows(signals) == []
        assert told.kept() == set()

    def test_a_later_beacon_brings_nothing_back(self, told: Bench) -> None:
        """The event has ended; what a browser tells anew is kept for its day."""
        told.take("customers/redact", ANN)
        told.erase()
        again = Signal(ip=ANN.ip, user_agent=ANN.user_agent, consent="granted")
        SignalMatcher(Database(told.engine)).collect(
            Beacon("acme", ANN.checkout_token, NOW.timestamp(), "https://acme.example", again)
        )
        assert told.kept() == ids(BOB)
