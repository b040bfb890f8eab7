"""Turns: one process at a time, on whichever host; on SQLite and PostgreSQL."""

import pytest
from sqlalchemy import Engine

from connector.storage.database import Database
from connector.storage.lease import Lease
from tests.support.outbox_rows import NOW

LASTS = 300.0


@pytest.fixture
def lease(engine: Engine) -> Lease:
    return Lease(Database(engine), "a chore", LASTS)


def test_only_one_has_the_turn_until_it_ends(lease: Lease) -> None:
    """A dead process's turn ends by itself."""
    assert lease.take("one", NOW)
    assert not lease.take("two", NOW + LASTS)
    assert lease.take("one", NOW + LASTS)  # taken again
    assert not lease.take("two", NOW + 2 * LASTS)
    assert lease.take("two", NOW + 2 * LASTS + 1)
    assert not lease.take("one", NOW + 2 * LASTS + 2)


def test_given_back_it_is_free_at_once(lease: Lease) -> None:
    """By its owner only."""
    assert lease.take("one", NOW)
    lease.release("two")
    assert not lease.take("two", NOW + 1)
    lease.release("one")
    assert lease.take("two", NOW + 1)


def test_a_turn_from_the_future_does_not_block(lease: Lease) -> None:
    """A clock jumped, and its turn would last for hours."""
    assert lease.take("one", NOW + 5 * 3600)
    assert lease.take("two", NOW)


def test_turns_at_different_work_are_apart(lease: Lease, engine: Engine) -> None:
    """Whoever keeps house does not keep others from sending alerts."""
    assert lease.take("one", NOW)
    assert Lease(Database(engine), "another chore", LASTS).take("two", NOW)
