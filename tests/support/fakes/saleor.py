"""A fake of Saleor's GraphQL API over HTTP: the app's webhooks, orders page by page, refusals."""

import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PERMISSIONS = ("MANAGE_ORDERS", "MANAGE_USERS", "MANAGE_CHECKOUTS")
TOKEN = "app-token-example"


class FakeSaleor:
    """Its state: webhooks as Saleor lists them, orders as dicts, and answers to give before anything else."""

    def __init__(self, orders=()):
        self.webhooks, self.orders = [], sorted(orders, key=lambda order: order["updatedAt"])
        self.permissions, self.next_answers, self.requests, self.created = list(PERMISSIONS), [], [], 0

    def answer(self, request, token):
        self.requests.append(request)
        if self.next_answers:
            return self.next_answers.pop(0)
        query, values = request["query"], request["variables"]
        unused = [name for name in re.findall(r"fragment (\w+) on", query) if f"...{name}" not in query]
        unknown = [name for name in re.findall(r"\.\.\.(\w+)", query) if f"fragment {name} on" not in query]
        if unused or unknown:
            return 400, {"errors": [{"message": f"fragments {unused} {unknown}"}]}
        if token != f"Bearer {TOKEN}":
            return 200, {"data": {"app": None}} if "query Check" in query else self.denied()
        for name, answer in (
            ("query Webhooks", self.listed), ("query Check", self.checked), ("query Orders", self.page),
            ("webhookCreate", self.create), ("webhookUpdate", self.update), ("webhookDelete", self.delete),
        ):  # fmt: skip
            if name in query:
                return 200, {"data": answer(values)}
        return 400, {"errors": [{"message": "unknown"}]}

    def denied(self, code="PermissionDenied"):
        return {"errors": [{"message": "no", "extensions": {"exception": {"code": code}}}]}

    def listed(self, values):
        return {"app": {"webhooks": self.webhooks}}

    def checked(self, values):
        return {"app": {"name": "app", "permissions": [{"code": code} for code in self.permissions]}}

    def page(self, values):
        since, until, after = values["since"], values["until"], int(values["after"] or 0)
        rows = [
            order for order in self.orders if since <= order["updatedAt"] and (not until or order["updatedAt"] <= until)
        ]
        shown = rows[after : after + 100]
        more = after + 100 < len(rows)
        info = {"hasNextPage": more, "endCursor": str(after + len(shown)) if shown else None}
        return {"orders": {"edges": [{"node": order} for order in shown], "pageInfo": info}}

    def create(self, values):
        given = values["input"]
        if given["targetUrl"].endswith("/refused"):
            return {"webhookCreate": {"webhook": None, "errors": [{"field": "targetUrl", "code": "INVALID"}]}}
        self.created += 1
        hook = {"id": f"V2ViaG9vazo{self.created}", "name": given["name"], "targetUrl": given["targetUrl"],
                "isActive": given["isActive"], "subscriptionQuery": given["query"], "secretKey": given.get("secretKey"),
                "asyncEvents": [{"eventType": event} for event in given["asyncEvents"]]}  # fmt: skip
        self.webhooks.append(hook)
        return {"webhookCreate": {"webhook": {"id": hook["id"]}, "errors": []}}

    def update(self, values):
        (hook,) = [hook for hook in self.webhooks if hook["id"] == values["id"]]
        hook["asyncEvents"] = [{"eventType": event} for event in values["input"]["asyncEvents"]]
        return {"webhookUpdate": {"webhook": {"id": hook["id"]}, "errors": []}}

    def delete(self, values):
        found = [hook for hook in self.webhooks if hook["id"] == values["id"]]
        self.webhooks = [hook for hook in self.webhooks if hook not in found]
        errors = [] if found else [{"field": "id", "code": "NOT_FOUND"}]
        return {"webhookDelete": {"webhook": None, "errors": errors}}


@contextmanager
def serving(fake):
    """The fake behind a server on this machine; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, answer, *headers = fake.answer(request, self.headers["authorization"])
            body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in headers[0].items() if headers else ():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/graphql/"
    finally:
        server.shutdown()
        server.server_close()
