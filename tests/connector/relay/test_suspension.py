"""The relay: lanes whose token TikTok refuses."""

import logging
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from connector.devtools.sandbox.faults import Fault
from connector.outbox.lanes import fingerprint
from connector.storage.tables import events
from tests.support.relay_world import HOUR, START, World, always, coded, shop

pytestmark = pytest.mark.databases("sqlite")


class TestDenied:
    """Token, permission, pixel: the lane waits, loudly."""

    @pytest.mark.parametrize("kind", ["revoke", "no_permission", "bad_source"])
    def test_all_events_wait(self, both: World, kind: Any, caplog: pytest.LogCaptureFixture) -> None:
        """One request finds out; no attempt is counted; the log says what to check, and no token."""
        both.put(*range(250))
        both.sandbox.set_fault(Fault(kind))
        with caplog.at_level(logging.INFO):
            both.step()
        assert len(both.requests) == 1
        assert both.states() == {"due": 250}
        assert {(row.attempts, row.tried_at, row.sent_at) for row in both.rows().values()} == {(0, None, None)}
        (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert "Check pixel and access_token" in record.getMessage()
        assert "token-one" not in caplog.text + str([record.__dict__ for record in caplog.records])

    @pytest.mark.slow
    def test_probes_with_one_event_and_growing_pauses(self, both: World) -> None:
        """A different event each time; at most ten minutes apart."""
        both.put(*range(1, 31))
        both.sandbox.set_fault(Fault("revoke"))
        pauses = []
        for _ in range(14):
            both.step()
            pauses.append(both.lane().suspended_until - both.now)
            assert both.step(pauses[-1] - 0.01) == 0  # nobody asks before
            both.now += 0.02
        assert [len(request) for request in both.requests] == [30] + [1] * 13
        assert len({request[0] for request in both.requests[1:]}) == 13
        assert all(earlier < later * 1.01 or later > 300 for earlier, later in zip(pauses, pauses[2:], strict=False))
        assert 300 <= pauses[-1] <= 600
        assert (both.lane().denials, both.lane().suspended_since) == (14, START)

    def test_opens_by_itself_when_tiktok_accepts(self, both: World) -> None:
        """The probe is accepted, and all the rest flows in the same round."""
        both.put(*range(1, 31))
        both.sandbox.set_fault(Fault("revoke"))
        both.step()
        both.sandbox.clear_faults()
        both.step(600)
        assert both.states() == {"accepted": 30}
        assert [len(request) for request in both.requests] == [30, 1, 29]
        assert (both.lane().suspended_until, both.lane().denials) == (None, 0)

    def test_opens_at_once_with_another_token(self, both: World) -> None:
        """A restart with a new token does not wait for the pause."""
        both.put(*range(1, 31))
        both.sandbox.set_fault(Fault("revoke", allow=["token-new"]))
        both.step()
        both.start(shop(token="token-one"))
        assert both.step(1) == 0  # a restart alone changes nothing
        both.start(shop(token="token-new"))
        both.step(1)
        assert both.states() == {"accepted": 30}
        assert [len(request) for request in both.requests] == [30, 1, 29]

    def test_another_token_is_logged_once_when_it_is_tried(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Not at each look at the lane, such as while another worker has it or the lane pauses."""
        world.put(1, 2)
        world.script = always(lambda: coded(40105), lambda: coded(40100))
        world.step()
        world.start(shop(token="token-new"))
        with caplog.at_level(logging.INFO):
            world.step(1)
            for _ in range(10):
                world.step(0.01)
        assert len([record for record in caplog.records if "token has changed" in record.getMessage()]) == 1
        assert [len(request) for request in world.requests] == [2, 1]

    def test_another_wrong_token_waits_as_well(self, world: World) -> None:
        """Asked once, then refused under its own fingerprint."""
        world.put(1, 2)
        world.sandbox.set_fault(Fault("revoke"))
        world.step()
        world.start(shop(token="token-worse"))
        world.step(1)
        assert world.step(0.5) == 0
        assert world.lane().suspended_token == fingerprint("token-worse")
        assert [len(request) for request in world.requests] == [2, 1]

    def test_a_probe_that_meets_another_trouble_opens_nothing(self, world: World) -> None:
        """A rate limit says nothing about the token."""
        world.put(1, 2)
        world.script = always(lambda: coded(40105), lambda: coded(40100))
        world.step()
        world.step(600)
        assert [len(request) for request in world.requests] == [2, 1]
        assert world.lane().suspended_until is not None

    def test_a_probe_too_old_to_be_sent_is_no_probe(self, world: World) -> None:
        """The next event asks, and still alone."""
        world.put(1, age=6.9 * 24 * HOUR)
        world.now += 1
        world.put(2, 3)
        world.script = always(lambda: coded(40105))
        world.step()
        with world.engine.begin() as connection:  # as if the old one had been the longest due
            connection.execute(sa.update(events).where(events.c.event_id == "acme-1").values(due_at=START))
        world.step(5 * HOUR)
        assert world.row(1).state == "expired"
        assert [len(request) for request in world.requests] == [3, 1]

    def test_waits_for_days_and_then_has_its_24_hours(self, world: World) -> None:
        """Refused attempts do not use up the time for retries."""
        world.put(1)
        world.script = always(lambda: coded(40105))
        for _ in range(5):
            world.step(20 * HOUR)
        world.script = always(lambda: coded(40100), lambda: coded(0, "OK"))
        world.step(HOUR)
        assert world.row().state == "due"
        world.step(HOUR)
        assert world.row().state == "accepted"

    @pytest.mark.slow
    def test_the_24_hours_begin_anew_after_a_suspension(self, both: World) -> None:
        """Also for events that were tried before it and not probed during it."""
        both.put(1, 2, 3)
        both.script = always(lambda: coded(40100))
        both.step()
        both.script = always(lambda: coded(40105))
        for _ in range(26):
            both.step(HOUR)
        both.script = always(lambda: coded(0, "OK"), lambda: coded(40100))
        both.step(HOUR)
        both.put(9)
        both.step(HOUR)
        assert "expired" not in both.states()
        both.step(25 * HOUR)
        assert {row.state for row in both.rows().values()} <= {"accepted", "expired"}

    def test_a_retry_while_suspended_expires_nothing(self, world: World) -> None:
        """A throttled probe says nothing about the event."""
        world.put(1)
        world.script = always(lambda: coded(40100), lambda: coded(40105), lambda: coded(40100))
        world.step()
        world.step(HOUR)
        world.step(25 * HOUR)
        assert world.row().state == "due"

    def test_waits_until_the_age_limit(self, world: World) -> None:
        """Then expired, visibly."""
        world.put(1)
        world.script = always(lambda: coded(40105))
        for _ in range(8):
            world.step(24 * HOUR)
        assert world.row().state == "expired"
        assert "max_event_age" in world.row().message

    def test_other_lanes_never_notice(self, sqlite_engine: Engine) -> None:
        """Nor do they share the refused token's fate."""
        world = World(sqlite_engine, shop(), shop("two", "token-two"))
        world.put(1)
        world.put(1, store="two")
        world.sandbox.set_fault(Fault("revoke", allow=["token-two"]))
        world.step()
        assert (world.row().state, world.row(store="two").state) == ("due", "accepted")
        assert (world.lane().denials, world.lane("two").denials) == (1, 0)

    @pytest.mark.parametrize("token", ["", "tok\nen", "tøken", "a\udc80"])
    def test_an_unusable_token_is_a_refused_one(self, world: World, token: str) -> None:
        """The relay lives on, and works again once it is put right."""
        world.start(shop(token=token))
        world.put(1)
        for _ in range(2):
            world.step(600)
        assert (world.row().state, world.lane().denials, world.requests) == ("due", 2, [])
        world.start(shop())
        world.step(1)
        assert world.row().state == "accepted"
