"""The webhook endpoint, `POST /webhooks/<store>`: the first code that reads an order.

Each request is read, matched with a store, handed to `Intake` (which verifies, translates and maps it), stored together
with the others that have come meanwhile, and answered. A webhook is answered 200 only after its events are committed;
the relay delivers them afterwards.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import msgspec
from werkzeug.exceptions import MethodNotAllowed

from connector.core.platform import Platform
from connector.core.store import Store
from connector.core.webhook import Handshake, Request
from connector.intake.intake import Intake, log_webhook
from connector.outbox.ledger import Decision
from connector.outbox.notices import NoticeEntry
from connector.storage.group_commit import GroupCommit
from connector.web.asgi import JSON, Answer, BodyReader, Receive, Scope, read_headers
from connector.web.errors import UnknownStore
from connector.web.request_metrics import RequestMetrics

log = logging.getLogger(__name__)

PATH_PREFIX = "/webhooks/"
MAX_BODY = 10 * 1024 * 1024  # bytes; shops send bodies of more than a megabyte, and a rejected body is a lost order


class WebhookEndpoint:
    """Answers webhooks. It runs in the event loop: nothing here may block, except for computing."""

    def __init__(
        self,
        stores: Mapping[str, Store],
        platforms: Mapping[str, Platform],
        intake: Intake,
        commits: GroupCommit[Decision, int],
        notices: GroupCommit[NoticeEntry, None],
        bodies: BodyReader,
        request_metrics: RequestMetrics,
        public_url: str = "",
    ) -> None:
        self._stores = stores
        self._platforms = platforms
        self._intake = intake
        self._commits = commits
        self._notices = notices
        self._bodies = bodies
        self._request_metrics = request_metrics
        self._public_url = public_url
        self._starting: asyncio.Task[None] | None = None

    async def answer(self, scope: Scope, receive: Receive) -> Answer:
        """Answer one request: 200 with the outcome, or raise an exception for `connector.web.errors`."""
        if scope["method"] == "GET":
            return self._greet(scope)
        if scope["method"] != "POST":
            raise MethodNotAllowed(["POST"])
        headers = read_headers(scope)
        body = await self._bodies.read(receive, headers, MAX_BODY)
        # The signature covers the body byte for byte, so nothing may parse it before it is verified.
        url = self._public_url and self._public_url + scope["path"]
        request = Request(headers=headers, body=body, received_at=datetime.now(UTC), url=url)
        store = self._find_store(scope["path"], request)
        with self._request_metrics.measure(store, request) as measurement:
            taken = await self._take(store, request)
            measurement.outcome = taken if isinstance(taken, str) else "handshake"
        if isinstance(taken, Handshake) and taken.body:
            return Answer(taken.status, taken.body, ((b"content-type", taken.content_type.encode()),))
        return Answer(200, msgspec.json.encode({"outcome": measurement.outcome}) + b"\n", JSON)

    def _greet(self, scope: Scope) -> Answer:
        """Answer a GET request with which a shop tries an address; 405 on platforms whose shops do not."""
        store = self._stores.get(scope["path"].removeprefix(PATH_PREFIX).removesuffix("/"))
        found = self._intake.greet(store, dict(parse_qsl(scope["query_string"].decode("latin-1")))) if store else None
        if found is None:
            raise MethodNotAllowed(["POST"])
        # It repeats what anybody may have sent, so no browser may take it for a page.
        return Answer(
            found.status,
            found.body,
            ((b"content-type", found.content_type.encode()), (b"x-content-type-options", b"nosniff")),
        )

    def _find_store(self, path: str, request: Request) -> Store:
        # A trailing slash is accepted: shops count a redirect as a failed delivery.
        name = path.removeprefix(PATH_PREFIX).removesuffix("/")
        store = self._stores.get(name)
        if store is None and name in self._platforms and self._platforms[name].facts.shared_url:
            return self._intake.find_store(name, request)  # one URL may serve several shops; the request names the shop
        if store is None:
            name = name[:64]
            self._intake.count_unknown_store()
            log.warning("webhook for a store that is not configured: %r", name)
            raise UnknownStore(f"there is no store {name!r} here; the URL ends in the store's name")
        return store

    async def _take(self, store: Store, request: Request) -> str | Handshake:
        """Verify, examine and store a webhook; return its outcome, or the handshake to answer with."""
        begun = time.perf_counter()
        webhook = self._intake.verify(store, request)
        if isinstance(webhook, Handshake):
            return webhook
        if not self._intake.started:
            await self._start()
        result = self._intake.examine(webhook, store)
        if result.data_requests:  # seldom
            await asyncio.to_thread(self._intake.write_data_requests, result, webhook, store)
        if result.decision:
            result = result.stored(await self._commits.add(result.decision))
        elif result.notice:
            await self._notices.add(result.notice)
        log_webhook(result, webhook, store, round((time.perf_counter() - begun) * 1000, 1))
        return result.outcome

    async def _start(self) -> None:
        """Start intake if the database was away when the process began; all who wait share one attempt."""
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(asyncio.to_thread(self._intake.start))
        await asyncio.shield(self._starting)
