"""Intake's books, of webhooks that are stored together: lines, counts, and what is asked for them."""

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from sqlalchemy import Engine

from connector.cli.main import main
from connector.outbox.ledger import FREQUENT, ParkedWebhook, park_decision, webhooks_are_frequent
from connector.outbox.outbox import Outbox
from connector.outbox.queries import OutboxQueries
from connector.storage.database import Database
from connector.storage.tables import ledger
from tests.support.factories import a_stores_file
from tests.support.outbox_rows import NOW, decision, mapped, rows, sha

SKIP = {"outcome": "skipped", "reason": "draft"}


def lines(engine: Engine) -> list[tuple[str, str, str]]:
    """Store, object and outcome of each line."""
    return [(line.store, line.object_key, line.outcome) for line in rows(engine, ledger)]


def test_each_of_a_group_is_told_or_counted_by_itself(outbox: Outbox, engine: Engine) -> None:
    """What one webhook brings says nothing of its neighbours, though they are asked for together."""
    outbox.record(decision("sent", mapped(1)))
    outbox.record(decision("draft", object_key="order:2", **SKIP))
    group = [
        decision("update", mapped(1)),
        decision("new", mapped(3)),
        decision("cancelled", object_key="order:1", **SKIP),
        decision("draft again", object_key="order:2", **SKIP),
        decision("another draft", object_key="order:4", **SKIP),
        decision("elsewhere", store="other", object_key="order:2", **SKIP),
        decision("another reason", object_key="order:2", outcome="skipped", reason="cancelled"),
        decision("no object", **SKIP),
        decision("erase", outcome="recorded", object_key="order:1", topic="customers/redact"),
    ]
    assert outbox.record_all(group) == [0, 1, 0, 0, 0, 0, 0, 0, 0]
    assert sorted(lines(engine)) == sorted(
        [
            ("acme", "order:1", "relayed"),
            ("acme", "order:2", "skipped"),
            ("acme", "order:3", "relayed"),
            ("acme", "order:4", "skipped"),
            ("other", "order:2", "skipped"),
            ("acme", "order:2", "skipped"),
            ("acme", "", "skipped"),
            ("acme", "order:1", "recorded"),
        ]
    )
    assert [(row.store, row.what, row.count) for row in OutboxQueries(Database(engine)).counted()] == [
        ("acme", "duplicate", 3)
    ]


def test_an_order_sent_by_its_neighbour_has_its_story(outbox: Outbox, engine: Engine) -> None:
    """Created and cancelled within a moment: the sale is told, not that it would not be sent any more."""
    outbox.record_all([decision("created", mapped(1)), decision("cancelled", object_key="order:1", **SKIP)])
    assert lines(engine) == [("acme", "order:1", "relayed")]


def test_what_no_database_takes_is_known_again_all_the_same(outbox: Outbox, engine: Engine) -> None:
    """NUL and a lone surrogate are stored as something else, and asked for as that."""
    odd = {"outcome": "skipped", "object_key": "order:\x00\ud800", "reason": "its status is \x00\udfff"}
    for body in ("one", "two", "three"):
        outbox.record(decision(body, **odd))
    assert len(rows(engine, ledger)) == 1
    assert [row.count for row in OutboxQueries(Database(engine)).counted()] == [2]


def test_a_parked_body_among_others_is_told_as_handled(outbox: Outbox, engine: Engine) -> None:
    """Only its own line changes, also where another body is parked."""
    outbox.record(decision("sent", mapped(1)))
    for body in ("parked", "stays parked"):
        outbox.record(park_decision(ParkedWebhook("acme", "orders/paid", sha(body), "a bug", NOW, b"sealed")))
    outbox.record_all([decision("update", mapped(1)), decision("parked", mapped(1))])
    told = {bytes(line.body_sha256): line.outcome for line in rows(engine, ledger)}
    assert told == {sha("sent"): "relayed", sha("parked"): "relayed", sha("stays parked"): "parked"}


def test_nothing_is_counted_by_a_group_of_none(outbox: Outbox, engine: Engine) -> None:
    """Nor is anything asked."""
    assert outbox.record_all([]) == []
    outbox.count({})
    assert (lines(engine), OutboxQueries(Database(engine)).counted()) == ([], [])


def test_all_of_it_is_found_by_indexes(sqlite_engine: Engine, plans: Callable[[], list[str]]) -> None:
    """However many orders there are; and it is asked once for all."""
    outbox = Outbox(Database(sqlite_engine))
    outbox.record_all([decision(f"sent {n}", mapped(n)) for n in range(3)])
    asked: list[str] = []

    def note(*given: Any) -> None:
        asked.append(given[2].split()[0])

    sa.event.listen(sqlite_engine, "before_cursor_execute", note)
    steps = plans()
    outbox.record_all(
        [decision(f"update {n}", mapped(n)) for n in range(8)]
        + [decision(f"draft {n}", object_key=f"order:{n}", **SKIP) for n in range(8)]
    )
    sa.event.remove(sqlite_engine, "before_cursor_execute", note)
    found = [step for step in steps if step.startswith(("SEARCH", "SCAN"))]
    assert {step.partition(" USING")[0] for step in found} == {"SEARCH events", "SEARCH ledger"}
    assert all("object_key=?" in step or "body_sha256=?" in step for step in found)
    assert (asked.count("SELECT"), asked.count("UPDATE")) == (3, 0)


def frequent(engine: Engine) -> bool:
    """Whether webhooks are frequent."""
    with Database(engine).read() as connection:
        return webhooks_are_frequent(connection)


def test_twenty_webhooks_in_the_last_second_are_frequent(outbox: Outbox, engine: Engine) -> None:
    """The relay yields to such traffic; a few webhooks, or those of an hour ago, slow no backlog down."""
    assert not frequent(engine)
    now = time.time() + 60  # the test may be slow
    outbox.record_all([decision(f"old {number}", at=now - 3600) for number in range(FREQUENT)])
    outbox.record_all([decision(f"new {number}", at=now) for number in range(FREQUENT - 1)])
    assert not frequent(engine)
    outbox.record(decision("one more", at=now))
    assert frequent(engine)


def test_the_relay_yields_to_frequent_webhooks(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It writes much at a time, and no shop waits for it."""
    now, pauses = time.time() + 60, []
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=pauses.append)

    def relay(_stores: object, outbox: Outbox, _api: object) -> None:
        outbox.heartbeat("relay-1", now)
        assert pauses == []
        outbox.record_all([decision(f"new {number}", at=now) for number in range(FREQUENT)])
        raise SystemExit

    monkeypatch.setattr("connector.server.relay_process.Relay", relay)
    monkeypatch.setattr("connector.storage.database.time", clock)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    CliRunner().invoke(main, ["relay"], env={"STORES_TOML": a_stores_file(), "DATABASE_URL": migrated_url})
    assert len(pauses) == 1
