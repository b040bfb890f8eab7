"""Gunicorn's threaded worker, with an end to how long a client may take over sending a request."""

import contextlib
import os
import socket
import threading
import time
from typing import Any

from gunicorn.glogging import Logger
from gunicorn.workers.gthread import ThreadWorker

SLOWEST = 10.0  # seconds from the first byte to the last; shops take milliseconds
LOOK_EVERY = 0.5


class Log(Logger):  # type: ignore[misc] # gunicorn has no types
    """Gunicorn's log without a line per request, which it would put together for every one only to drop it."""

    def access(self, *_: object) -> None:
        """Nothing: a line per webhook is the connector's to write, without query and address."""


class SlowClientWorker(ThreadWorker):  # type: ignore[misc] # gunicorn has no types
    """As many silent connections as there are threads would otherwise hold them all, and every shop would wait."""

    def init_process(self) -> None:
        """Start watching, in the worker's own process."""
        # Its threads pass Python's lock on many times a webhook. Whoever is given it need not have the processor at
        # once, from whoever is about to let it go: https://man7.org/linux/man-pages/man7/sched.7.html (SCHED_BATCH)
        with contextlib.suppress(AttributeError, OSError):  # another system, or a container that forbids it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        self._reading: dict[socket.socket, float] = {}
        threading.Thread(target=self._watch, daemon=True, name="slow-clients").start()
        super().init_process()

    def handle(self, conn: Any) -> Any:
        """One request, from its first byte to the answer."""
        self._reading[conn.sock] = time.monotonic()
        try:
            return super().handle(conn)
        finally:
            self._reading.pop(conn.sock, None)

    def _watch(self) -> None:
        pause = threading.Event()
        while not pause.wait(LOOK_EVERY):
            overdue = time.monotonic() - SLOWEST
            for client, begun in list(self._reading.items()):
                if begun < overdue:
                    with contextlib.suppress(OSError):  # closed meanwhile
                        client.shutdown(socket.SHUT_RD)  # whoever reads from it gets its end at once
