"""Fakes of the APIs of shops whose webhooks only name an order, beside the sandbox: at /shops/PLATFORM/SHOP.

`connector simulate` puts an invented order there before it posts the webhook that names it; the relay's process fetches
it, as a store's `api.url` is that address.
"""

import threading

from flask import Blueprint, Response, request

from connector.core.registry import BrokenPlatform, installed_platforms
from connector.plugin.testing.fake_api import FakeApi, FakeRequest
from connector.plugin.testing.samples import thin_samples

METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH"]
MAX_SHOPS = 100  # in memory


def pages() -> Blueprint:
    """Return the routes. Their state is in memory."""
    blueprint = Blueprint("shops", __name__)
    shops: dict[tuple[str, str], FakeApi] = {}
    lock = threading.Lock()

    def find(platform: str, shop: str) -> FakeApi | None:
        try:
            samples = thin_samples(installed_platforms()[platform])
        except (KeyError, BrokenPlatform):
            return None
        with lock:
            if samples is not None and (platform, shop) not in shops and len(shops) < MAX_SHOPS:
                shops[platform, shop] = samples.fake_api()
            return shops.get((platform, shop))

    @blueprint.put("/shops/<platform>/<shop>")
    def put(platform: str, shop: str) -> Response:
        """Take an order or a customer; the header X-Topic names which."""
        api = find(platform, shop)
        if api is None:
            return Response("no platform of this name has webhooks that only name an order\n", 404)
        try:
            api.put(request.headers.get("X-Topic", ""), request.get_data())
        except (KeyError, ValueError):
            return Response("the header X-Topic names neither an order nor a customer\n", 400)
        return Response(status=204)

    @blueprint.route("/shops/<platform>/<shop>/<path:path>", methods=METHODS)
    def answer(platform: str, shop: str, path: str) -> Response:
        api = find(platform, shop)
        if api is None:
            return Response(status=404)
        headers = {name.lower(): value for name, value in request.headers}
        found = api.answer(FakeRequest(request.method, f"/{path}", request.args.to_dict(), headers, request.get_data()))
        return Response(found.body, found.status, dict(found.headers))

    return blueprint
