"""A SHOPLINE shop's Admin REST API in memory, by its documents: what a list leaves out unless asked, cursors, webhooks.

Serve it by `connector.plugin.testing.fake_api.serving`. Nothing of it was seen at a real shop.
"""

import base64
import json
from datetime import datetime
from threading import RLock
from typing import Any

from connector.plugin.testing.fake_api import FakeAnswer, FakeRequest

JSON = {"Content-Type": "application/json; charset=utf-8"}
PREFIX = "/admin/openapi/v20260301/"
SHIPMENTS = ("unshipped", "partial", "shipped")
Row = dict[str, Any]


class FakeShopline:
    """Its state: orders, customers and webhooks as the API lists them, and the paths that the app may not read."""

    def __init__(self, token: str = "token") -> None:
        self.token = token
        self.orders: list[Row] = []
        self.customers: list[Row] = []
        self.webhooks: list[Row] = []
        self.forbidden: set[str] = set()
        self.takes_doubles = True
        self.requests: list[FakeRequest] = []
        self.next_answers: list[FakeAnswer] = []  # in place of the true ones
        self._number, self._lock = 11026, RLock()

    def answer(self, request: FakeRequest) -> FakeAnswer:
        """Answer a request."""
        with self._lock:
            self.requests.append(request)
            if self.next_answers:
                return self.next_answers.pop(0)
            if request.headers.get("authorization") != f"Bearer {self.token}":
                return _errors(401, "Unauthorized")
            if not request.path.startswith(PREFIX):
                return _errors(404, "Not Found")
            path = request.path.removeprefix(PREFIX)
            if path in self.forbidden:
                return _errors(403, "This action requires merchant approval for read_orders scope")
            if path.endswith("webhooks.json"):
                return self._webhooks(path, request)
            if path == "orders/count.json":
                counted = [row for row in self.orders if _in_time(row, request.query)]
                return _json({"count": len(counted)})
            if path == "orders.json":
                return self._list("orders", self.orders, request, 100)
            if path == "v2/customers.json":
                return self._list("customers", self.customers, request, 250)
            return _errors(404, "Not Found")

    # --- lists ------------------------------------------------------------------------------------------------

    def _list(self, name: str, rows: list[Row], request: FakeRequest, most: int) -> FakeAnswer:
        """With page_info all filters are those of the first page."""
        query, limit = dict(request.query), int(request.query.get("limit", 50))
        if limit > most:
            return _errors(400, "limit is illegal")
        start = 0
        if cursor := query.get("page_info"):
            query = json.loads(base64.urlsafe_b64decode(cursor))
            start = query.pop("after")
        if name == "orders" and query.get("fulfillment_status", "unshipped") not in SHIPMENTS:
            return _errors(400, "fulfillment status value is illegal")
        chosen = [row for row in rows if _in_time(row, query) and (name != "orders" or _is_asked_for(row, query))]
        if query.get("sort_condition") == "order_at:asc":
            chosen.sort(key=lambda row: datetime.fromisoformat(row["order_at"]))
        links = []
        for relation, after in (("next", start + limit), ("previous", start - limit)):
            if 0 <= after < len(chosen):
                cursor = base64.urlsafe_b64encode(json.dumps({**query, "after": after}).encode()).decode()
                address = f"https://acme.myshopline.com{request.path}?limit={limit}&page_info={cursor}"
                links.append(f'<{address}>; rel="{relation}"')
        found = _json({name: chosen[start : start + limit]})
        return found._replace(headers={**JSON, "link": ", ".join(links)} if links else JSON)

    # --- webhooks ---------------------------------------------------------------------------------------------

    def _webhooks(self, path: str, request: FakeRequest) -> FakeAnswer:
        number = path.removesuffix("webhooks.json").strip("/")
        if request.method == "DELETE":
            left = [row for row in self.webhooks if str(row["id"]) != number]
            found = len(left) < len(self.webhooks)
            self.webhooks = left
            return FakeAnswer(200, b"", JSON) if found else _errors(404, "Not Found")
        if number:
            return _errors(404, "Not Found")
        if request.method == "GET":
            return _json({"webhooks": self.webhooks})
        if request.headers.get("content-type") != JSON["Content-Type"]:
            return _errors(400, "Content-Type is not set as application/json")
        given = json.loads(request.body)["webhook"]
        same = [row for row in self.webhooks if (row["topic"], row["address"]) == (given["topic"], given["address"])]
        if same and not self.takes_doubles:
            return _errors(422, "the subscription exists")
        self._number += 1
        at = "2026-11-24T17:01:29+08:00"
        made = {"id": self._number, "created_at": at, "updated_at": at, **given}
        self.webhooks.append(made)
        return _json({"webhook": made})


def _in_time(row: Row, query: Any) -> bool:
    for name in ("created_at", "updated_at"):
        at = datetime.fromisoformat(row[name])
        if (limit := query.get(f"{name}_min")) and at < datetime.fromisoformat(limit):
            return False
        if (limit := query.get(f"{name}_max")) and at > datetime.fromisoformat(limit):
            return False
    return True


def _is_asked_for(row: Row, query: Any) -> bool:
    shown = query.get("hidden_order", "false") == str(row.get("hidden_order", False)).lower()
    status = query.get("status", "open")
    return (
        shown
        and query.get("fulfillment_status", "unshipped") == row["fulfillment_status"]
        and status in ("any", row["status"])
    )


def _json(body: Any) -> FakeAnswer:
    return FakeAnswer(200, json.dumps(body, ensure_ascii=False).encode(), JSON)


def _errors(status: int, why: str) -> FakeAnswer:
    return FakeAnswer(status, json.dumps({"errors": why}).encode(), JSON)
