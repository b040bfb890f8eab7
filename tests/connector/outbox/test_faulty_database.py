"""The outbox with hostile text, and with a database that cannot store."""

import shutil
import socket
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from connector.core.store import Pixel
from connector.outbox.lanes import Lane
from connector.outbox.ledger import ParkedWebhook, park_decision
from connector.outbox.outbox import Outbox
from connector.outbox.queries import OutboxQueries
from connector.outbox.settlement import settled
from connector.storage.database import CannotStore, Database
from connector.storage.engine import connect, migrate
from connector.storage.tables import ledger
from tests.support.outbox_rows import NOW, decision, mapped, rows, sha

HOSTILE = "a\x00b\ud800c\udfffd"
CLEAN = "ab\ufffdc\ufffdd"


class TestHostileText:
    """NUL and lone surrogates are no error of either database; they are stored cleaned."""

    def test_everywhere_it_may_enter(self, outbox: Outbox, engine: Engine) -> None:
        """Whoever wrote it: a header, a shop, TikTok."""
        lane = Lane("acme", HOSTILE)
        item = mapped(HOSTILE, HOSTILE, Pixel(HOSTILE, "token", HOSTILE))
        outbox.add_lanes([lane])
        outbox.record(decision("body", item, delivery=HOSTILE, order_number=HOSTILE, topic=HOSTILE))
        outbox.record(decision("skip", outcome="skipped", reason=HOSTILE, object_key=HOSTILE))
        outbox.record(park_decision(ParkedWebhook(HOSTILE, HOSTILE, sha("parked"), HOSTILE, NOW, b"\x00\xff"), HOSTILE))
        outbox.count({(HOSTILE, HOSTILE, HOSTILE, 0): 1})
        outbox.start_stores([HOSTILE], NOW)
        outbox.heartbeat(HOSTILE, NOW)
        outbox.suspend(lane, NOW, NOW, HOSTILE, HOSTILE)
        (claimed,) = outbox.claim(lane, 10, HOSTILE, NOW, 60)
        result = settled(claimed, "rejected", NOW, 40002, HOSTILE, HOSTILE)
        assert outbox.settle(HOSTILE, claimed.lease_until, [result]) == 1
        (row,) = rows(engine)
        assert (row.pixel, row.test_code, row.message, row.request_id) == (CLEAN,) * 4
        assert row.event_id == f"acme-order-{CLEAN}"
        assert OutboxQueries(outbox.database).parked()[0].sealed == b"\x00\xff"
        assert OutboxQueries(outbox.database).parked(HOSTILE)[0].reason == CLEAN
        assert [state.reason for state in OutboxQueries(outbox.database).lane_states()] == [CLEAN]
        lines, found = OutboxQueries(outbox.database).show(f"acme-order-{HOSTILE}")
        assert (len(lines), found) == (1, [row])

    def test_a_repeated_skip_with_it_is_still_recognised(self, outbox: Outbox, engine: Engine) -> None:
        """What is looked for is cleaned like what is stored."""
        for body in "12":
            outbox.record(decision(body, outcome="skipped", reason=HOSTILE, object_key=HOSTILE))
        assert len(rows(engine, ledger)) == 1


class TestCannotStore:
    """The database's failures are one exception, without a shop's data in it."""

    VERBS: tuple[Callable[[Outbox], object], ...] = (
        lambda outbox: outbox.record(decision("body", mapped("secret-1"), order_number="#secret-2")),
        lambda outbox: outbox.record(
            park_decision(ParkedWebhook("acme", "t", sha("body"), "secret-3", NOW, b"secret-4"))
        ),
        lambda outbox: outbox.count({("acme", "secret-5", "ignored", 0): 1}),
        lambda outbox: outbox.claim(Lane("acme", "secret-6"), 10, "one", NOW, 60),
        lambda outbox: outbox.heartbeat("secret-7", NOW),
        lambda outbox: outbox.ping(),
    )

    def fails(self, outbox: Outbox) -> None:
        for verb in self.VERBS:
            with pytest.raises(CannotStore) as caught:
                verb(outbox)
            assert str(caught.value)
            assert "secret" not in str(caught.value)
            assert "INSERT" not in str(caught.value)

    @pytest.fixture
    def impatient(self, sqlite_url: str) -> Iterator[Engine]:
        engine = connect(sqlite_url, timeout=0.02)
        yield engine
        engine.dispose()

    @pytest.mark.slow
    def test_sqlite_locked_by_another(self, impatient: Engine) -> None:
        """A writer that does not end: tried for the patience, then given up; afterwards all is well."""
        migrate(impatient)
        other = sqlite3.connect(impatient.url.database or "", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        self.fails(Outbox(Database(impatient)))
        assert OutboxQueries(Database(impatient)).relay_seen() is None  # readers are not kept out
        other.execute("ROLLBACK")
        other.close()
        assert Outbox(Database(impatient)).record(decision("body", mapped(1))) == 1

    def test_sqlite_folder_vanished(self, impatient: Engine, tmp_path: Path) -> None:
        """A volume that was not mounted."""
        migrate(impatient)
        impatient.dispose()
        shutil.rmtree(tmp_path)
        outbox = Outbox(Database(impatient))
        self.fails(outbox)
        with pytest.raises(CannotStore, match="unable to open"):
            OutboxQueries(outbox.database).relay_seen()

    def test_sqlite_file_is_none(self, impatient: Engine, tmp_path: Path) -> None:
        """Something else lies where the database should."""
        (tmp_path / "connector.db").write_bytes(b"no database" * 1000)
        self.fails(Outbox(Database(impatient)))

    def test_no_tables(self, database_url: str) -> None:
        """Not migrated: the tables are missing."""
        engine = connect(database_url)
        self.fails(Outbox(Database(engine)))
        engine.dispose()

    def test_postgresql_unreachable(self) -> None:
        """Nobody listens; the password stays out of it."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
            port = taken.getsockname()[1]
            engine = connect(f"postgresql+psycopg://shop:secret-word@127.0.0.1:{port}/shop", timeout=1)
            self.fails(Outbox(Database(engine)))
            engine.dispose()

    def test_postgresql_locked_by_another(self, postgresql_url: str) -> None:
        """A lock that does not end is given up too."""
        first, engine = connect(postgresql_url), connect(postgresql_url, timeout=0.05)
        migrate(first)
        with first.begin() as connection:
            connection.exec_driver_sql("LOCK events, parked, counters, relays IN ACCESS EXCLUSIVE MODE")
            self.fails(Outbox(Database(engine)))
        assert Outbox(Database(engine)).record(decision("body", mapped(1))) == 1
        for each in (first, engine):
            each.dispose()

    def test_postgresql_restarted(self, postgresql_url: str) -> None:
        """A pooled connection that died is replaced without anybody's noticing."""
        engine, other = connect(postgresql_url), connect(postgresql_url)
        migrate(engine)
        with other.begin() as connection:
            # With a time-out (milliseconds) the function returns when the connection is closed, not before.
            others = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            connection.exec_driver_sql(f"{others} AND datname = current_database()")
        assert Outbox(Database(engine)).record(decision("body", mapped(1))) == 1
        for each in (engine, other):
            each.dispose()

    @pytest.mark.slow
    def test_every_connection_in_use(self, database_url: str) -> None:
        """A pool that is empty is waited for no longer than the patience."""
        engine = connect(database_url, timeout=0.5, pool_size=1)
        migrate(engine)
        with engine.connect().execution_options(reading=True), pytest.raises(CannotStore):
            OutboxQueries(Database(engine)).relay_seen()
        assert OutboxQueries(Database(engine)).relay_seen() is None
        engine.dispose()

    def test_refused_by_the_database(self, outbox: Outbox) -> None:
        """Even a slip of ours shows no value."""
        with pytest.raises(CannotStore) as caught:
            outbox.record(decision("body", mapped(1, occurred_at=datetime.now(UTC), object_key=None)))
        assert "acme-order-1" not in str(caught.value)
