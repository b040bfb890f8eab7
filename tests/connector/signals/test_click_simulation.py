"""Simulated shoppers, each event compared with a model; `make bench ARGS=matching` has a hundred thousand of them."""

import pytest

from connector.storage.database import Database
from tests.support.click_simulation import DAY, Simulation


@pytest.mark.slow
def test_every_event_has_exactly_the_keys_it_may_have(database):
    """On both databases."""
    simulate(database, seed=1)


@pytest.mark.slow
def test_other_shoppers(sqlite_engine):
    simulate(Database(sqlite_engine), seed=2)


def simulate(database, seed):
    """And enough happens for that to mean something."""
    simulation = Simulation(database, 300, seed, housekeeping=10 * DAY)
    simulation.run()
    counts = simulation.counts
    assert counts["with a click id"] > 1.15 * counts["with a click id of their own"]
    assert min(counts[name] for name in ("refusals", "erasures", "checked in the queue")) >= 10
