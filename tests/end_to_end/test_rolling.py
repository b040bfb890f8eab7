"""No webhook is refused while a new release, or new settings, take over: 300 a second, each an order of its own."""

import http.client
import json
import random
import signal
import threading
import time
from itertools import count

import pytest

from connector.setup.samples import webhooks
from tests.end_to_end.conftest import System

RATE, SENDERS = 300, 32


class Shops:
    """Posts orders evenly to whichever port is `port`, each sender over one connection as long as that lasts."""

    def __init__(self, system):
        store = system.config.stores["acme"]
        self.port = system.port
        self.ids = set()  # of what is posted
        self.refused = []
        self.posted = 0
        self._orders = webhooks(store, ("orders/create",), 100_000, random.Random(5))
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._begun = time.monotonic()
        self._senders = [threading.Thread(target=self._send, args=(first,)) for first in range(SENDERS)]

    def __enter__(self):
        for sender in self._senders:
            sender.start()
        return self

    def __exit__(self, *_):
        self._closed.set()
        for sender in self._senders:
            sender.join(120)

    def await_more(self, system):
        """Wait until another third of a second's orders are answered."""
        enough = self.posted + RATE / 3
        system.until(lambda: self.posted >= enough or self.refused, "more is posted")

    def _next(self):
        with self._lock:
            body, headers = next(self._orders)
            self.ids.add(f"acme-order-{json.loads(body)['id']}")
        return body, headers

    def _send(self, first):
        pace, port, connection = threading.Event(), 0, None
        for number in count(first, SENDERS):
            pace.wait(max(0.0, self._begun + number / RATE - time.monotonic()))
            if self._closed.is_set():
                return
            if port != self.port:
                port = self.port
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            body, headers = self._next()
            try:
                connection.request("POST", "/webhooks/acme", body, dict(headers))
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.refused.append(repr(error))
                connection.close()
                continue
            if answer.status != 200:
                self.refused.append(answer.status)
            with self._lock:
                self.posted += 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_new_settings_refuse_nobody(system):
    """HUP twice under load: gunicorn keeps its socket, and workers end when their requests are answered."""
    system.start()
    with Shops(system) as shops:
        for _ in range(2):
            shops.await_more(system)
            workers = system.children("web")[1:]
            system.parent.send_signal(signal.SIGHUP)
            system.until(lambda old=workers: set(old).isdisjoint(system.children("web")), "the workers are new")
        shops.await_more(system)
    assert shops.refused == []
    all_have_arrived(system, shops)


def all_have_arrived(system, shops):
    """Each order that was posted, and no other."""
    system.until(lambda: len(system.received()) >= len(shops.ids), "all have arrived")
    assert {row["item"]["event_id"] for row in system.received()} == shops.ids


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_new_release_takes_over_from_the_old_one(system, database_url, tmp_path):
    """As a host does it: start the new one, wait until it is ready, send it what comes, then TERM to the old one."""
    system.start()
    folder = tmp_path / "new"
    folder.mkdir()
    fresh = System(folder, database_url)
    fresh.environment["EVENTS_API_URL"] = system.environment["EVENTS_API_URL"]
    try:
        with Shops(system) as shops:
            shops.await_more(system)
            fresh.start()
            shops.port = fresh.port
            assert system.stop() == 0
            shops.await_more(fresh)
        assert shops.refused == []
        all_have_arrived(system, shops)
    finally:
        fresh.close()
