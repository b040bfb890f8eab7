"""Beacons, webhooks, relays and ends of waits in the same moment and in any order, on both databases."""

import threading
from multiprocessing import get_context

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.mapping.consent import CONSENT_MISSING
from connector.storage.engine import connect, migrate
from connector.storage.tables import metadata
from tests.support.checkouts import ASKING, SHOP, UNTOLD, Way
from tests.support.effort import examples


def together(*works):
    """All at once, in threads of their own; their exceptions are raised here."""
    barrier, errors = threading.Barrier(len(works)), []

    def run(work):
        barrier.wait(120)
        try:
            work()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not errors, errors
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.slow
class TestRaces:
    """Two processes share nothing but the database: here each has its own objects over the same one."""

    def test_webhook_and_beacon_in_the_same_moment(self, engine):
        """Whoever is second sees the first: no pair misses each other."""
        for number in range(25):
            one, two = Way(engine), Way(engine)
            token = f"checkout-token-{number}"
            two.token = token
            together(
                lambda one=one, token=token, number=number: one.webhook(
                    "orders/create", id=1000 + number, checkout_token=token, **UNTOLD
                ),
                two.beacon,
            )
        ways = Way(engine)
        rows = ways.rows()
        assert len(rows) == 25
        assert all(b"E.C.P.click" in row.payload and row.due_at == ways.now for row in rows)

    def test_duplicates_of_both_in_the_same_moment(self, engine):
        """Two copies of the webhook and two beacons that know different things: one event, with all of it."""
        for number in range(10):
            token = f"checkout-token-{number}"
            ways = [Way(engine) for _ in range(4)]
            for way in ways:
                way.token = token
            together(
                *(
                    lambda way=way, number=number, token=token: way.webhook(
                        "orders/create", id=1000 + number, checkout_token=token, **UNTOLD
                    )
                    for way in ways[:2]
                ),
                lambda way=ways[2]: way.beacon(ttp=None),
                lambda way=ways[3]: way.beacon(ttclid=None),
            )
        rows = Way(engine).rows()
        assert len(rows) == 10
        assert all(b"E.C.P.click" in row.payload and b"ttp-cookie" in row.payload for row in rows)

    def test_beacon_and_relay_in_the_same_moment(self, engine):
        """Either the event goes with what the browser told, or as it was: what is stored is what was sent."""
        joined = 0
        for number in range(15):
            way, other = Way(engine), Way(engine)
            token = f"checkout-token-{number}"
            other.token = token
            way.webhook("orders/create", id=1000 + number, checkout_token=token, **UNTOLD)
            way.now = other.now = way.now + 6
            together(way.relay.step, other.beacon)
            way.relay.step()
            (receipt,) = way.sandbox.received()
            row = way.rows()[-1]
            assert (row.state, row.payload) == ("accepted", receipt.item)
            joined += b"E.C.P.click" in receipt.item
        assert 0 <= joined <= 15

    def test_a_yes_and_the_end_of_the_wait_in_the_same_moment(self, engine):
        """Sent or skipped, never both, never neither."""
        for number in range(15):
            way, other = Way(engine, ASKING), Way(engine, ASKING)
            token = f"checkout-token-{number}"
            other.token = token
            way.webhook("orders/create", id=1000 + number, checkout_token=token, **UNTOLD)
            way.now = other.now = way.now + 6
            together(lambda way=way: way.holds.end(way.now), lambda other=other: other.beacon(consent="granted"))
            way.relay.step()
            way.step(1)
            row = way.rows()[-1]
            assert (row.state, len(way.sandbox.received())) in (("skipped", 0), ("accepted", 1))

    def test_two_ends_of_the_same_wait(self, engine):
        """Two relays look at the same moment: skipped once, told once."""
        one, two = Way(engine, ASKING), Way(engine, ASKING)
        one.webhook("orders/create", **UNTOLD)
        one.now = two.now = one.now + 6
        together(lambda: one.holds.end(one.now), lambda: two.holds.end(two.now))
        one.holds.end(one.now)
        assert one.lines() == [("orders/create", "skipped", f"PlaceAnOrder: {CONSENT_MISSING}")]


def _shop(url, numbers, start):
    """In a process of its own: webhooks of these checkouts."""
    engine = connect(url, timeout=10.0)
    start.wait(120)
    for number in numbers:
        Way(engine).webhook("orders/create", id=1000 + number, checkout_token=f"checkout-token-{number}", **UNTOLD)
    engine.dispose()


def _browsers(url, numbers, start):
    """In another: their beacons."""
    engine = connect(url, timeout=10.0)
    way = Way(engine)
    start.wait(120)
    for number in numbers:
        way.beacon(checkout_token=f"checkout-token-{number}")
    engine.dispose()


@pytest.mark.processes
def test_two_processes(database_url):
    """One takes the webhooks, the other the beacons, in the same order at the same time: every pair meets."""
    engine = connect(database_url)
    migrate(engine)
    engine.dispose()  # before others are started
    context = get_context("spawn")
    start, numbers = context.Barrier(2), range(60)
    processes = [context.Process(target=work, args=(database_url, numbers, start)) for work in (_shop, _browsers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    rows = Way(engine).rows()
    assert len(rows) == 60
    assert all(b"E.C.P.click" in row.payload for row in rows)
    engine.dispose()


STEPS = st.lists(
    st.sampled_from(["create", "paid", "updated", "beacon", "granted", "denied", "later", "relay"]), max_size=10
)


@examples(40)
@given(STEPS, st.booleans())
@pytest.mark.slow
def test_any_order_of_things(engine, steps, asked):
    """Whatever comes in whatever order: never sent twice, never without a yes, never other bytes than those stored."""
    with engine.begin() as connection:
        for table in metadata.sorted_tables:
            connection.execute(table.delete())
    way = Way(engine, ASKING if asked else SHOP)
    answer = ""
    for number, step in enumerate(steps):
        if step in ("create", "paid", "updated"):
            way.webhook(f"orders/{step}", note=str(number), **UNTOLD)
        elif step == "later":
            way.step(6)
        elif step == "relay":
            before = len(way.sandbox.received())
            way.relay.step()
            assert not asked or answer == "granted" or len(way.sandbox.received()) == before
        else:
            answer = step if step != "beacon" else answer
            way.beacon(consent=None if step == "beacon" else step)
        assert not asked or answer or not way.sandbox.received()
    way.step(10)
    way.step(10)
    sent = way.sent()
    for row in way.rows():
        assert row.state in ("accepted", "skipped")
        assert (row.state == "accepted") == (row.event in sent)
        if row.state == "accepted":
            assert row.payload in [receipt.item for receipt in way.sandbox.received()]
        else:
            assert row.payload is None
    assert asked or {row.state for row in way.rows()} <= {"accepted"}
