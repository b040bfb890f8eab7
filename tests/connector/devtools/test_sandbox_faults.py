"""The fake Events API: the faults it can be told to have."""

import json
import threading

import pytest

from connector.devtools.sandbox.server import TRACK, Sandbox, create_app
from tests.support.sandbox_requests import HEADERS, PIXEL, Clock, body, event, fault, said, send, sha

# Faults


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({"kind": "rate_limit"}, 40100, "Too many requests. Please retry in some time."),
        ({"kind": "revoke"}, 40105, "Access token is incorrect or has been revoked."),
        (
            {"kind": "no_permission"},
            40001,
            (
                f"No permission to operate pixel code: {PIXEL}. "
                "You must be an admin or operator of this advertiser account."
            ),
        ),
        ({"kind": "bad_source"}, 40002, "Invalid value for event_source_id: not a valid string."),
        ({"kind": "code", "code": 50000, "message": "System error."}, 50000, "System error."),
    ],
)
def test_a_refusing_fault(sandbox: Sandbox, fields: dict[str, object], code: int, message: str) -> None:
    """It refuses with TikTok's own words and stores nothing, until it is cleared."""
    fault(sandbox, **fields)
    assert send(sandbox) == (code, message)
    assert sandbox.received() == []
    sandbox.clear_faults()
    assert send(sandbox)[0] == 0


def test_a_code_fault_may_have_a_status(sandbox: Sandbox) -> None:
    fault(sandbox, kind="code", code=40102, status=401)
    answer = sandbox.answer(HEADERS, body())
    assert (answer.status, said(answer)) == (401, (40102, ""))


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", ["server_error", "html", "truncated", "drop", "missing_code", "partial"])
def test_an_ambiguous_fault_may_store_first(sandbox: Sandbox, kind: str, after: bool) -> None:
    """The client cannot tell whether its events were stored; `after` decides."""
    fault(sandbox, kind=kind, after=after)
    sandbox.answer(HEADERS, body())
    assert len(sandbox.received()) == after
    sandbox.answer(HEADERS, body(event(1)))
    assert len(sandbox.received()) == after


def test_the_broken_answers(sandbox: Sandbox) -> None:
    """Each is broken in its own way."""
    answers = {}
    for kind in ("server_error", "html", "truncated", "drop", "redirect", "missing_code"):
        fault(sandbox, kind=kind, times=1)
        answers[kind] = sandbox.answer(HEADERS, body())
    assert answers["server_error"].status == 502
    assert b"nginx" in answers["server_error"].body
    assert answers["html"][:2] == (200, "text/html")
    assert answers["truncated"].body.startswith(b'{"code":0')
    with pytest.raises(json.JSONDecodeError):
        json.loads(answers["truncated"].body)
    assert answers["drop"].dropped
    assert answers["redirect"].status == 302
    assert answers["redirect"].location == "https://elsewhere.example/"
    assert "code" not in json.loads(answers["missing_code"].body)
    assert sandbox.received() == []


def test_partial_is_20001_and_stores(sandbox: Sandbox) -> None:
    fault(sandbox, kind="partial")
    assert send(sandbox)[0] == 20001
    assert len(sandbox.received()) == 1


def test_poison_names_the_index_unless_told_not_to(sandbox: Sandbox) -> None:
    fault(sandbox, kind="poison", event_ids=["bad"])
    assert send(sandbox, event("1"), event("bad"))[1].startswith("Invalid value for data.1.event_id: ")
    assert sandbox.received() == []
    assert send(sandbox, event("1"))[0] == 0
    sandbox.clear_faults()
    fault(sandbox, kind="poison", event_ids=["bad"], named=False)
    assert send(sandbox, event("1"), event("bad")) == (40002, "Invalid value for event_id")


def test_times_are_used_up_by_struck_requests_only(sandbox: Sandbox) -> None:
    fault(sandbox, kind="poison", event_ids=["bad"], times=2)
    codes = [send(sandbox, event(event_id))[0] for event_id in ("bad", "good", "bad", "bad")]
    assert codes == [40002, 0, 40002, 0]
    assert sandbox.faults() == []


def test_probability_is_repeatable_by_seed(clock: Clock) -> None:
    def codes(seed: int) -> list[int]:
        sandbox = Sandbox(clock)
        fault(sandbox, kind="rate_limit", probability=0.5, seed=seed)
        return [send(sandbox)[0] for _ in range(64)]

    assert codes(1) == codes(1) != codes(2)
    assert 10 < codes(1).count(0) < 54


def test_filters_by_token_and_source(sandbox: Sandbox) -> None:
    fault(sandbox, kind="revoke", token="token-one")
    fault(sandbox, kind="no_permission", source="CTESTPIXEL0000000002")
    assert send(sandbox)[0] == 40105
    assert send(sandbox, token="token-two")[0] == 0
    assert send(sandbox, token="token-two", event_source_id="CTESTPIXEL0000000002")[0] == 40001


def test_tokens_can_be_limited_to_a_list(sandbox: Sandbox) -> None:
    fault(sandbox, kind="revoke", allow=["token-two"])
    assert send(sandbox)[0] == 40105
    assert send(sandbox, token="token-two")[0] == 0


def test_no_token_is_ever_shown(sandbox: Sandbox) -> None:
    fault(sandbox, kind="revoke", token="secret-one", allow=["secret-two"])
    client = create_app(sandbox).test_client()
    client.post(TRACK, headers={"Access-Token": "secret-three"}, data=body())
    for path in ("/", "/faults", "/received", "/counts"):
        assert "secret" not in client.get(path).text
    assert sandbox.faults()[0]["token"] == sha("secret-one")[:8]


@pytest.mark.parametrize("after", [False, True])
def test_a_hang_waits_until_it_is_cleared(clock: Clock, after: bool) -> None:
    """With `after` the event is stored before the wait, else when it ends; the answer is true either way."""
    hanging = threading.Event()
    asked: list[float] = []

    def pause(cleared: threading.Event, seconds: float) -> None:
        asked.append(seconds)
        hanging.set()
        assert cleared.wait(120)

    sandbox = Sandbox(clock, pause)
    fault(sandbox, kind="hang", after=after, seconds=45)
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(send(sandbox)[0]))
    thread.start()
    assert hanging.wait(120)
    assert len(sandbox.received()) == after
    sandbox.clear_faults()
    thread.join(120)
    assert (asked, codes, len(sandbox.received())) == ([45], [0], 1)


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (b"{", "Invalid fault"),
        (b"[]", "Invalid fault"),
        (b"\xff", "Invalid fault"),
        (b"[" * 100_000, "Invalid fault"),
        (b"{}", "kind"),
        (b'{"kind": "earthquake"}', "earthquake"),
        (b'{"kind": "rate_limit", "seconds": 1}', "seconds"),
        (b'{"kind": "rate_limit", "colour": 1}', "colour"),
        (b'{"kind": "rate_limit", "times": 0}', "times"),
        (b'{"kind": "rate_limit", "times": "3"}', "times"),
        (b'{"kind": "rate_limit", "probability": 2}', "probability"),
        (b'{"kind": "poison"}', "event_ids"),
        (b'{"kind": "code"}', '"code"'),
        (b'{"kind": "redirect", "location": "https://a.example/\\r\\nX: y"}', "location"),
    ],
)
def test_a_wrong_fault_is_400_with_a_sentence(sandbox: Sandbox, raw: bytes, word: str) -> None:
    answer = create_app(sandbox).test_client().post("/faults", data=raw)
    assert answer.status_code == 400
    assert word in answer.get_json()["error"]
    assert sandbox.faults() == []


# The HTTP shell
