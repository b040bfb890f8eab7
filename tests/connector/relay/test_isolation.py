"""The relay: finding the event for which TikTok refuses a batch."""

import json

import httpx
import pytest

from connector.devtools.sandbox.faults import Fault
from tests.support.relay_world import BAD_ID, World, always, blaming, coded


class TestBadEvents:
    """A bad event never costs its neighbours."""

    def test_a_single_bad_event_is_rejected_in_tiktoks_words(self, both: World) -> None:
        """Kept, visible, replayable."""
        both.put(1)
        both.script = always(lambda: coded(40002, BAD_ID))
        both.step()
        row = both.row()
        assert (row.state, row.code, row.message, row.request_id) == ("rejected", 40002, BAD_ID, "2026")
        assert row.payload
        assert both.lane().suspended_until is None

    @pytest.mark.parametrize(("named", "most"), [(True, 10), (False, 80)])
    @pytest.mark.parametrize("bad", [(17, 500, 1000), (1, 2, 3), (998, 999, 1000), (500, 501, 750)])
    @pytest.mark.slow
    def test_three_of_a_thousand(self, world: World, named: bool, most: int, bad: tuple[int, ...]) -> None:
        """997 accepted, 3 rejected: named ones in a few requests, others by halves."""
        world.put(*range(1, 1001))
        world.script = blaming(*bad, named=named)
        world.step()
        assert world.states() == {"accepted": 997, "rejected": 3}
        assert {world.row(number).state for number in bad} == {"rejected"}
        assert world.row(bad[0]).message.startswith("Invalid value for ")
        assert len(world.requests) <= most
        assert set(world.taken().values()) == {1}
        assert world.lane().suspended_until is None

    def test_poison_in_the_sandbox(self, both: World) -> None:
        """The same against the sandbox's own idea of it, on both databases."""
        both.put(*range(1, 41))
        both.sandbox.set_fault(Fault("poison", event_ids=["acme-3", "acme-40"], named=False))
        both.step()
        assert both.states() == {"accepted": 38, "rejected": 2}

    def test_an_index_is_not_believed_blindly(self, world: World) -> None:
        """Counted from one, or of an element inside: the named event is asked about alone first."""
        world.put(1, 2, 3)

        def script(request: httpx.Request) -> httpx.Response | None:
            ids = [item["event_id"] for item in json.loads(request.content)["data"]]
            return coded(40002, f"index {ids.index('acme-2') + 1}") if "acme-2" in ids else None

        world.script = script
        world.step()
        assert {number: world.row(number).state for number in (1, 2, 3)} == {
            1: "accepted",
            2: "rejected",
            3: "accepted",
        }

    @pytest.mark.slow
    def test_many_bad_ones_in_different_words(self, world: World) -> None:
        """Nobody is buried and nothing breaks, however many."""
        world.put(*range(1, 301))

        def script(request: httpx.Request) -> httpx.Response | None:
            ids = [item["event_id"] for item in json.loads(request.content)["data"]]
            first = next((n for n, event_id in enumerate(ids) if event_id != "acme-300"), None)
            kind = "id" if first is not None and int(ids[first][5:]) % 2 else "time"
            return None if first is None else coded(40002, f"data.{first}.event_{kind}: bad")

        world.script = script
        world.step()
        assert world.states() == {"accepted": 1, "rejected": 299}

    def test_a_batch_too_large_for_a_proxy_is_halved(self, world: World) -> None:
        """HTTP 413: nobody's fault, and nothing is rejected."""
        world.put(*range(1, 101))
        world.script = lambda request: httpx.Response(413) if len(json.loads(request.content)["data"]) > 30 else None
        world.step()
        assert world.states() == {"accepted": 100}

    def test_a_failure_while_looking_settles_what_is_known(self, world: World) -> None:
        """The culprit is rejected, the rest is tried again."""
        world.put(*range(1, 11))
        world.script = always(
            lambda: coded(40002, "data.4.event_id: bad"), lambda: coded(40002, BAD_ID), lambda: coded(50000)
        )
        world.step()
        assert world.states() == {"rejected": 1, "due": 9}
        world.script = lambda _: None
        world.step(60)
        assert world.states() == {"rejected": 1, "accepted": 9}


class TestSameRefusal:
    """Every event refused in the same words: the setup is at fault, and nothing is buried."""

    @pytest.mark.parametrize("named", [True, False])
    @pytest.mark.parametrize("many", [2, 7, 1000])
    def test_refuses_the_lane_and_keeps_the_events(self, world: World, named: bool, many: int) -> None:
        """Found out in few requests, even with a thousand waiting."""
        world.put(*range(1, many + 1))
        world.script = blaming(*range(1, many + 1), named=named)
        world.step()
        assert world.states() == {"due": many}
        assert world.lane().suspended_until > world.now
        assert "event_id" in world.lane().reason
        assert len(world.requests) <= 50

    def test_a_probe_refused_so_again_is_not_buried_either(self, world: World) -> None:
        """One event at a time would else go the same way; when the words change, or end, all is well."""
        world.put(*range(1, 6))
        world.script = blaming(*range(1, 6), named=False)
        for _ in range(10):
            world.step(600)
        assert world.states() == {"due": 5}
        assert all(len(request) == 1 for request in world.requests[-9:])
        world.script = lambda _: None
        world.step(600)
        assert world.states() == {"accepted": 5}

    def test_once_an_event_was_taken_the_others_are_their_own_fault(self, world: World) -> None:
        """Two bad events alone look like a bad setup, until a good one comes."""
        world.put(1, 2)
        world.script = blaming(1, 2, named=True)
        world.step()
        assert world.states() == {"due": 2}
        world.put(3)
        for _ in range(3):
            world.step(600)
        assert {number: world.row(number).state for number in (1, 2, 3)} == {
            1: "rejected",
            2: "rejected",
            3: "accepted",
        }
        assert world.lane().suspended_until is None

    def test_refused_in_two_ways_is_two_bad_events(self, world: World) -> None:
        """Different words, different faults."""
        world.put(1, 2)

        def script(request: httpx.Request) -> httpx.Response:
            ids = [item["event_id"] for item in json.loads(request.content)["data"]]
            return coded(40002, "bad time" if ids == ["acme-2"] else "bad id")

        world.script = script
        world.step()
        assert world.states() == {"rejected": 2}

    @pytest.mark.parametrize("named", [True, False])
    def test_the_events_of_one_order_say_nothing_about_the_setup(self, world: World, named: bool) -> None:
        """Placed and paid, a bad order is rejected twice in the same words; the next order is sent at once."""
        world.put(1, 2, order="1001")
        world.script = blaming(1, 2, named=named)
        world.step()
        assert world.states() == {"rejected": 2}
        assert world.lane().suspended_until is None
        world.put(3)
        world.step()
        assert world.row(3).state == "accepted"

    def test_a_partial_success_that_names_every_event_rejects_them(self, world: World) -> None:
        """Code 20001: TikTok took the request, so token and pixel are right."""
        world.put(1, 2)
        world.script = always(lambda: coded(20001, "data.0.event_id: bad; data.1.event_id: bad"))
        world.step()
        assert world.states() == {"rejected": 2}
        assert world.lane().suspended_until is None
