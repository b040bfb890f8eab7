"""Ports for servers that are told their port, kept free until they listen."""

import socket
from types import TracebackType


class ReservedPort:
    """A port of 127.0.0.1 that the system gives to nobody else: neither to a server without a port nor to a client.

    It is bound and never listens, so a server that is told the number can bind it too, as often as it is restarted:
    Linux allows that to sockets with SO_REUSEADDR, of which one listens.
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
