"""`GET /healthz` and `GET /readyz`: whether the process is alive, and whether it can store webhooks."""

import asyncio

from connector.outbox.outbox import Outbox
from connector.storage.database import CannotStore
from connector.web.asgi import Response, json_response
from connector.web.relay_watch import RelayWatch


class Health:
    """Answers health checks; the database is asked in a thread, by one request at a time."""

    def __init__(self, outbox: Outbox, watch: RelayWatch) -> None:
        self._outbox = outbox
        self._watch = watch
        self._looking: asyncio.Task[Response] | None = None

    def alive(self) -> Response:
        """Answer /healthz, whatever the database does."""
        return json_response(200, status="alive")

    async def ready(self) -> Response:
        """Answer /readyz: 200 if a write would succeed, with the relay's state. All who wait share one look."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(asyncio.to_thread(self._look))
        return await asyncio.shield(self._looking)

    def _look(self) -> Response:
        try:
            self._outbox.ping()
            return json_response(200, status="ready", **self._watch.look())
        except CannotStore:
            return json_response(503, status="cannot store", relay="unknown")
