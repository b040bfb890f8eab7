"""Requests to the fake Events API, and what it says to them."""

import hashlib
import json
from typing import Any

from connector.devtools.sandbox.faults import read_fault
from connector.devtools.sandbox.server import Sandbox, SandboxResponse

NOW = 1_760_000_000.0
HOUR = 3600
PIXEL = "CTESTPIXEL0000000001"
HEADERS = {"Access-Token": "token-one"}


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def event(event_id: object = "acme-order-1", **changes: object) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "event": "Purchase",
        "event_time": int(NOW) - 60,
        "event_id": event_id,
        "user": {
            "email": [sha("ann@example.com")],
            "phone": sha("+12025550123"),
            "external_id": [sha("17")],
            "first_name": sha("ann"),
            "zip_code": sha("20001"),
            "city": "washington",
            "state": "dc",
            "country": "us",
            "ip": "203.0.113.7",
            "user_agent": "Mozilla/5.0",
            "locale": "en-US",
            "ttclid": "E.C.P." + "x" * 400,
            "ttp": "01ABC.tt.1",
        },
        "page": {"url": "https://shop.example.com/thanks", "referrer": "https://shop.example.com/"},
        "properties": {
            "value": 44.5,
            "currency": "USD",
            "content_type": "product",
            "order_id": "1",
            "num_items": 2,
            "contents": [{"content_id": "77", "quantity": 2, "price": 22.25, "content_name": "Socks"}],
        },
    }
    return {**whole, **changes}


def body(*events: object, **changes: object) -> bytes:
    top = {"event_source": "web", "event_source_id": PIXEL, "data": list(events) or [event()], **changes}
    return json.dumps(top).encode()


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


def said(answer: SandboxResponse) -> tuple[int, str]:
    reply = json.loads(answer.body)
    return reply["code"], reply["message"]


def send(sandbox: Sandbox, *events: object, token: str = "token-one", **changes: object) -> tuple[int, str]:
    answer = sandbox.answer({"Access-Token": token}, body(*events, **changes))
    assert (answer.status, answer.content_type) == (200, "application/json")
    return said(answer)


def fault(sandbox: Sandbox, **fields: object) -> None:
    sandbox.set_fault(read_fault(json.dumps(fields).encode()))


def kept_ids(sandbox: Sandbox) -> list[tuple[str, bool]]:
    return [(json.loads(receipt.item)["event_id"], receipt.duplicate) for receipt in sandbox.received()]
