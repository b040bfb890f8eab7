"""The webhook endpoint, `POST /webhooks/<store>`: the first code that reads an order.

Each request is read, matched with a store, verified, translated and mapped by `Intake`, stored together with the others
that have come meanwhile, and answered. A webhook is answered 200 only after its events are committed; the relay
delivers them afterwards.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from werkzeug.exceptions import MethodNotAllowed

from connector.core.platform import Platform
from connector.core.store import Store
from connector.core.webhook import Handshake, Request, Webhook
from connector.intake.intake import Intake, log_webhook
from connector.outbox.ledger import Decision
from connector.outbox.notices import NoticeEntry
from connector.storage.group_commit import GroupCommit
from connector.web.asgi import BodyReader, Receive, Response, Scope, json_response, read_headers
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
        decisions: GroupCommit[Decision, int],
        notices: GroupCommit[NoticeEntry, None],
        bodies: BodyReader,
        request_metrics: RequestMetrics,
        public_url: str = "",
    ) -> None:
        self._stores = stores
        self._platforms = platforms
        self._intake = intake
        self._decisions = decisions
        self._notices = notices
        self._bodies = bodies
        self._request_metrics = request_metrics
        self._public_url = public_url
        self._starting: asyncio.Task[None] | None = None

    async def answer(self, scope: Scope, receive: Receive) -> Response:
        """Answer one request: 200 with the outcome, or raise an exception for `connector.web.errors`."""
        # A trailing slash is accepted: shops count a redirect as a failed delivery.
        name = scope["path"].removeprefix(PATH_PREFIX).removesuffix("/")
        if scope["method"] == "GET":
            return self._answer_get(name, scope)
        if scope["method"] != "POST":
            raise MethodNotAllowed(["POST"])
        headers = read_headers(scope)
        # The signature covers the body byte for byte, so nothing may parse it before it is verified.
        body = await self._bodies.read(receive, headers, MAX_BODY)
        url = self._public_url + scope["path"] if self._public_url else ""
        request = Request(headers=headers, body=body, received_at=datetime.now(UTC), url=url)
        store = self._find_store(name, request)
        with self._request_metrics.measure(store, request) as measurement:
            verified = self._intake.verify(store, request)
            if isinstance(verified, Handshake):
                measurement.outcome = "handshake"
                if verified.body:
                    return _handshake_response(verified)
            else:
                measurement.outcome = await self._handle(verified, store)
        return json_response(200, outcome=measurement.outcome)

    def _find_store(self, name: str, request: Request) -> Store:
        store = self._stores.get(name)
        if store is None and name in self._platforms and self._platforms[name].facts.shared_url:
            return self._intake.find_store(name, request)  # one URL may serve several shops; the request names the shop
        if store is None:
            name = name[:64]
            self._intake.count_unknown_store()
            log.warning("webhook for a store that is not configured: %r", name)
            raise UnknownStore(f"there is no store {name!r} here; the URL ends in the store's name")
        return store

    async def _handle(self, webhook: Webhook, store: Store) -> str:
        """Take the steps of `Intake.handle`, but store with others; return the outcome once that is committed."""
        begun = time.perf_counter()
        if not self._intake.started:
            await self._start()
        result = self._intake.decide(webhook, store)
        if result.data_requests:  # seldom
            await asyncio.to_thread(self._intake.write_data_requests, result, webhook, store)
        if result.decision:
            result = result.stored(await self._decisions.add(result.decision))
        elif result.notice:
            await self._notices.add(result.notice)
        log_webhook(result, webhook, store, round((time.perf_counter() - begun) * 1000, 1))
        return result.outcome

    async def _start(self) -> None:
        """Start intake if the database was away when the process began; all who wait share one attempt."""
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(asyncio.to_thread(self._intake.start))
        await asyncio.shield(self._starting)

    def _answer_get(self, name: str, scope: Scope) -> Response:
        """Answer a GET request with which a shop tries an address; 405 on platforms whose shops do not."""
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        found = self._intake.answer_get(self._stores[name], query) if name in self._stores else None
        if found is None:
            raise MethodNotAllowed(["POST"])
        return _handshake_response(found)


def _handshake_response(found: Handshake) -> Response:
    # It can repeat what anybody has sent, so no browser may take it for a page.
    headers = ((b"content-type", found.content_type.encode()), (b"x-content-type-options", b"nosniff"))
    return Response(found.status, found.body, headers)
