"""The fake Events API: what it accepts, remembers and shows, over HTTP too."""

import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.devtools.sandbox.rules import Refusal, open_envelope, read_events
from connector.devtools.sandbox.server import MAX_RECEIPTS, TRACK, Sandbox, create_app, create_server
from tests.support.sandbox_requests import (
    HEADERS,
    HOUR,
    NOW,
    PIXEL,
    Clock,
    body,
    event,
    fault,
    kept_ids,
    said,
    send,
    sha,
)


def test_a_good_event_is_accepted_with_tiktoks_answer(sandbox: Sandbox) -> None:
    """Code 0, message OK, empty data, and a request_id that starts with the time."""
    reply = json.loads(sandbox.answer({"access-token": "t"}, body()).body)
    assert (reply["code"], reply["message"], reply["data"]) == (0, "OK", {})
    assert reply["request_id"].startswith("20251009085320")
    assert len(reply["request_id"]) == 34
    assert reply["request_id"] == reply["request_id"].upper()


def test_an_item_is_kept_exactly_as_sent(sandbox: Sandbox) -> None:
    """The bytes of the item come back, digits and all, with source, test code and time beside them."""
    item = json.dumps(event()).replace("44.5", "44.50")
    raw = f'{{"event_source":"web","event_source_id":"{PIXEL}","test_event_code":"TEST1","data":[{item}]}}'
    sandbox.answer(HEADERS, raw.encode())
    [receipt] = sandbox.received()
    assert receipt.item == item.encode()
    assert json.loads(receipt.json()) == {
        "event_source": "web",
        "event_source_id": PIXEL,
        "test_event_code": "TEST1",
        "accepted_at": NOW,
        "duplicate": False,
        "item": event(),
    }


def test_no_test_code_is_null(sandbox: Sandbox) -> None:
    send(sandbox)
    assert json.loads(sandbox.received()[0].json())["test_event_code"] is None


def test_unknown_keys_are_tolerated(sandbox: Sandbox) -> None:
    """TikTok's own templates send keys that no page lists."""
    strange = event(device={"mobile": True}, user={"phone_number": "1"}, properties={"gtm_version": "1"})
    assert send(sandbox, strange, partner="x")[0] == 0


def test_user_page_and_properties_may_be_absent(sandbox: Sandbox) -> None:
    assert send(sandbox, {"event": "Lead", "event_time": int(NOW), "event_id": "l-1"})[0] == 0


def test_only_the_last_ten_thousand_are_kept(sandbox: Sandbox) -> None:
    """The oldest fall out; the counts still know them all."""
    for batch in range(11):
        plain = [{"event": "Lead", "event_time": int(NOW), "event_id": f"{batch}-{i}"} for i in range(1000)]
        assert send(sandbox, *plain)[0] == 0
    assert len(sandbox.received()) == MAX_RECEIPTS == 10_000
    assert kept_ids(sandbox)[0] == ("1-0", False)
    assert sandbox.counts()["accepted"] == 11_000


# Refusals


def test_another_route_is_40400(sandbox: Sandbox) -> None:
    assert said(sandbox.no_route())[0] == 40400
    assert sandbox.counts()["by_code"] == {"40400": 1}


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["web", PIXEL]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
KEYS = ["event", "event_time", "event_id", "user", "properties", "page", "limited_data_use"]
ITEMS = st.dictionaries(st.sampled_from(KEYS), JSON_VALUES).map(lambda changes: event() | changes)
TOPS = st.fixed_dictionaries(
    {"event_source": st.just("web"), "event_source_id": st.just(PIXEL), "data": st.lists(ITEMS) | JSON_VALUES}
)


@given(raw=st.binary() | (JSON_VALUES | TOPS).map(lambda value: json.dumps(value).encode()))
def test_any_body_gets_an_answer_with_a_code(raw: bytes) -> None:
    """A hostile body is refused or accepted, never an exception."""
    sandbox = Sandbox(Clock())
    code, _ = said(sandbox.answer(HEADERS, raw))
    assert code in {0, 40002, 40061, 40062}
    assert (code == 0) == bool(sandbox.received())
    if code == 0:
        assert create_app(sandbox).test_client().get("/").status_code == 200


def test_an_item_nested_too_deep_for_the_page_does_not_break_it(sandbox: Sandbox) -> None:
    """A depth that is just readable here is not readable in a web framework's deeper stack."""
    for depth in range(500, sys.getrecursionlimit(), 5):
        deep = json.dumps(event(f"deep-{depth}")).replace('"page"', f'"x": {"[" * depth}{"]" * depth}, "page"')
        sandbox.answer(HEADERS, body("here").replace(b'"here"', deep.encode()))
    assert len(sandbox.received()) > 10
    assert create_app(sandbox).test_client().get("/").status_code == 200


def test_the_rules_stand_alone() -> None:
    """Another test can hold a payload against the rules without a sandbox."""
    with pytest.raises(Refusal, match="event_id") as refused:
        read_events(open_envelope(body(event(1))), NOW)
    assert refused.value.code == 40002


# Deduplication


def test_a_second_copy_within_48_hours_is_a_duplicate(sandbox: Sandbox, clock: Clock) -> None:
    """Counted from the first accepted copy, not from the latest."""
    send(sandbox)
    clock.now += 47 * HOUR
    assert send(sandbox)[0] == 0
    clock.now += HOUR
    send(sandbox, event(event_time=int(clock.now)))
    clock.now += 47 * HOUR
    send(sandbox, event(event_time=int(clock.now)))
    assert [duplicate for _, duplicate in kept_ids(sandbox)] == [False, True, False, True]


def test_the_key_is_source_event_and_event_id(sandbox: Sandbox) -> None:
    """A test code is no part of it."""
    send(sandbox)
    send(sandbox, test_event_code="TEST1")
    send(sandbox, event(event="PlaceAnOrder"))
    send(sandbox, event_source_id="CTESTPIXEL0000000002")
    send(sandbox, event("acme-order-2"), event("acme-order-2"))
    marks = [duplicate for _, duplicate in kept_ids(sandbox)]
    assert marks == [False, True, False, False, False, True]


# Counts and clearing


def test_counts(sandbox: Sandbox) -> None:
    """Events and requests are counted apart; duplicates are no conversions."""
    send(sandbox, event("1"), event("2"), event("3", event="Lead"))
    send(sandbox, event("1"))
    send(sandbox, event(1))
    fault(sandbox, kind="html")
    sandbox.answer(HEADERS, body())
    assert sandbox.counts() == {
        "requests": 4,
        "accepted": 3,
        "duplicates": 1,
        "refused": 2,
        "by_code": {"0": 2, "40002": 1, "none": 1},
        "by_event": {"Lead": 1, "Purchase": 2},
        "by_source": {PIXEL: 3},
    }


def test_clear_forgets_everything_but_the_faults(sandbox: Sandbox) -> None:
    send(sandbox)
    fault(sandbox, kind="rate_limit", times=1)
    sandbox.clear()
    assert sandbox.received() == []
    assert sandbox.counts()["requests"] == 0
    assert send(sandbox)[0] == 40100
    send(sandbox)
    assert kept_ids(sandbox) == [("acme-order-1", False)]


def test_the_side_routes(sandbox: Sandbox) -> None:
    """Receipts, counts and faults can be read, set and cleared."""
    client = create_app(sandbox).test_client()
    assert client.post(TRACK, headers=HEADERS, data=body()).get_json()["code"] == 0
    assert [receipt["item"] for receipt in client.get("/received").get_json()] == [event()]
    assert client.get("/counts").get_json()["accepted"] == 1
    assert client.delete("/received").status_code == 204
    assert client.get("/received/").get_json() == []
    assert client.post("/faults", json={"kind": "rate_limit", "times": 2}).status_code == 201
    assert client.get("/faults").get_json() == [{"kind": "rate_limit", "times": 2}]
    assert client.post(TRACK, headers=HEADERS, data=body()).get_json()["code"] == 40100
    assert client.get("/faults").get_json() == [{"kind": "rate_limit", "times": 1}]
    assert client.delete("/faults").status_code == 204
    assert client.get("/faults").get_json() == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", TRACK.rstrip("/")),
        ("GET", TRACK),
        ("POST", "/open_api/v1.3/pixel/track/"),
        ("POST", "/open_api/v1.3//event/track/"),
        ("POST", "/open_api"),
    ],
)
def test_a_wrong_api_route_is_40400(sandbox: Sandbox, method: str, path: str) -> None:
    answer = create_app(sandbox).test_client().open(path, method=method, headers=HEADERS, data=body())
    assert (answer.status_code, answer.get_json()["code"]) == (200, 40400)


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("PUT", "/counts", 405)])
def test_other_wrong_routes_are_json(sandbox: Sandbox, method: str, path: str, status: int) -> None:
    answer = create_app(sandbox).test_client().open(path, method=method)
    assert answer.status_code == status
    assert answer.get_json()["error"]


def test_the_page_shows_what_arrived(sandbox: Sandbox) -> None:
    """Digits as sent, match keys, marks, faults; and nobody's markup but ours."""
    item = json.dumps(event("<script>alert(1)</script>")).replace("44.5", "44.50").encode()
    raw = body(test_event_code="TEST9").replace(json.dumps(event()).encode(), item)
    for _ in range(2):
        assert said(sandbox.answer(HEADERS, raw))[0] == 0
    fault(sandbox, kind="rate_limit")
    page = create_app(sandbox).test_client().get("/")
    for text in ("44.50 USD", "ttclid", "TEST9", PIXEL, "rate_limit", "EVENTS_API_URL", "2025-10-09 08:53:20"):
        assert text in page.text
    assert page.text.count(">duplicate<") == 1
    assert "<script" not in page.text
    assert sha("ann@example.com") not in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


@pytest.fixture
def base(sandbox: Sandbox) -> Iterator[str]:
    server = create_server(sandbox, 0)
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(120)


def test_a_connection_is_kept_and_every_body_is_read(base: str, sandbox: Sandbox) -> None:
    """Several requests, wrong ones among them, on one socket; chunked bodies too."""
    opened: list[str] = []

    def note(name: str, _: object) -> None:
        opened.extend([name] if name == "connection.connect_tcp.started" else [])

    with httpx.Client(base_url=base, trust_env=False) as client:
        ask: Callable[..., httpx.Response] = client.request
        seen = {"extensions": {"trace": note}, "headers": HEADERS}
        assert ask("POST", TRACK, content=body(), **seen).json()["code"] == 0
        assert ask("POST", "/nowhere", content=body(), **seen).status_code == 404
        assert ask("POST", TRACK, content=iter([body()[:9], body()[9:]]), **seen).json()["code"] == 0
        assert ask("DELETE", "/faults", **seen).status_code == 204
        assert ask("HEAD", "/counts", **seen).content == b""
        answer = ask("GET", "/counts", **seen)
    assert answer.http_version == "HTTP/1.1"
    assert answer.json()["duplicates"] == 1
    assert len(opened) == 1


def test_a_body_that_was_not_read_closes_the_connection(base: str) -> None:
    """Its rest must not be taken for the next request."""
    port = int(base.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"POST /faults HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"Connection: close" in answer


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_gets_none(base: str, sandbox: Sandbox, status: int) -> None:
    """Or the body would be read as the next answer on this connection."""
    fault(sandbox, kind="code", code=40000, status=status, times=1)
    port = int(base.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(f"POST {TRACK} HTTP/1.1\r\nHost: a\r\nAccess-Token: t\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert answer.endswith(b"\r\n\r\n")


def test_a_drop_closes_the_connection_without_an_answer(base: str, sandbox: Sandbox) -> None:
    """The ambiguous case: stored, but the client cannot know; its retry is a duplicate."""
    fault(sandbox, kind="drop", after=True, times=1)
    with httpx.Client(base_url=base, trust_env=False) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            client.post(TRACK, content=body(), headers=HEADERS)
        assert client.post(TRACK, content=body(), headers=HEADERS).json()["code"] == 0
    assert [duplicate for _, duplicate in kept_ids(sandbox)] == [False, True]


@pytest.mark.parametrize(
    "raw",
    [
        b"POST /open_api/v1.3/event/track/ HTTP/1.1\r\nHost: \xff<\r\nContent-Length: 1\r\n\r\n{",
        b"POST /faults HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /faults HTTP/1.1\r\nHost: a\r\nContent-Length: -4\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a b:x/<>\r\n\r\n",
        b"POST /faults HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n",
        b"GET http://[/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_hostile_bytes_never_give_a_500(base: str, raw: bytes) -> None:
    port = int(base.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer
    assert b" 500 " not in answer.partition(b"\r\n")[0]
