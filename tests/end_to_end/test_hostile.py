"""What clients that are no shop can do to a running server: little."""

import os
import signal
import socket

import httpx
import pytest

from connector.server.web_process import THREADS

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
SLOW = b"POST /webhooks/acme HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx"


def opened(system, begin):
    client = socket.create_connection(("127.0.0.1", system.port), timeout=120)
    client.sendall(begin)
    return client


def answers(system):
    try:
        return httpx.get(f"{system.url}/healthz", timeout=1).status_code == 200
    except httpx.HTTPError:
        return False


def test_silent_clients_do_not_hold_the_server(system):
    """More of them than there are threads: each is ended, and the server answers again."""
    system.start()
    silent = [opened(system, SLOW) for _ in range(2 * THREADS + 8)]
    for client in silent:
        assert client.recv(15) in (b"HTTP/1.1 400 BA", b"HTTP/1.1 401 UN", b"")  # answered or ended, after ten seconds
    system.until(lambda: answers(system), "the server answers")
    for client in silent:
        client.close()


def test_chunks_that_are_none_are_a_bad_request(system):
    """Not a 5xx, and no traceback in the log."""
    system.start()
    with opened(
        system, b"POST /webhooks/acme HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n"
    ) as client:
        assert client.recv(12) == b"HTTP/1.1 400"
    assert "Traceback" not in system.log.read_text()


def test_a_faulty_file_on_the_disk_changes_nothing_until_it_is_right(system, tmp_path):
    """HUP refuses it, and a worker that is replaced meanwhile gets the settings of the start."""
    file = tmp_path / "stores.toml"
    file.write_text(system.environment.pop("STORES_TOML"))
    system.environment["CONNECTOR_CONFIG"] = str(file)
    system.start()
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
    assert system.stop() == 0
