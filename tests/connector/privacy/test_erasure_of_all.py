"""Erasing what was parked, what browsers told, and all of a store; and the job around it."""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from connector.core.event import DataRequest
from connector.core.store import SignalSettings
from connector.core.webhook import Request
from connector.outbox.queries import OutboxQueries
from connector.plugin.testing.bench import handle_request
from connector.plugin.testing.shoppers import Journey
from connector.privacy.data_subject import DataSubject, data_subject_of
from connector.privacy.erasure import LEASE_SECONDS
from connector.privacy.export import exported
from connector.privacy.lookup import PersonalDataLookup
from connector.privacy.retention import BATCH, RetentionStore
from connector.signals.matching import Beacon, SignalMatcher
from connector.signals.merge import Signal
from connector.storage.database import Database
from connector.storage.lease import Lease
from connector.storage.tables import (
    browser_copies,
    demands,
    events,
    identities,
    ledger,
    parked,
    signals,
    snippet_reports,
    sold,
)
from platforms.shopify import samples as shopify_samples
from tests.support.erasure_bench import ACME, ANN, BEANS, BOB, HOUR, NOW, STORES, Bench, Quick, ids
from tests.support.factories import SECRET
from tests.support.outbox_rows import decision
from tests.support.platforms import PLATFORMS, SAMPLES


def person_of(journey: Journey) -> DataSubject:
    return data_subject_of(DataRequest("export", emails=(journey.person.email,)), ACME)


@pytest.fixture
def bench(engine: Engine) -> Iterator[Bench]:
    return Bench(engine)


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
        signed = PLATFORMS["shopify"].signed_headers(shopify_samples.encode(sample), SECRET)
        headers = {
            k.lower(): v for k, v in {**shopify_samples.headers("customers/redact", ANN, ACME), **signed}.items()
        }
        assert handle_request(bench.intake, other, Request(headers, shopify_samples.encode(sample), NOW)) == "parked"
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

    def test_what_pages_reported_goes_too(self, bench: Bench) -> None:
        """Copies name the store's orders; another store keeps its own."""
        copy = {"pixel": "C", "event": "Purchase", "sender": "snippet", "loaded": 1, "sent_at": 0.0, "currency": ""}
        with bench.engine.begin() as connection:
            for store in ("acme", "beans"):
                row = copy | {"store": store, "event_id": f"{store}-order-1", "state": "open"}
                connection.execute(sa.insert(browser_copies).values(row))
                seen = {"store": store, "version": "0123abcd", "first_at": 0.0, "seen_at": 0.0}
                connection.execute(sa.insert(snippet_reports).values(seen))
        bench.take("shop/redact", ANN)
        assert bench.erase() == 1
        for table in (browser_copies, snippet_reports):
            assert [row.store for row in bench.rows(table)] == ["beans"]

    def test_lines_that_name_an_order_go_and_requests_stay(self, bench: Bench) -> None:
        """Also lines of what was only recorded, such as a cancellation that the books noted."""
        bench.take("orders/create", ANN)
        noted = decision("c", store="acme", at=NOW.timestamp(), outcome="recorded", object_key="order:7")
        bench.outbox.record(noted)
        bench.take("shop/redact", ANN)
        bench.erase()
        assert [(row.topic, row.object_key) for row in bench.rows(ledger)] == [("shop/redact", "")]

    def test_a_shoppers_open_request_goes_too(self, bench: Bench) -> None:
        """Nothing is left to give a copy of: it is done, and its hashes and ids go; a later one stays."""
        bench.take("customers/data_request", ANN)
        bench.take("shop/redact", ANN)
        bench.now += timedelta(seconds=5)
        bench.take("customers/data_request", BOB)
        assert "order_ids" in bench.everything()
        assert bench.erase() == 1
        found = {(row.what, row.asked_at): row for row in bench.rows(demands)}
        at = NOW.timestamp()
        assert found["export", at].person is None
        assert found["export", at].done_at == found["erase_store", at].done_at == at + 5
        (later,) = bench.asked.waiting()
        assert later.person
        assert later.person.order_ids == {str(BOB.order_id)}
        assert str(ANN.order_id) not in repr([row.person for row in bench.rows(demands)])

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
        ordered = dict.fromkeys(("created_at", "processed_at"), (bench.now - HOUR).isoformat())
        bench.take("orders/create", ANN, note="new", **ordered)
        bench.now += HOUR
        assert bench.take("shop/redact", ANN) == "recorded"
        assert bench.erase() == 0
        assert bench.kept()

    def test_a_shop_that_has_left_again_is_erased_again(self, bench: Bench) -> None:
        """Shopify asks in the very same words, 48 hours after the app's end; since then nothing has come."""
        bench.take("shop/redact", ANN)
        bench.erase()
        bench.now = NOW + timedelta(days=30)
        ordered = dict.fromkeys(("created_at", "processed_at"), (bench.now - HOUR).isoformat())
        bench.take("orders/create", ANN, note="new", **ordered)
        bench.now += 48 * HOUR
        bench.take("shop/redact", ANN)
        assert bench.erase() == 1
        assert bench.kept() == set()

    def test_no_transaction_deletes_more_than_a_batch(self, bench: Bench) -> None:
        """Webhooks wait for the write lock, and PostgreSQL ends a transaction that takes too long."""
        at = {"occurred_at": 0.0, "currency": "", "value": 1}
        with bench.engine.begin() as connection:
            for store, number in (("acme", 2 * BATCH + 3), ("beans", 2)):
                row = {"pixel": "C", "event": "Purchase", "store": store, "object_key": "", **at}
                connection.execute(sa.insert(sold), [row | {"event_id": f"{store}-{n}"} for n in range(number)])
                seen = dict.fromkeys(("ttclid", "ttp", "ip", "user_agent", "url", "referrer", "consent"), "")
                seen |= {"store": store, "seen_at": NOW.timestamp()}
                connection.execute(sa.insert(signals), [seen | {"token": f"t{n}"} for n in range(number)])
        bench.take("shop/redact", ANN)
        deleted: list[int] = []

        def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
            if statement.startswith("DELETE"):
                deleted.append(cursor.rowcount)

        sa.event.listen(bench.engine, "after_cursor_execute", note)
        assert bench.erase() == 1
        sa.event.remove(bench.engine, "after_cursor_execute", note)
        assert max(deleted) == BATCH
        assert {row.store for table in (sold, signals) for row in bench.rows(table)} == {"beans"}
        assert len(bench.rows(sold)) == len(bench.rows(signals)) == 2

    @pytest.mark.slow
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
        RetentionStore(Database(bench.engine)).erase_payloads(NOW.timestamp() + 1, NOW.timestamp())
        assert bench.kept() == set()
        assert bench.rows(identities) == []

    def test_of_two_events_the_first_to_go_keeps_the_hashes_of_the_other(self, bench: Bench) -> None:
        """As long as one payload has them they must be found."""
        bench.take("orders/create", ANN, contact_email="other@example.com")
        bench.send()
        bench.take("orders/paid", ANN, contact_email="other@example.com")
        RetentionStore(Database(bench.engine)).erase_payloads(NOW.timestamp() + 1, NOW.timestamp())
        assert bench.rows(identities)


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

    def test_it_is_found_by_the_order_when_no_event_is_left(self, told: Bench) -> None:
        """An order keeps what its browser told; a shop may name nothing but the order's number."""
        with told.engine.begin() as connection:
            connection.execute(sa.delete(events))
        request = {**shopify_samples.sample("customers/redact", BOB, ACME), "orders_to_redact": [int(ANN.order_id)]}
        told.post("customers/redact", shopify_samples.encode(request), BOB)
        told.erase()
        assert [row.token for row in told.rows(signals)] == [BOB.checkout_token]

    def test_of_a_refusal_the_no_stays(self, told: Bench) -> None:
        """Like the key of an event, and nothing else, so that no later webhook sends what the shopper refused."""
        SignalMatcher(Database(told.engine)).collect(
            Beacon("acme", ANN.checkout_token, NOW.timestamp(), "https://acme.example", Signal(consent="denied"))
        )
        told.take("customers/redact", ANN)
        told.erase()
        (row,) = [row for row in told.rows(signals) if row.token == ANN.checkout_token]
        assert (row.consent, row.ip, row.user_agent) == ("denied", "", "")
        found = PersonalDataLookup(Database(told.engine), STORES).find("acme", person_of(ANN))
        assert not found.checkouts
        told.take("shop/redact", ANN)
        told.erase()
        assert told.rows(signals) == []

    def test_an_export_has_it(self, told: Bench) -> None:
        """With the order it belongs to."""
        lookup = PersonalDataLookup(Database(told.engine), STORES)
        found = [json.loads(line) for line in exported(Database(told.engine), lookup, "acme", person_of(ANN))]
        (browser,) = [item for item in found if item["kind"] == "browser"]
        assert (browser["ip"], browser["order_key"]) == (ANN.ip, f"order:{ANN.order_id}")
        assert browser["order_seen_at"] == browser["seen_at"] == "2026-11-24T12:00:00+00:00"

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
