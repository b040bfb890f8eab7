"""Half a minute of the crash harness on each database; `make faults` runs it for as long as asked."""

import pytest

from tests.faults.storm import storm


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_nothing_answered_200_is_lost_and_nothing_counts_twice(kind, capsys):
    """Whatever is killed, restarted or refused; see storm.py for what is compared."""
    report = storm(kind, seed=7, kills=0, seconds=12, say=lambda _: None)
    print(report)
    assert report.good, str(report)
    assert report.kills > 0
    assert report.stored > 50
