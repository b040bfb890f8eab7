"""`POST /collect/<store>`: receives the beacons of browsers."""

from collections.abc import Mapping

from werkzeug.exceptions import MethodNotAllowed, RequestEntityTooLarge

from connector.core.store import Store
from connector.signals.collector import MAX_BEACON, BeaconRequest, Collector
from connector.signals.matching import Beacon
from connector.storage.group_commit import GroupCommit
from connector.web.asgi import BodyReader, Receive, Response, Scope, read_headers

PATH_PREFIX = "/collect/"
# A custom pixel runs in a frame with the origin "null", so every origin is allowed; answers have no body.
CORS = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"POST"),
    (b"access-control-allow-headers", b"Content-Type"),
    (b"access-control-max-age", b"86400"),
)


class BeaconEndpoint:
    """Answers beacons. Pages ignore the status; it helps people who test the endpoint by hand."""

    def __init__(
        self,
        stores: Mapping[str, Store],
        collector: Collector,
        beacons: GroupCommit[Beacon, None],
        bodies: BodyReader,
    ) -> None:
        self._stores = stores
        self._collector = collector
        self._beacons = beacons
        self._bodies = bodies

    async def answer(self, scope: Scope, receive: Receive) -> Response:
        """Answer one request. Raises MethodNotAllowed, BadRequest, CannotStore."""
        if scope["method"] not in ("POST", "OPTIONS"):
            raise MethodNotAllowed(["POST", "OPTIONS"])
        return Response(await self._take(scope, receive), headers=CORS)

    async def _take(self, scope: Scope, receive: Receive) -> int:
        """Take a beacon and return the HTTP status."""
        store = self._stores.get(scope["path"].removeprefix(PATH_PREFIX).removesuffix("/"))
        if store is None:
            return 404
        if scope["method"] == "OPTIONS":
            return 204
        headers = read_headers(scope)
        post = BeaconRequest(
            peer=scope["client"][0] if scope.get("client") else "",
            forwarded=headers.get("x-forwarded-for", ""),
            user_agent=headers.get("user-agent", ""),
        )
        if not self._collector.take_permit(store, post):
            return 429
        try:
            body = await self._bodies.read(receive, headers, MAX_BEACON)
        except RequestEntityTooLarge:
            return 413
        if beacon := self._collector.read(store, post, body):
            await self._beacons.add(beacon)
        return 204
