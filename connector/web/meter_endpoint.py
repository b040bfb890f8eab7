"""`POST /collect/<store>/seen`: pages' reports of what they sent to TikTok. Nothing here waits for the database."""

from collections.abc import Mapping

from werkzeug.exceptions import MethodNotAllowed, RequestEntityTooLarge

from connector.core.client_ip import client_address
from connector.core.store import Store
from connector.mapping.hashing import public_ip
from connector.meter.buffer import ReportBuffer
from connector.meter.guard import ReportGuard, is_shoppers
from connector.meter.report import MAX_REPORT, ReportReader
from connector.web.asgi import BodyReader, Receive, Response, Scope, read_headers
from connector.web.beacon_endpoint import CORS


class MeterEndpoint:
    """Answers pages' reports. Pages ignore the status; it helps people who test the endpoint by hand."""

    def __init__(
        self,
        stores: Mapping[str, Store],
        trusted_proxies: int,
        buffer: ReportBuffer,
        bodies: BodyReader,
        guard: ReportGuard | None = None,
    ) -> None:
        self._stores = stores
        self._readers = {store.name: ReportReader(store) for store in stores.values() if store.meter}
        self._trusted_proxies = trusted_proxies
        self._buffer = buffer
        self._bodies = bodies
        self._guard = guard or ReportGuard()

    async def answer(self, scope: Scope, receive: Receive, name: str) -> Response:
        """Answer one request for the store `name`. Raises MethodNotAllowed, BadRequest."""
        if scope["method"] not in ("POST", "OPTIONS"):
            raise MethodNotAllowed(["POST", "OPTIONS"])
        store = self._stores.get(name)
        if store is None:
            return Response(404)
        return Response(await self._take(store, scope, receive), headers=CORS)

    async def _take(self, store: Store, scope: Scope, receive: Receive) -> int:
        """Take a report and return the HTTP status."""
        if scope["method"] == "OPTIONS" or not store.meter:
            return 204
        if not self._guard.admit_request():
            return 429  # neither headers nor body are read, so that a flood costs little
        headers = read_headers(scope)
        peer = scope["client"][0] if scope.get("client") else ""
        address = client_address(peer, headers.get("x-forwarded-for", ""), self._trusted_proxies)
        if not self._guard.admit(store.name, public_ip(address)):
            return 429
        try:
            body = await self._bodies.read(receive, headers, MAX_REPORT)
        except RequestEntityTooLarge:
            return 413
        report = self._readers[store.name].read(body) if is_shoppers(headers) else None
        if report is not None:
            self._buffer.add(store.name, report)
        return 204
