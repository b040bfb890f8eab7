"""What clients that are no shop can do to a running server: little."""

import contextlib
import os
import random
import re
import signal
import socket
from pathlib import Path

import httpx
import pytest

from connector.setup.samples import webhooks

SLOW = b"POST /webhooks/acme HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx"
BLANK = b"\r\n" * 50  # which may stand before a request
MANY = 300


@pytest.fixture(scope="module")
def attacked(lasting, tmp_path_factory):
    """A running server, which all that these tests do leaves running; its stores file is on the disk."""
    file = tmp_path_factory.mktemp("settings") / "stores.toml"
    file.write_text(lasting.environment.pop("STORES_TOML"))
    lasting.environment["CONNECTOR_CONFIG"] = str(file)
    lasting.start()
    return lasting


def opened(system, begin=b""):
    client = socket.create_connection(("127.0.0.1", system.port), timeout=120)
    client.sendall(begin)
    return client


def order(system, seed=1):
    """A signed order as bytes: its head without the blank line, and its body."""
    store = system.config.stores["acme"]
    body, headers = next(webhooks(store, ["orders/create"], 1, random.Random(seed)))
    lines = ["POST /webhooks/acme HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n", body


def answers(client, number=1):
    """The next answers of a connection: status lines and bodies."""
    found, data = [], b""
    while len(found) < number:
        while b"\r\n\r\n" not in data:
            data += client.recv(65536) or pytest.fail(f"closed after {found} {data}")
        head, _, data = data.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        size = int(length[1]) if length else 0
        while len(data) < size:
            data += client.recv(65536) or pytest.fail(f"closed within a body {data}")
        found.append((int(head.split()[1]), data[:size]))
        data = data[size:]
    return found


def test_silent_clients_do_not_hold_the_server(attacked):
    """However many: shops are answered meanwhile, and each silent one is ended after ten seconds."""
    silent = [opened(attacked, (SLOW, SLOW[:30], SLOW[:1], BLANK)[number % 4]) for number in range(MANY)]
    silent.append(opened(attacked, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"))
    assert answers(silent[-1])[0][0] == 200
    silent[-1].sendall(SLOW[:30])  # also as a second request
    head, body = order(attacked)
    with opened(attacked, head + b"Content-Length: %d\r\n\r\n" % len(body) + body) as shop:
        assert answers(shop) == [(200, b'{"outcome":"relayed"}\n')]
    for client in silent:
        assert answers(client) == [(408, b"")]
        assert client.recv(1) == b""
        client.close()


def test_bodies_in_chunks_and_expected_ones(attacked):
    """As some proxies and clients send them."""
    head, body = order(attacked, 2)
    with opened(attacked, head + b"Transfer-Encoding: chunked\r\n\r\n") as client:
        for start in range(0, len(body), 1000):
            part = body[start : start + 1000]
            client.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        client.sendall(b"0\r\n\r\n")
        assert answers(client) == [(200, b'{"outcome":"relayed"}\n')]
    head, body = order(attacked, 3)
    with opened(attacked, head + b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % len(body)) as client:
        assert answers(client) == [(100, b"")]
        client.sendall(body)
        assert answers(client) == [(200, b'{"outcome":"relayed"}\n')]


def test_requests_in_a_row_are_answered_in_order(attacked):
    """Without waiting for the answers (pipelining), and cut anywhere."""
    sent = b""
    for seed in (4, 5):
        head, body = order(attacked, seed)
        sent += head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    sent += b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with opened(attacked) as client:
        for start in range(0, len(sent), 777):
            client.sendall(sent[start : start + 777])
        relayed = (200, b'{"outcome":"relayed"}\n')
        assert answers(client, 3) == [relayed, relayed, (200, b'{"status":"alive"}\n')]


def test_a_head_without_end_is_refused(attacked):
    """Before it fills the memory."""
    with opened(attacked, b"POST /webhooks/acme HTTP/1.1\r\n") as client, contextlib.suppress(OSError):
        for _ in range(100):
            client.sendall(b"X-Filler: " + b"x" * 8000 + b"\r\n")
        assert answers(client) == [(431, b"")]
    assert httpx.get(f"{attacked.url}/healthz").status_code == 200


def test_chunks_that_are_none_are_a_bad_request(attacked):
    """Not a 5xx, and no traceback in the log."""
    with opened(
        attacked, b"POST /webhooks/acme HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n"
    ) as client:
        assert client.recv(12) == b"HTTP/1.1 400"
    assert "Traceback" not in attacked.log.read_text()
    attacked.until(lambda: "Invalid HTTP request" in attacked.log.read_text(), "the log says so")
    assert all(line.startswith("{") for line in attacked.log.read_text().splitlines())  # each line is JSON


def test_a_faulty_file_on_the_disk_changes_nothing_until_it_is_right(attacked):
    """HUP refuses it, and a worker that is replaced meanwhile gets the settings of the start."""
    system, file = attacked, Path(attacked.environment["CONNECTOR_CONFIG"])
    good = file.read_text()
    file.write_text(good + "\n[stores.acme\n")
    system.parent.send_signal(signal.SIGHUP)
    system.until(lambda: "the old ones stay" in system.log.read_text(), "the faulty file is refused")
    before = system.children("web")
    os.kill(before[-1], signal.SIGKILL)
    system.until(
        lambda: len(system.children("web")) == len(before) and before[-1] not in system.children("web"), "another"
    )
    system.until(system.ready, "the server is ready")
    file.write_text(good)
    head, body = order(system, 6)
    with opened(system, head + b"Content-Length: %d\r\n\r\n" % len(body) + body) as shop:
        assert answers(shop) == [(200, b'{"outcome":"relayed"}\n')]
