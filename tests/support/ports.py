"""Ports reserved for servers that take a port number."""

import socket
from types import TracebackType


class ReservedPort:
    """A port of 127.0.0.1 that the system gives neither to a client nor to a server that asks for any port.

    The socket is bound and never listens. With SO_REUSEADDR, Linux lets a server bind the same port, also after a
    restart, because only one of the sockets listens.
    """

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number = int(self._socket.getsockname()[1])

    def release(self) -> None:
        """Give the port back, when the server has ended."""
        self._socket.close()

    def __enter__(self) -> int:
        return self.number

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
