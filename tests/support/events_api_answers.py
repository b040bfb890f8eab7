"""The Events API client with one invented answer, or none."""

import json
from collections.abc import Callable

import httpx

from connector.core.store import Pixel
from connector.relay.events_api import ApiResult, EventsApi

BASE = "https://business-api.example/open_api/v1.3"
PIXEL = Pixel("CTESTPIXEL0000000001", "token-one")
ITEM = b'{"event":"Purchase","event_id":"acme-order-1","properties":{"value":44.50}}'

Handler = Callable[[httpx.Request], httpx.Response]


def api(handler: Handler, **options: Callable[[], float]) -> EventsApi:
    return EventsApi(BASE, httpx.Client(transport=httpx.MockTransport(handler)), **options)


def answered(body: object, status: int = 200, sent: int = 1, **headers: str) -> ApiResult:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return api(lambda _: httpx.Response(status, content=content, headers=names)).send(PIXEL, "", [ITEM] * sent)


def coded(code: int, message: str = "words", sent: int = 1) -> ApiResult:
    return answered({"code": code, "message": message, "request_id": "2026", "data": {}}, sent=sent)


def failing(error: Exception) -> ApiResult:
    def handler(request: httpx.Request) -> httpx.Response:
        raise error

    return api(handler).send(PIXEL, "", [ITEM])
