"""What a shop's pages say of their snippet: when it last reported, and whether it is today's."""

from dataclasses import replace

from connector.meter.buffer import ReportBuffer
from connector.meter.report import Report
from connector.monitoring.snippets import snippet_state
from connector.pixel.version import version
from tests.support.factories import a_store
from tests.support.platforms import PLATFORMS

STORE = a_store(meter=True)


def test_the_state_of_a_snippet(database):
    """None before a page reports; then of today's version, until the settings change and it is pasted again."""
    now = [1000.0]
    buffer = ReportBuffer(database, lambda: now[0])
    assert snippet_state(database, STORE) is None

    def report(store, *, loaded=True):
        now[0] += 100
        buffer.add("acme", Report(version(PLATFORMS["shopify"].snippet, store), loaded=loaded))
        buffer.flush()
        return now[0]

    first = report(STORE)
    state = snippet_state(database, STORE)
    assert (state.reported_at, state.is_current, state.loaded_at, state.outdated_at) == (first, True, first, None)
    changed = replace(STORE, consent="required")
    state = snippet_state(database, changed)
    assert (state.version, state.is_current, state.outdated_at) == (
        version(PLATFORMS["shopify"].snippet, STORE),
        False,
        first,
    )
    second = report(changed, loaded=False)
    state = snippet_state(database, changed)
    assert (state.reported_at, state.is_current, state.loaded_at, state.outdated_at) == (second, True, first, first)
    cached = report(STORE)
    state = snippet_state(database, changed)
    assert (state.reported_at, state.is_current, state.outdated_at) == (cached, False, cached)
    assert snippet_state(database, replace(STORE, name="beans")) is None
