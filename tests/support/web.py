"""The web application as clients see it: called directly, or behind a real server on a loopback socket."""

import asyncio
import socket
import threading
import weakref
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

import uvicorn
from werkzeug.wrappers import Response

from connector.config.settings import Config
from connector.core.platform import Platform
from connector.server.gunicorn_worker import EventLoopWorker
from connector.storage.async_database import AsyncDatabase, InLoopDatabase, PostgresqlDatabase
from connector.storage.database import Database
from connector.storage.postgresql import connect_async
from connector.web.application import Application
from tests.support.platforms import PLATFORMS

LONG = 60.0  # seconds


def async_database(database: Database) -> AsyncDatabase:
    """The same database, with the same time-out, for an event loop."""
    if database.is_postgresql:
        return PostgresqlDatabase(
            connect_async(database.engine.url.render_as_string(hide_password=False), database.timeout)
        )
    return InLoopDatabase(database, database)


def application(
    config: Config,
    database: Database,
    platforms: Mapping[str, Platform] | None = None,
    reload: Callable[[], Config] | None = None,
) -> Application:
    """The application of a web process on this database."""
    return Application(config, database, async_database(database), platforms or PLATFORMS, reload)


class Loop:
    """An event loop in a thread, which ends when nobody refers to it any more."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        weakref.finalize(self, self.loop.call_soon_threadsafe, self.loop.stop)

    def run(self, coroutine: Any) -> Any:
        """Run a coroutine in it from another thread; its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(LONG)


class Answered(Response):
    """A response, with its body as text."""

    @property
    def text(self) -> str:
        return self.get_data(as_text=True)


class WebClient:
    """Sends requests to an application, from any thread, and returns responses as Flask's test client does."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self.loop = Loop()

    def open(
        self,
        target: str,
        method: str = "GET",
        data: bytes | str = b"",
        headers: Mapping[str, str] | None = None,
        parts: list[dict[str, Any]] | None = None,
    ) -> Answered:
        """One request. `parts` are ASGI messages in place of a body that arrives at once."""
        body = data.encode() if isinstance(data, str) else data
        sent = [(name.lower().encode("latin-1"), text.encode("latin-1")) for name, text in (headers or {}).items()]
        if parts is None:
            sent.append((b"content-length", str(len(body)).encode()))
        split = urlsplit(f"http://localhost{target}")
        scope = {
            "type": "http", "http_version": "1.1", "method": method, "scheme": "http", "path": unquote(split.path),
            "raw_path": split.path.encode(), "query_string": split.query.encode(), "root_path": "", "headers": sent,
            "client": ("127.0.0.1", 50_000), "server": ("localhost", 80),
        }  # fmt: skip
        return self.loop.run(self._answer(scope, parts or [{"type": "http.request", "body": body}]))  # type: ignore[no-any-return]

    def post(self, target: str, data: bytes | str = b"", headers: Mapping[str, str] | None = None) -> Answered:
        return self.open(target, "POST", data, headers)

    def get(
        self, target: str, headers: Mapping[str, str] | None = None, auth: tuple[str, str] | None = None
    ) -> Answered:
        basic = {"Authorization": "Basic " + b64encode(":".join(auth).encode()).decode()} if auth else {}
        return self.open(target, headers={**(headers or {}), **basic})

    async def _answer(self, scope: dict[str, Any], parts: list[dict[str, Any]]) -> Answered:
        arriving, messages = iter(parts), []

        async def receive() -> dict[str, Any]:
            return next(arriving, {"type": "http.disconnect"})

        async def send(message: dict[str, Any]) -> None:
            messages.append(message)

        await self.application(scope, receive, send)
        start, *rest = messages
        response = Answered(b"".join(part.get("body", b"") for part in rest), start["status"])
        response.headers.clear()
        response.headers.extend([(name.decode("latin-1"), text.decode("latin-1")) for name, text in start["headers"]])
        return response


def client_of(
    config: Config,
    database: Database,
    platforms: Mapping[str, Platform] | None = None,
    reload: Callable[[], Config] | None = None,
) -> WebClient:
    """A client of a new application."""
    made = application(config, database, platforms, reload)
    made.start()
    return WebClient(made)


@contextmanager
def served(application: Application) -> Iterator[str]:
    """The application behind the server that a worker runs; its URL."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    settings: Any = EventLoopWorker.CONFIG_KWARGS | {"loop": "asyncio", "log_config": None}
    server = uvicorn.Server(uvicorn.Config(application, **settings))
    started = threading.Event()
    startup = server.startup

    async def announced(*arguments: Any, **named: Any) -> None:
        await startup(*arguments, **named)
        started.set()

    server.startup = announced  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    assert started.wait(LONG)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(LONG)
