"""What comes instead of WooCommerce's JSON: from hosts, plugins, firewalls and PHP itself."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from flask import Response

PAGE = "<!DOCTYPE html><html><head><title>{title}</title></head><body>{title}</body></html>"


def _page(status: int, title: str, **headers: str) -> Response:
    return Response(PAGE.format(title=title), status, headers, content_type="text/html; charset=UTF-8")


def _json(status: int, code: str, message: str = "Sorry.", **headers: str) -> Response:
    body = json.dumps({"code": code, "message": message, "data": {"status": status}})
    return Response(body, status, headers, content_type="application/json; charset=UTF-8")


def _busy(_: Any, status: int = 429, retry_after: str = "") -> Response:
    return _page(status, "Slow down", **({"Retry-After": retry_after} if retry_after else {}))


def _hang(shop: Any) -> Response:
    shop.closing.wait(20)
    return _page(500, "Too late")


def _trickle(shop: Any) -> Response:
    def drops() -> Iterator[bytes]:
        for _ in range(1000):
            yield b" "
            if shop.closing.wait(0.01):
                return

    return Response(drops(), 200, content_type="application/json")


def _endless(shop: Any) -> Response:
    def flood() -> Iterator[bytes]:
        while not shop.closing.is_set():
            yield b" " * 2**20

    return Response(flood(), 200, content_type="application/json")


def _warned(_: Any) -> Response:
    warning = "<br />\n<b>Warning</b>:  Undefined array key 3 in <b>/srv/plugin.php</b> on line <b>9</b><br />\n[]"
    return Response(warning, 200, content_type="text/html; charset=UTF-8")


def _redirect(_: Any, to: str, status: int = 301) -> Response:
    return Response("", status, {"Location": to})


def _cut(_: Any) -> Response:
    return Response('[{"id": 1, "sta', 200, content_type="application/json")


FAULTS: dict[str, Callable[..., Response]] = {
    "busy": _busy,
    "fatal": lambda _: _page(500, "There has been a critical error on this website"),
    "critical": lambda _: _json(500, "internal_server_error", "<p>There has been a critical error.</p>"),
    "gateway": lambda _, status=502: _page(status, "Bad gateway"),
    "firewall": lambda _: _page(403, "Access denied by a security plugin"),
    "challenge": lambda _: _page(200, "Just a moment..."),
    "plain permalinks": lambda _: _page(404, "Not found"),
    "no route": lambda _: _json(404, "rest_no_route"),
    "closed": lambda _, status=401: _json(status, "rest_login_required"),
    "password": lambda _: _page(401, "Authorization Required", **{"WWW-Authenticate": 'Basic realm="staging"'}),
    "warning": _warned,
    "mark": lambda _: Response("\ufeff\n[]", 200, content_type="application/json"),
    "cut": _cut,
    "odd": lambda _, status=418, code="some_code": _json(status, code, "secret@example.com"),
    "redirect": _redirect,
    "hang": _hang,
    "trickle": _trickle,
    "endless": _endless,
}
