"""A database that is slow, locked or away does not stop the event loop."""

import asyncio
import threading

import pytest
import sqlalchemy as sa

from connector.outbox.outbox import Outbox
from connector.storage import async_database
from connector.storage.async_database import SLOW, InLoopDatabase, PostgresqlDatabase, open_async
from connector.storage.database import CannotStore, Database, caused_by_one_row
from connector.storage.engine import connect, migrate
from connector.storage.group_commit import GroupCommit
from connector.storage.postgresql import connect_async
from connector.storage.write_lock import exclusive_writer
from tests.support.outbox_rows import decision, mapped, rows

LONG = 30.0
COUNT = sa.text("SELECT count(*) FROM events")


def count(connection):
    return connection.execute(COUNT).scalar_one(), threading.current_thread() is threading.main_thread()


@pytest.fixture
def sqlite(migrated_sqlite_url):
    engines = connect(migrated_sqlite_url, 0.02), connect(migrated_sqlite_url, LONG)
    yield InLoopDatabase(*map(Database, engines))
    for engine in engines:
        engine.dispose()


class Clock:
    """In place of the module `time`."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(async_database, "time", clock)
    return clock


@pytest.fixture
def slow_disk(monkeypatch, clock):
    """How many of the next commits take too long."""
    slow = [0]
    commit = sa.Connection.commit

    def commit_slowly(connection):
        if slow[0]:
            slow[0] -= 1
            clock.now += SLOW * 1.2
        commit(connection)

    monkeypatch.setattr(sa.Connection, "commit", commit_slowly)
    return slow


class TestSqlite:
    def test_a_free_lock_is_taken_in_the_loop(self, sqlite):
        """There is the speed."""
        assert asyncio.run(sqlite.write(count)) == (0, True)

    def test_a_lock_that_is_held_is_waited_for_in_a_thread(self, sqlite, migrated_sqlite_url):
        """Meanwhile the loop goes on."""

        async def wait_while_it_is_held():
            with exclusive_writer(f"{migrated_sqlite_url.removeprefix('sqlite:///')}.lock", LONG):
                writing = asyncio.create_task(sqlite.write(count))
                for _ in range(100):  # the loop runs on, whatever the writer waits for
                    await asyncio.sleep(0)
                assert not writing.done()
            return await writing

        assert asyncio.run(wait_while_it_is_held()) == (0, False)

    def test_a_lock_of_another_program_is_waited_for_in_a_thread(self, sqlite, migrated_sqlite_url):
        """One that knows nothing of the lock file."""

        async def wait_while_it_is_held():
            other = connect(migrated_sqlite_url)
            with other.connect().execution_options(reading=False) as connection:
                connection.execute(COUNT)
                writing = asyncio.create_task(sqlite.write(count))
                await asyncio.sleep(0)
                assert not writing.done()
                connection.rollback()
            other.dispose()
            return await writing

        assert asyncio.run(wait_while_it_is_held()) == (0, False)

    def test_a_locked_database_is_given_up_in_time(self, migrated_sqlite_url):
        database = InLoopDatabase(
            Database(connect(migrated_sqlite_url, 0.01)), Database(connect(migrated_sqlite_url, 0.05))
        )
        with (
            exclusive_writer(f"{migrated_sqlite_url.removeprefix('sqlite:///')}.lock", LONG),
            pytest.raises(CannotStore, match="other writers held the lock"),
        ):
            asyncio.run(database.write(count))
        asyncio.run(database.close())

    def test_after_a_slow_commit_the_next_transaction_runs_in_a_thread(self, sqlite, slow_disk):
        """A slow disk stops the loop once, until a commit is quick again."""

        async def four():
            slow_disk[0] = 2
            return [(await sqlite.write(count))[1] for _ in range(4)]

        assert asyncio.run(four()) == [True, False, False, True]

    def test_long_work_is_no_slow_disk(self, sqlite, clock):
        """In a thread it would only take longer."""

        def slowly(connection):
            clock.now += SLOW * 1.2
            return count(connection)

        async def two():
            return [(await sqlite.write(work))[1] for work in (slowly, count)]

        assert asyncio.run(two()) == [True, True]

    def test_a_bad_row_is_not_tried_again_in_a_thread(self, sqlite):
        tried = []

        def violate(connection):
            tried.append(threading.current_thread() is threading.main_thread())
            for _ in range(2):
                connection.execute(sa.text("INSERT INTO stores (name, started_at) VALUES ('twice', 1)"))

        with pytest.raises(CannotStore) as failure:
            asyncio.run(sqlite.write(violate))
        assert caused_by_one_row(failure.value)
        assert tried == [True]


class TestPostgresql:
    @pytest.fixture
    def outbox(self, postgresql_url):
        engine = connect(postgresql_url, timeout=LONG)
        migrate(engine)
        yield Outbox(Database(engine))
        engine.dispose()

    def test_the_loop_goes_on_while_the_server_waits(self, outbox, postgresql_url):
        """For a lock, as for anything else."""
        database = PostgresqlDatabase(connect_async(postgresql_url, LONG))

        async def wait_for_a_lock():
            with outbox.database.engine.connect() as other:
                other.execute(sa.text("LOCK TABLE events IN ACCESS EXCLUSIVE MODE"))
                writing = asyncio.create_task(database.write(count))
                for _ in range(100):
                    await asyncio.sleep(0)
                assert not writing.done()
                other.rollback()
            found = await writing
            await database.close()
            return found

        assert asyncio.run(wait_for_a_lock()) == (0, True)

    def test_a_lock_is_given_up_in_time_and_the_connection_is_used_again(self, outbox, postgresql_url):
        database = PostgresqlDatabase(connect_async(postgresql_url, 0.05))

        async def give_up():
            with outbox.database.engine.connect() as other:
                other.execute(sa.text("LOCK TABLE events IN ACCESS EXCLUSIVE MODE"))
                for _ in range(4):  # more often than there are connections
                    with pytest.raises(CannotStore, match=r"LockNotAvailable|QueryCanceled"):
                        await database.write(count)
                other.rollback()
            found = await database.write(count)
            await database.close()
            return found

        assert asyncio.run(give_up()) == (0, True)

    def test_a_text_no_index_can_hold_costs_no_other_webhook(self, outbox, postgresql_url):
        """Written in one group with others, it alone cannot be stored."""
        import random

        endless = random.Random(1).randbytes(9000).hex()
        database = open_async(postgresql_url)

        async def together():
            sizes = []

            def write(items):
                sizes.append(len(items))
                return database.write(lambda connection: outbox.write(connection, items))

            commits = GroupCommit(write, caused_by_one_row)
            decisions = [decision(f"body {number}"[:20], mapped(number)) for number in (1, 2, endless, 3)]
            found = await asyncio.gather(*map(commits.add, decisions), return_exceptions=True)
            await database.close()
            return sizes, found

        sizes, found = asyncio.run(together())
        assert sizes[0] == 4
        assert isinstance(found.pop(2), CannotStore)
        assert found == [1, 1, 1]
        assert {row.event_id for row in rows(outbox.database.engine)} == {f"acme-order-{n}" for n in (1, 2, 3)}


def test_the_url_decides(migrated_sqlite_url, postgresql_url):
    for url, kind in ((migrated_sqlite_url, InLoopDatabase), (postgresql_url, PostgresqlDatabase)):
        database = open_async(url)
        assert isinstance(database, kind)
        asyncio.run(database.close())
