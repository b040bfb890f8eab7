"""Gunicorn's threaded worker, with a limit on how long a client may take to send a request."""

import contextlib
import os
import socket
import threading
import time
from typing import Any

from gunicorn.glogging import Logger
from gunicorn.workers.gthread import ThreadWorker

MAX_REQUEST_TIME = 10.0  # seconds from the first byte to the last; shops take milliseconds
LOOK_EVERY = 0.5


class Log(Logger):  # type: ignore[misc] # gunicorn has no types
    """Gunicorn's log without a line per request, which it would put together for every one only to drop it."""

    def access(self, *_: object) -> None:
        """Nothing: a line per webhook is the connector's to write, without query and address."""


class SlowClientWorker(ThreadWorker):  # type: ignore[misc] # gunicorn has no types
    """Closes connections that send too slowly: as many of them as there are threads would block every shop."""

    def init_process(self) -> None:
        """Start the watch over slow clients, in the worker's own process."""
        _schedule_as_batch()
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
            overdue = time.monotonic() - MAX_REQUEST_TIME
            for client, begun in list(self._reading.items()):
                if begun < overdue:
                    with contextlib.suppress(OSError):  # closed meanwhile
                        client.shutdown(socket.SHUT_RD)  # whoever reads from it gets its end at once


def _schedule_as_batch() -> None:
    """Tell the kernel that a thread which is woken need not have the processor at once (SCHED_BATCH).

    The worker's threads pass Python's global lock on many times a webhook, and each hand-over otherwise preempts the
    thread that is about to release it. Measured: 14 to 7 voluntary and 4.5 to 1.3 involuntary context switches a
    webhook, 20 % more webhooks a second. https://man7.org/linux/man-pages/man7/sched.7.html
    """
    with contextlib.suppress(AttributeError, OSError):  # another system, or a container that forbids it
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
