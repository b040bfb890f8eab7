"""A fake of BigCommerce's REST API in memory, by its documents: pages, "no content", quota, webhooks of one account.

For `connector sandbox`, the conformance kit and tests.
"""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from threading import RLock
from typing import Any

from connector.plugin import body_text
from connector.plugin.testing.fake_api import FakeAnswer, FakeRequest
from platforms.bigcommerce.translate import CART, CUSTOMER, ORDER

JSON = {"Content-Type": "application/json"}
MAX_LIMIT = 250
Row = dict[str, Any]


class FakeBigCommerce:
    """Its state: orders, customers, carts by id, refunds, webhooks, and scopes that the account lacks ("orders", …).

    `token` is the account's; "" accepts any. `quota` is the number of requests that are answered before a 429.
    """

    def __init__(self, token: str = "", quota: int | None = None) -> None:
        self.token, self.quota = token, quota
        self.orders: dict[str, bytes] = {}
        self.customers: dict[str, bytes] = {}
        self.refunds: list[Row] = []
        self.carts: dict[str, bytes] = {}
        self.hooks: list[Row] = []
        self.lacking: set[str] = set()
        self.requests: list[FakeRequest] = []
        self.next_answers: list[FakeAnswer] = []  # in place of the true ones
        self._number, self._lock = 0, RLock()

    def put(self, topic: str, body: bytes) -> None:
        """Take an order, a customer or a cart."""
        with self._lock:
            {ORDER: self.orders, CUSTOMER: self.customers, CART: self.carts}[topic][body_text(body, "id")] = body

    def answer(self, request: FakeRequest) -> FakeAnswer:
        """Answer a request."""
        with self._lock:
            self.requests.append(request)
            if self.next_answers:
                return self.next_answers.pop(0)
            given = request.headers.get("x-auth-token", "")
            if not given or (self.token and given != self.token):
                return FakeAnswer(401, b"Unauthorized")
            if self.quota is not None:
                if self.quota <= 0:
                    self.quota = None
                    return FakeAnswer(429, b"{}", {"X-Rate-Limit-Time-Reset-Ms": "3000"})
                self.quota -= 1
            version, part, ident = (*request.path.strip("/").split("/"), "", "")[:3]
            return self._route(version, part, ident, request)

    def _route(self, version: str, part: str, ident: str, request: FakeRequest) -> FakeAnswer:
        if part in self.lacking:
            return FakeAnswer(403, b"{}")
        routes: dict[tuple[str, str], Callable[[str, FakeRequest], FakeAnswer]] = {
            ("v2", "orders"): self._orders,
            ("v3", "orders"): self._refunds,
            ("v3", "customers"): self._customers,
            ("v3", "carts"): self._carts,
            ("v3", "hooks"): self._hooks,
        }
        route = routes.get((version, part))
        return route(ident, request) if route else _problem(404, "The route is not found")

    # --- orders and customers ---------------------------------------------------------------------------------

    def _orders(self, ident: str, request: FakeRequest) -> FakeAnswer:
        if ident:
            found = self.orders.get(ident)
            return FakeAnswer(200, found, JSON) if found else FakeAnswer(404, b"[]", JSON)
        field = request.query.get("sort", "id:asc").partition(":")[0]
        rows = [(json.loads(body), body) for body in self.orders.values()]
        for name in ("date_created", "date_modified"):
            for bound, keeps in (("min", _not_before), ("max", _not_after)):
                if limit := request.query.get(f"{bound}_{name}"):
                    rows = [row for row in rows if keeps(_when(row[0][name]), datetime.fromisoformat(limit))]
        rows.sort(key=lambda row: (_when(row[0][field]) if field.startswith("date") else row[0][field], row[0]["id"]))
        chosen = _page([body for _, body in rows], request, 50)
        return FakeAnswer(200, b"[" + b",".join(chosen) + b"]", JSON) if chosen else FakeAnswer(204)

    def _refunds(self, ident: str, request: FakeRequest) -> FakeAnswer:
        if not request.path.endswith("/orders/payment_actions/refunds"):
            return _problem(404, "The route is not found")
        if "refunds" in self.lacking:
            return FakeAnswer(403, b"{}")
        wanted = request.query.get("order_id:in", "").split(",")
        rows = [refund for refund in self.refunds if str(refund["order_id"]) in wanted]
        return FakeAnswer(200, json.dumps({"data": _page(rows, request, 50), "meta": {}}).encode(), JSON)

    def _customers(self, ident: str, request: FakeRequest) -> FakeAnswer:
        rows = [(json.loads(body), body) for body in self.customers.values()]
        if wanted := request.query.get("id:in"):
            rows = [row for row in rows if str(row[0]["id"]) in wanted.split(",")]
        for bound, keeps in (("min", _not_before), ("max", _not_after)):
            if limit := request.query.get(f"date_created:{bound}"):
                at = datetime.fromisoformat(limit).replace(tzinfo=UTC)
                rows = [row for row in rows if keeps(datetime.fromisoformat(row[0]["date_created"]), at)]
        rows.sort(key=lambda row: str(row[0]["date_created"]))
        chosen = _page([body for _, body in rows], request, 50)
        return FakeAnswer(200, b'{"data":[' + b",".join(chosen) + b'],"meta":{}}', JSON)

    def _carts(self, ident: str, request: FakeRequest) -> FakeAnswer:
        found = self.carts.get(ident)
        answer = b'{"data":' + found + b',"meta":{}}' if found else b""
        return FakeAnswer(200, answer, JSON) if found else _problem(404, "Cart not found")

    # --- webhooks ---------------------------------------------------------------------------------------------

    def _hooks(self, ident: str, request: FakeRequest) -> FakeAnswer:
        if request.method == "DELETE":
            left = [hook for hook in self.hooks if str(hook["id"]) != ident]
            status = 200 if len(left) < len(self.hooks) else 404
            self.hooks = left
            return FakeAnswer(status, b"{}", JSON)
        if request.method == "POST":
            return self._create(json.loads(request.body))
        rows = [
            hook
            for hook in self.hooks
            if all(hook[name] == value for name, value in request.query.items() if name in ("scope", "destination"))
        ]
        return FakeAnswer(200, json.dumps({"data": _page(rows, request, 50), "meta": {}}).encode(), JSON)

    def _create(self, given: Row) -> FakeAnswer:
        if not given["destination"].startswith("https://"):
            return _problem(422, "Destination must be https")
        if any(hook["scope"] == given["scope"] and hook["destination"] == given["destination"] for hook in self.hooks):
            return _problem(422, "A duplicate webhook exists")
        self._number += 1
        made = {"id": self._number, "client_id": "account", "store_hash": "abc123", "is_active": True} | given
        self.hooks.append(made)
        return FakeAnswer(200, json.dumps({"data": made, "meta": {}}).encode(), JSON)


def _problem(status: int, title: str) -> FakeAnswer:
    return FakeAnswer(status, json.dumps({"status": status, "title": title}).encode(), JSON)


def _page(rows: Iterable[Any], request: FakeRequest, usual: int) -> list[Any]:
    limit = min(int(request.query.get("limit", usual)), MAX_LIMIT)
    start = (int(request.query.get("page", 1)) - 1) * limit
    return [*rows][start : start + limit]


def _when(text: str) -> datetime:
    return parsedate_to_datetime(text)


def _not_before(at: datetime, limit: datetime) -> bool:
    return at >= limit.replace(microsecond=0)


def _not_after(at: datetime, limit: datetime) -> bool:
    return at <= limit
