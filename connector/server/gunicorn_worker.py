"""Gunicorn's threaded worker, with a limit on the time that a client may take to send a request."""

import contextlib
import os
import socket
import threading
import time
from typing import Any

from gunicorn.glogging import Logger
from gunicorn.workers.gthread import ThreadWorker

READ_TIMEOUT = 10.0  # seconds for a request; shops take milliseconds
CHECK_INTERVAL = 0.5  # seconds


class Log(Logger):  # type: ignore[misc] # gunicorn has no types
    """Gunicorn's logger without access lines, which gunicorn would format for every request only to drop them."""

    def access(self, *_: object) -> None:
        """Do nothing; the connector itself logs one line per webhook, without query and address."""


class SlowClientWorker(ThreadWorker):  # type: ignore[misc] # gunicorn has no types
    """Threaded worker that stops reading from clients after READ_TIMEOUT.

    Without it, as many silent connections as there are threads would block all webhooks.
    """

    def init_process(self) -> None:
        """Start the thread that looks for slow clients, in the worker process."""
        # The threads hand the GIL over many times per webhook. SCHED_BATCH keeps a thread that is woken by it from
        # preempting the thread that is about to release it. https://man7.org/linux/man-pages/man7/sched.7.html
        with contextlib.suppress(AttributeError, OSError):  # not Linux, or forbidden by the container
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        self._started: dict[socket.socket, float] = {}  # connection → monotonic seconds
        threading.Thread(target=self._stop_slow_clients, daemon=True, name="slow-clients").start()
        super().init_process()

    def handle(self, conn: Any) -> Any:
        """Handle one request, from its first byte to the answer."""
        self._started[conn.sock] = time.monotonic()
        try:
            return super().handle(conn)
        finally:
            self._started.pop(conn.sock, None)

    def _stop_slow_clients(self) -> None:
        pause = threading.Event()
        while not pause.wait(CHECK_INTERVAL):
            latest_start = time.monotonic() - READ_TIMEOUT
            for client, start in list(self._started.items()):
                if start < latest_start:
                    with contextlib.suppress(OSError):  # already closed
                        client.shutdown(socket.SHUT_RD)  # a blocked read returns end of file at once
