"""Gunicorn's worker: an event loop that serves all connections, with limits on what a client may take to send."""

import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
from collections.abc import Iterable
from typing import ClassVar

from gunicorn.glogging import Logger
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn_worker import UvicornWorker

READ_TIMEOUT = 10.0  # seconds for a request from its first byte; shops take milliseconds
MAX_HEAD = 64 * 1024  # bytes of a request line and its headers
LINGER = 2.0  # seconds for which idle connections stay open at the end: their next request may be on its way
ACCEPTED_AT_ONCE = 16  # new connections, at most, in one turn of the loop
OPEN_FILES = 65_536  # connections and files of a process, if the system's limit allows


class Log(Logger):  # type: ignore[misc] # gunicorn has no types
    """Gunicorn's logger without access lines, which gunicorn would format for every request only to drop them."""

    def access(self, *_: object) -> None:
        """Do nothing; the connector itself logs one line per webhook, without query and address."""


class LimitedProtocol(HttpToolsProtocol):
    """HTTP on one connection: a request must be complete within READ_TIMEOUT, its head within MAX_HEAD bytes."""

    _complete = True  # no request is being received
    _head: int | None = 0  # bytes of the head so far; None while a body is read
    _deadline: asyncio.TimerHandle | None = None
    _ending = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request as long as for any other."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def data_received(self, data: bytes) -> None:
        """Take a part of a request, or of several."""
        if self._head is not None:
            self._head += len(data)
        super().data_received(data)
        if self._head is not None and self._head > MAX_HEAD:
            self._refuse(b"431 Request Header Fields Too Large")
        receiving = not self._complete or self._is_before_a_request()
        if not receiving and self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        elif receiving and self._deadline is None:
            self._deadline = self.loop.call_later(READ_TIMEOUT, self._refuse, b"408 Request Timeout")

    def _is_before_a_request(self) -> bool:
        """Return True if blank lines have come, which begin no request but end the wait for one."""
        return bool(self._head) and (self.cycle is None or self.cycle.response_complete)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        super().connection_lost(exc)
        if self._deadline is not None:
            self._deadline.cancel()

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._complete = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Start the application with a request whose body may follow."""
        self._head = None
        super().on_headers_complete()
        if self._ending:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """End a request."""
        self._complete, self._head = True, 0
        super().on_message_complete()

    def _refuse(self, status: bytes) -> None:
        """Answer with this status, unless an answer has begun, and close the connection."""
        if not self.transport.is_closing():
            if self._head is not None or not self.cycle.response_started:
                self.transport.write(b"HTTP/1.1 " + status + b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            self.transport.close()

    def shutdown(self) -> None:
        """End the connection with its next answer, or after LINGER seconds without a request.

        A request may be on its way over a connection that looks idle, and closing that would lose it.
        """
        self._ending = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        else:
            self.loop.call_later(LINGER, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()


class EventLoopWorker(UvicornWorker):  # type: ignore[misc] # gunicorn has no types
    """Uvicorn in a worker of gunicorn.

    Gunicorn's own asgi worker took 19 % less of the load in a measurement with 32 connections (2,808 instead of 3,358
    webhooks a second).
    """

    sockets: list[socket.socket]  # gunicorn's
    CONFIG_KWARGS: ClassVar[dict[str, object]] = {
        "loop": "uvloop",
        "http": LimitedProtocol,
        "ws": "none",
        "lifespan": "on",
        "access_log": False,
        "proxy_headers": False,  # the collector trusts as many proxies as TRUSTED_PROXIES says
        "server_header": False,
        "timeout_graceful_shutdown": 20,
        "timeout_notify": 1,
    }

    def init_process(self) -> None:
        """Give uvicorn's warnings the log's format, and raise the limit on open files: each connection is one."""
        uvicorn = logging.getLogger("uvicorn.error")
        uvicorn.handlers[:], uvicorn.propagate = [], True
        uvicorn.setLevel(logging.WARNING)
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        listeners, self.sockets = self.sockets, accepting_several(self.sockets)
        for one in listeners:
            one.close()  # the loop closes the others as soon as it shall end, and nothing is to wait in this one
        super().init_process()

    async def callback_notify(self) -> None:
        """Tell gunicorn, once a second, that the loop runs; end if gunicorn was killed."""
        await super().callback_notify()
        if self.ppid != os.getppid():
            os.kill(os.getpid(), signal.SIGTERM)


def accepting_several(listeners: Iterable[socket.socket]) -> list[socket.socket]:
    """Return ACCEPTED_AT_ONCE duplicates of each listening socket: libuv accepts one connection per socket and turn.

    A turn takes as long as a group of webhooks. Where each webhook has a connection of its own, as behind many routers,
    the groups were of one webhook: 32 clients had 1,020 answers a second, and now have 1,739. When 256 connect at once
    under load, the last waited 1.3 seconds for its first answer, and now waits 0.2.
    """
    return [one.dup() for one in listeners for _ in range(ACCEPTED_AT_ONCE)]
