"""Simulated shoppers, each event compared with a model; `make bench ARGS=matching` has a hundred thousand of them."""

import pytest

from tests.support.click_simulation import DAY, Simulation


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_every_event_has_exactly_the_keys_it_may_have(database, seed):
    """On both databases; and enough happens for that to mean something."""
    simulation = Simulation(database, 300, seed, housekeeping=10 * DAY)
    simulation.run()
    counts = simulation.counts
    assert counts["with a click id"] > 1.15 * counts["with a click id of their own"]
    assert min(counts[name] for name in ("refusals", "erasures", "checked in the queue")) >= 10
