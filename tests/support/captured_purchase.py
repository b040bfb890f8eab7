"""A Purchase as TikTok's pixel sends it from a browser, and the same event as the server sends it."""

import hashlib
import json

from tests.support.factories import CODE

HASH = hashlib.sha256(b"42").hexdigest()
PURCHASE = {
    "event": "Purchase",
    "event_id": "acme-order-1001",
    "message_id": "messageId-1-2-" + CODE,
    "context": {
        "user": {"email": HASH, "external_id": HASH},
        "pixel": {"code": CODE, "runtime": "1"},
        "page": {"url": 'https://acme.example/it\'s?a="b"'},
        "library": {"name": "pixel.js", "version": "2.2.1"},
    },
    "properties": {
        "value": 44.5,
        "currency": "USD",
        "contents": [{"content_id": "77", "quantity": 1}],
        "content_type": "product",
    },
}
BODY = json.dumps(PURCHASE)
SERVER = {"user": {"email": [HASH], "external_id": HASH}, "properties": {**PURCHASE["properties"]}}


def changed(properties=None, user=None, **changes):
    """The browser's event with some of it replaced."""
    context = {**PURCHASE["context"], "user": {**PURCHASE["context"]["user"], **(user or {})}}
    return {**PURCHASE, "context": context, "properties": {**PURCHASE["properties"], **(properties or {})}, **changes}
