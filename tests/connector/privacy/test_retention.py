"""Housekeeping: what is old goes, what is needed stays, by one process at a time; on SQLite and PostgreSQL."""

import logging
import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from connector.config.settings import load
from connector.monitoring import event_stats
from connector.monitoring.event_stats import EventStats
from connector.outbox.ledger import ParkedWebhook, park_decision
from connector.outbox.outbox import Outbox
from connector.outbox.queries import EventFilter, OutboxQueries
from connector.outbox.settlement import settled
from connector.privacy.retention import BATCH, KEY_OUTLIVES, RetentionJob, RetentionPolicy, RetentionStore
from connector.signals.matching import Beacon, SignalMatcher
from connector.signals.merge import Signal
from connector.storage.database import CannotStore, Database
from connector.storage.tables import (
    arrivals,
    counters,
    events,
    leases,
    ledger,
    notices,
    parked,
    signals,
    snippet_reports,
    sold,
)
from tests.support.factories import a_store
from tests.support.outbox_rows import LANE, NOW, PIXEL, claim, decision, fill, mapped, rows, sha

DAY = 86_400.0
KEPT = RetentionPolicy(payloads=7 * DAY, ledger=90 * DAY, parked=14 * DAY)
STORE = a_store(pixels=(PIXEL,))


class Bench:
    """A database and its retention job, with a clock that the test sets."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.outbox = Outbox(Database(engine))
        self.retention = RetentionStore(Database(engine))
        self.now = NOW
        self.keeper = self.hire("one")

    def hire(self, name: str) -> RetentionJob:
        return RetentionJob(self.retention, KEPT, {"acme": STORE}, name, clock=lambda: self.now)

    def round(self, days: float = 0) -> dict[str, int]:
        """What a round did, some days after the start."""
        self.now = NOW + days * DAY
        return {name: number for name, number in self.keeper.round(Quick()).items() if number}

    def finish(self, *numbers: int, state: Any = "accepted") -> None:
        """Events that were stored and settled at the start."""
        fill(self.outbox, *numbers)
        claimed = claim(self.outbox, limit=len(numbers), at=NOW + 10_000)
        self.outbox.settle("one", claimed[0].lease_until, [settled(item, state, NOW, 0, "OK", "r") for item in claimed])

    def everything(self) -> Any:
        return [rows(self.engine, table) for table in (events, ledger, parked, counters)]


class Quick(threading.Event):
    """A stop that nobody sets and that is not waited for."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


@pytest.fixture
def bench(engine: Engine) -> Bench:
    return Bench(engine)


def personal(row: Any) -> tuple[Any, ...]:
    return row.payload, row.email, row.phone, row.external_id


class TestEvents:
    """The payload goes first, the key much later."""

    def test_a_payload_goes_with_all_that_is_personal_and_the_key_stays(self, bench: Bench) -> None:
        """Also hashes are about a person."""
        hashes = {"email_hash": "aa", "phone_hash": "bb", "external_id_hash": "cc"}
        bench.outbox.record(decision("body", mapped(1, **hashes)))
        (item,) = claim(bench.outbox)
        bench.outbox.settle("one", item.lease_until, [settled(item, "accepted", NOW, 0, "OK", "r")])
        assert bench.round(6.9) == {}
        assert all(personal(rows(bench.engine)[0]))
        assert bench.round(7.1) == {"payloads erased": 1}
        (row,) = rows(bench.engine)
        assert personal(row) == (None, None, None, None)
        assert (row.pixel, row.event, row.event_id, row.state) == (PIXEL.code, "Purchase", "acme-order-1", "accepted")
        assert bench.round(7.2) == {}

    def test_a_late_webhook_brings_nothing_while_the_key_is_kept(self, bench: Bench) -> None:
        """Otherwise TikTok, whose memory lasts two days, would count the order again."""
        bench.finish(1)
        assert bench.round(41)["payloads erased"] == 1
        assert bench.outbox.record(decision("late", mapped(1), at=bench.now)) == 0
        assert bench.round(7 + KEY_OUTLIVES / DAY - 0.1) == {}
        assert bench.round(7 + KEY_OUTLIVES / DAY + 0.1)["keys forgotten"] == 1
        assert rows(bench.engine) == []
        assert KEY_OUTLIVES > 28 * DAY  # older events than that are taken by nobody

    def test_what_waits_is_never_erased(self, bench: Bench) -> None:
        """However long: its token may be put right, its store configured again."""
        fill(bench.outbox, 1)
        fill(bench.outbox, 2, store="gone")
        before = rows(bench.engine)
        bench.round(400)
        assert rows(bench.engine) == before

    def test_what_a_replay_made_due_is_not_erased(self, bench: Bench) -> None:
        """Its time begins again when it ends again."""
        bench.finish(1, state="rejected")
        assert OutboxQueries(Database(bench.engine)).replay([rows(bench.engine)[0].id], NOW + DAY) == 1
        assert bench.round(30) == {}

    def test_a_refused_lanes_events_expire_when_they_are_too_old(self, bench: Bench) -> None:
        """Visibly, and only they; events sent as tests have no age."""
        bench.outbox.add_lanes([LANE])
        bench.outbox.record(decision("real", mapped(1), mapped(2, pixel=replace(PIXEL, test_event_code="T"))))
        assert bench.round(8) == {}  # not refused: the relay's own business
        bench.outbox.suspend(LANE, NOW, NOW, "f", "40105")
        assert bench.round(6.9) == {}
        assert bench.round(8) == {"events of acme expired": 1}
        found = {row.event_id: row for row in OutboxQueries(Database(bench.engine)).find(EventFilter(), 10)}
        assert (found["acme-order-1"].state, found["acme-order-2"].state) == ("expired", "due")
        assert "max_event_age" in found["acme-order-1"].message
        assert [(one.event, one.detail, one.count) for one in EventStats(Database(bench.engine)).totals()] == [
            ("Purchase", "expired", 1)
        ]

    def test_what_a_relay_has_in_hand_does_not_expire(self, bench: Bench) -> None:
        """It may be on its way to TikTok just now: the relay writes what becomes of it."""
        bench.outbox.add_lanes([LANE])
        bench.outbox.record(decision("real", mapped(1)))
        bench.outbox.suspend(LANE, NOW, NOW, "f", "40105")
        bench.outbox.claim(LANE, 1, "probing", NOW + 8 * DAY - 1, 60)
        assert bench.round(8) == {}
        assert bench.round(8.1) == {"events of acme expired": 1}

    @pytest.mark.slow
    @pytest.mark.databases("sqlite")
    def test_many_go_in_small_batches(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each its own short transaction, with the turn taken again before it."""
        bench.finish(*range(2 * BATCH + 7))
        sizes: list[int] = []
        erase = bench.retention.erase_payloads

        def watched(before: float, now: float) -> int:
            sizes.append(erase(before, now))
            return sizes[-1]

        monkeypatch.setattr(bench.retention, "erase_payloads", watched)
        assert bench.round(8)["payloads erased"] == 2 * BATCH + 7
        assert sizes == [BATCH, BATCH, 7]

    @pytest.mark.slow
    def test_a_webhook_finds_a_gap_between_batches(self, bench: Bench) -> None:
        """Between two batches the database is free, for as long as a pause lasts."""
        bench.finish(*range(BATCH + 1))
        bench.now = NOW + 8 * DAY
        stored: list[int] = []

        class Gap(Quick):
            def wait(self, timeout: float | None = None) -> bool:
                assert timeout
                stored.append(bench.outbox.record(decision(f"b{len(stored)}", mapped(f"n{len(stored)}"))))
                return False

        bench.keeper.round(Gap())
        assert stored == [1]


class TestOthers:
    """Ledger, parked bodies, counters."""

    def test_the_ledger_and_counters_go_after_keep_ledger(self, bench: Bench) -> None:
        """Whole lines; what is younger stays."""
        bench.outbox.record(decision("old", outcome="skipped", reason="draft", object_key="order:1"))
        bench.outbox.record(decision("new", at=NOW + 50 * DAY, outcome="skipped", reason="draft", object_key="order:2"))
        bench.outbox.count({("acme", "t", "ignored", int(NOW)): 3, ("acme", "t", "ignored", int(NOW + 50 * DAY)): 4})
        assert bench.round(89) == {}
        assert bench.round(91) == {"ledger lines dropped": 1, "counts dropped": 1}
        assert [row.body_sha256 for row in rows(bench.engine, ledger)] == [sha("new")]
        assert [row.count for row in rows(bench.engine, counters)] == [4]

    def test_hourly_numbers_go_after_more_than_a_year(self, bench: Bench) -> None:
        """A shop that is silent for long is still known to have been otherwise."""
        with bench.engine.begin() as connection:
            both = [{"store": "acme", "hour": int(NOW + n * DAY), "count": 1, "last_at": NOW} for n in (0, 1)]
            connection.execute(sa.insert(arrivals), both)
        assert bench.round(399.9) == {}
        assert bench.round(400.1) == {"hourly numbers dropped": 1}

    def test_tallies_go_with_the_ledger_and_the_totals_stay(self, bench: Bench) -> None:
        """What metrics read must never fall."""
        with bench.engine.begin() as connection:
            number = {("acme", PIXEL.code, "sent", "Purchase", "accepted 0"): 2}
            event_stats.add_counts(connection, int(NOW), number)
        assert bench.round(89.9) == {}
        assert bench.round(90.1) == {"tallies dropped": 1}
        assert EventStats(Database(bench.engine)).read(["acme"], ["sent"], 0, NOW + DAY, 3600) == []
        assert [one.count for one in EventStats(Database(bench.engine)).totals()] == [2]

    def test_a_parked_body_goes_and_its_line_says_so(self, bench: Bench) -> None:
        """Nobody shall look for what is gone; other lines are left alone."""
        for store in ("acme", "other"):
            bench.outbox.record(
                park_decision(
                    ParkedWebhook(store, "t", sha("body"), "no id", NOW if store == "acme" else NOW + DAY, b"sealed")
                )
            )
        assert bench.round(13.9) == {}
        assert bench.round(14.1) == {"parked webhooks dropped": 1}
        assert [row.store for row in rows(bench.engine, parked)] == ["other"]
        assert {row.store: row.reason for row in rows(bench.engine, ledger)} == {
            "acme": "no id (its body is no longer kept)",
            "other": "no id",
        }

    def test_the_same_body_again_is_parked_again(self, bench: Bench) -> None:
        """The shop may send it once more; its line tells the newer story and grows no longer each time."""
        for days in (0, 20, 40):
            bench.outbox.record(
                park_decision(ParkedWebhook("acme", "t", sha("body"), "no id", NOW + days * DAY, b"sealed"))
            )
            assert [row.reason for row in rows(bench.engine, ledger)] == ["no id"]
            assert bench.round(days + 15) == {"parked webhooks dropped": 1}
        assert [row.reason for row in rows(bench.engine, ledger)] == ["no id (its body is no longer kept)"]

    def test_nothing_old_changes_nothing(self, bench: Bench) -> None:
        """A round over young rows leaves all of them as they are."""
        bench.finish(1, 2)
        bench.outbox.record(park_decision(ParkedWebhook("acme", "t", sha("body"), "no id", NOW, b"sealed")))
        before = bench.everything()
        assert bench.round(1) == {}
        assert bench.everything() == before


class TestTurn:
    """One process at a time, on whichever host."""

    def test_a_round_without_the_turn_does_nothing(self, bench: Bench) -> None:
        """Two relays on two hosts."""
        bench.finish(1)
        bench.now = NOW + 8 * DAY
        assert bench.retention.lease.take("two", bench.now)
        assert not any(bench.keeper.round(Quick()).values())
        assert rows(bench.engine)[0].payload

    def test_run_ends_when_told_and_gives_the_turn_back(self, bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
        """And says what it did."""
        caplog.set_level(logging.INFO)
        bench.finish(1)
        bench.now = NOW + 8 * DAY
        stop, done = threading.Event(), threading.Event()
        erase = bench.retention.erase_payloads

        def watched(before: float, now: float) -> int:
            done.set()
            return erase(before, now)

        bench.retention.erase_payloads = watched  # type: ignore[method-assign]
        thread = threading.Thread(target=bench.keeper.run, args=(stop,), kwargs={"first": 0}, daemon=True)
        thread.start()
        assert done.wait(120)
        stop.set()
        thread.join(120)
        assert not thread.is_alive()
        assert "payloads erased: 1" in caplog.text
        assert rows(bench.engine, leases) == []

    @pytest.mark.parametrize("error", [CannotStore("away"), RuntimeError("a bug")])
    def test_outlives_whatever_happens(self, bench: Bench, error: Exception, caplog: pytest.LogCaptureFixture) -> None:
        """The relay's work is more important."""
        caplog.set_level("WARNING")
        asked = threading.Event()

        class Once(Quick):
            def wait(self, timeout: float | None = None) -> bool:
                return asked.is_set()

        def broken(*_: Any) -> bool:
            asked.set()
            raise error

        bench.retention.lease.take = broken  # type: ignore[method-assign]
        bench.keeper.run(Once())
        assert "housekeeping" in caplog.text


def test_what_is_kept_comes_from_the_stores_file() -> None:
    """In seconds."""
    text = '[connector]\nkeep_payloads = "3d"\n'
    text += '[stores.a]\nplatform="shopify"\nurl="https://a.example"\nshop="a.myshopify.com"\nwebhook_secrets="s"\n'
    config = load({"STORES_TOML": text + 'pixel="CTESTPIXEL0000000001"\naccess_token="t"\nconsent="not_required"\n'})
    assert RetentionPolicy.of(config) == RetentionPolicy(3 * DAY, 90 * DAY, 14 * DAY)
    assert timedelta(seconds=KEY_OUTLIVES) == timedelta(days=35)


def test_the_old_is_found_by_an_index(sqlite_engine: Engine) -> None:
    """A million rows that are not old cost nothing."""
    old = "settled_at < 1 AND settled_at IS NOT NULL"
    queries = {
        "events_finished": f"SELECT id FROM events WHERE {old} AND payload IS NOT NULL",
        "events_key_only": f"SELECT id FROM events WHERE {old} AND payload IS NULL",
        "ledger_received": "SELECT id FROM ledger WHERE received_at < 1",
        "parked_at": "SELECT id FROM parked WHERE parked_at < 1",
        "counters_hour": "SELECT hour FROM counters WHERE hour < 1",
        "tallies_hour": "SELECT hour FROM tallies WHERE hour < 1",
        "signals_order_seen": (
            "SELECT token FROM signals WHERE order_key IS NOT NULL AND (order_seen_at < 1 OR order_seen_at > 9)"
        ),
    }
    with sqlite_engine.connect() as connection:
        for index, query in queries.items():
            plan = connection.execute(sa.text(f"EXPLAIN QUERY PLAN {query}")).all()
            assert any(index in str(step) for step in plan), plan


def test_what_browsers_told_is_kept_for_a_day(bench: Bench) -> None:
    """Also what a clock wrote that had jumped ahead: it would be personal data without an end."""
    for token, at in (("old-token", NOW - 2 * DAY), ("new-token", NOW), ("token-of-a-jump", NOW + 400 * DAY)):
        SignalMatcher(Database(bench.engine)).collect(Beacon("acme", token, at, "", Signal(ip="198.51.99.7")))
    done = bench.round(0.5)
    assert (done["signals dropped"], done["signals of the future dropped"]) == (1, 1)
    assert [row.token for row in rows(bench.engine, signals)] == ["new-token"]


def test_of_a_flood_of_beacons_the_latest_are_kept(bench: Bench) -> None:
    """Anybody may send some, so a day's worth of them could fill the disk."""
    for number in range(5):
        SignalMatcher(Database(bench.engine)).collect(
            Beacon("acme", f"token-{number}", NOW + number, "", Signal(ip="198.51.99.7"))
        )
    assert bench.retention.forget_signals_beyond(5) == 0
    assert bench.retention.forget_signals_beyond(2) == 3
    assert [row.token for row in rows(bench.engine, signals)] == ["token-3", "token-4"]
    assert "signals of a flood dropped" in bench.keeper.round(Quick())


def test_versions_of_snippets_that_no_page_reports_any_more_are_forgotten(bench: Bench) -> None:
    """As long after the last report as the ledger is kept."""
    with bench.engine.begin() as connection:
        for version, seen_at in (("old", NOW), ("new", NOW + 80 * DAY)):
            row = {"store": "acme", "version": version, "first_at": NOW, "seen_at": seen_at}
            connection.execute(sa.insert(snippet_reports).values(row))
    assert bench.round(91)["snippets forgotten"] == 1
    assert [row.version for row in rows(bench.engine, snippet_reports)] == ["new"]


def test_a_batch_reads_no_more_than_its_rows(sqlite_engine: Engine) -> None:
    """Webhooks wait for the write lock meanwhile; the signals of a large shop are 250,000 rows."""
    seen = dict.fromkeys(("ttclid", "ttp", "ip", "user_agent", "url", "referrer", "consent"), "") | {"store": "acme"}
    sale = {"pixel": "C", "event": "Purchase", "store": "acme", "object_key": "", "currency": "", "value": 1}
    noted = {"store": "acme", "topic": "", "delivery": "", "since": 1.0, "due_at": 1.0, "attempts": 0, "error": ""}
    with sqlite_engine.begin() as connection:
        for n in "0123456789":
            order = (
                {"order_key": f"order:{n}", "order_seen_at": 1.0}
                if n > "4"
                else dict.fromkeys(("order_key", "order_seen_at"))
            )
            connection.execute(sa.insert(signals), seen | {"token": n, "seen_at": 1.0} | order)
            connection.execute(sa.insert(sold), sale | {"event_id": n, "occurred_at": 1.0})
            connection.execute(sa.insert(notices), noted | {"object_key": n, "noted_at": 1.0})
    plans: list[tuple[str, str]] = []

    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith(("DELETE", "UPDATE")):
            steps = connection.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            plans.append((statement.split()[2 if statement.startswith("DELETE") else 1], steps[0][-1]))

    sa.event.listen(sqlite_engine, "before_cursor_execute", explain)
    store = RetentionStore(Database(sqlite_engine))
    assert store.forget_signals(2.0) == store.erase_order_signals(2.0, 9.0) == store.forget_orders(2.0, 9.0) == 5
    assert store.forget_books(2.0) == store.forget_notices(2.0) == 10
    sa.event.remove(sqlite_engine, "before_cursor_execute", explain)
    assert {table for table, _ in plans} >= {"signals", "sold", "notices"}
    for table, first in plans:
        assert first == f"SEARCH {table} USING INTEGER PRIMARY KEY (rowid=?)"
