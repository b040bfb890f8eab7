"""What a failed transaction says of its rows: whether one may be to blame, on a real PostgreSQL."""

import random
import threading

import pytest
import sqlalchemy as sa

from connector.outbox.outbox import Outbox
from connector.storage.database import CannotStore, Database
from connector.storage.engine import connect, migrate
from tests.support.filled import decision, mapped, rows

LONG = 30.0


@pytest.fixture
def outbox(postgresql_url):
    engine = connect(postgresql_url, timeout=LONG)
    migrate(engine)
    yield Outbox(Database(engine))
    engine.dispose()


def test_a_text_no_index_can_hold_costs_no_other_webhook(outbox):
    """Written in one group with others, it alone cannot be stored."""
    endless = random.Random(1).randbytes(9000).hex()
    outcomes = {}

    def record(number):
        try:
            outcomes[number] = outbox.record(decision(f"body {number}"[:20], mapped(number)))
        except CannotStore as error:
            outcomes[number] = error

    threads = [threading.Thread(target=record, args=(number,)) for number in (1, 2, endless, 3)]
    pause = threading.Event()
    with outbox.database.engine.connect() as other:
        other.execute(sa.text("LOCK TABLE events IN SHARE MODE"))
        threads[0].start()
        while outbox.group_commit.waiting or not outbox.group_commit.writing:
            pause.wait(0.001)
        for thread in threads[1:]:
            thread.start()
        while outbox.group_commit.waiting < 3:
            pause.wait(0.001)
        other.rollback()
    for thread in threads:
        thread.join(LONG)
    assert isinstance(outcomes.pop(endless), CannotStore)
    assert outcomes == {1: 1, 2: 1, 3: 1}
    assert {row.event_id for row in rows(outbox.database.engine)} == {"acme-order-1", "acme-order-2", "acme-order-3"}
