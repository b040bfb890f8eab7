"""The fake shop's webhooks: queue, bodies made at delivery, signatures, pings and the failure counter."""

import base64
import hashlib
import hmac
import http.client
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

WORDPRESS = "6.8.2"
DELIVERY_TIMEOUT, PING_TIMEOUT = 60, 5
MAX_FAILURES = 5
SILENT = {"draft", "auto-draft", "new"}  # checkout-draft is not among them
# wp_specialchars_decode(…, ENT_QUOTES), one pass.
_ENTITY = re.compile(r"&(?:(quot|lt|gt|amp)|#0*(39|34|60|62|38)|#[xX]0*(27|22|26));")
_NAMED = {"quot": '"', "lt": "<", "gt": ">", "amp": "&"}

NO_ACCESS = {
    "code": "woocommerce_rest_cannot_view",
    "message": "Sorry, you cannot view this resource.",
    "data": {"status": 401},
}


@dataclass
class Webhook:
    """A webhook as the shop's database has it."""

    id: int
    name: str
    topic: str
    delivery_url: str
    secret: str
    dates: dict[str, str]
    status: str = "active"
    failures: int = 0
    pending: bool = True  # no ping has been answered 200 yet
    orphaned: bool = False  # its owner was deleted (user_id 0), so nothing may be seen in its name


@dataclass(frozen=True)
class Delivery:
    """One attempt. `status` None: nobody answered."""

    webhook: int
    topic: str
    headers: dict[str, str]
    body: bytes = field(repr=False)
    status: int | None

    @property
    def data(self) -> Any:
        return json.loads(self.body)


class Webhooks:
    """All webhooks of one shop, and the queue of what they have to tell."""

    def __init__(self, shop: Any) -> None:
        self.shop = shop
        self.all: dict[int, Webhook] = {}
        self.deliveries: list[Delivery] = []
        self.pings: list[tuple[int, int | None]] = []
        self.drop: Callable[[str, Any], bool] | None = None
        self.held = False
        self._queue: list[tuple[int, Any]] = []

    def create(self, name: str, topic: str, url: str, secret: str) -> Webhook:
        """A new active webhook, whatever else was asked for, and its ping."""
        dates = self.shop.dates("created") | self.shop.dates("modified")
        made = Webhook(max(self.all, default=0) + 1, name, topic, url, secret, dates)
        self.all[made.id] = made
        self.ping(made)
        return made

    def ping(self, webhook: Webhook) -> None:
        """Unsigned, a form; only a plain 200 is accepted."""
        headers = {**_common(self.shop), "Content-Type": "application/x-www-form-urlencoded"}
        status = _post(webhook.delivery_url, headers, f"webhook_id={webhook.id}".encode(), PING_TIMEOUT)
        self.pings.append((webhook.id, status))
        webhook.pending = status != 200

    def notice(self, topic: str, argument: Any) -> None:
        """Queue it for each active webhook of the topic; what waits already is not queued twice."""
        if topic.startswith("order.") and self.shop.orders[argument]["status"] in SILENT:
            return
        for webhook in self.all.values():
            if webhook.topic == topic and webhook.status == "active" and (webhook.id, argument) not in self._queue:
                self._queue.append((webhook.id, argument))

    def leave(self) -> None:
        """Run the queue unless it is held."""
        if not self.held:
            self.run()

    def run(self) -> None:
        """Deliver what waits, in order, each once."""
        while self._queue:
            webhook_id, argument = self._queue.pop(0)
            if webhook_id in self.all:
                self._deliver(self.all[webhook_id], argument)

    def _deliver(self, webhook: Webhook, argument: Any) -> None:
        data = NO_ACCESS if webhook.orphaned else self._payload(webhook.topic, argument)
        body = encode(data)
        headers = self._headers(webhook, body)
        lost = self.drop is not None and self.drop(webhook.topic, data)
        status = None if lost else _post(webhook.delivery_url, headers, body, DELIVERY_TIMEOUT)
        self.deliveries.append(Delivery(webhook.id, webhook.topic, headers, body, status))
        if status is not None and 200 <= status < 303:
            webhook.failures = 0
        elif webhook.failures > MAX_FAILURES:
            webhook.status = "disabled"
        else:
            webhook.failures += 1
        if webhook.pending and webhook.status == "active":
            self.ping(webhook)

    def _payload(self, topic: str, argument: Any) -> Any:
        """The state now, not when it happened."""
        resource = topic.partition(".")[0]
        if resource == "action":
            return {"action": topic.partition(".")[2], "arg": argument}
        found = (self.shop.orders if resource == "order" else self.shop.customers).get(argument)
        if found is not None:
            return found
        code = f"woocommerce_rest_{'shop_order' if resource == 'order' else 'customer'}_invalid_id"
        return {"code": code, "message": "Invalid ID.", "data": {"status": 404}}

    def _headers(self, webhook: Webhook, body: bytes) -> dict[str, str]:
        resource, _, event = webhook.topic.partition(".")
        # One per webhook and second, whatever is delivered.
        delivery = f"{webhook.id}{int(self.shop.now().timestamp())}"
        return {
            **_common(self.shop),
            "Content-Type": "application/json",
            "X-WC-Webhook-Source": f"{self.shop.url}/",
            "X-WC-Webhook-Topic": webhook.topic,
            "X-WC-Webhook-Resource": resource,
            "X-WC-Webhook-Event": event,
            "X-WC-Webhook-Signature": signature(body, webhook.secret),
            "X-WC-Webhook-ID": str(webhook.id),
            "X-WC-Webhook-Delivery-ID": hashlib.md5(delivery.encode()).hexdigest(),
        }


def encode(data: Any) -> bytes:
    r"""JSON as PHP writes it: compact, ASCII, slashes as `\/`."""
    return json.dumps(data, separators=(",", ":")).replace("/", "\\/").encode("ascii")


def signature(body: bytes, secret: str) -> str:
    """base64(HMAC-SHA256(body)), with the key WordPress makes of the secret."""
    key = _ENTITY.sub(lambda found: _NAMED.get(found[1]) or chr(int(found[2] or 0) or int(found[3], 16)), secret)
    return base64.b64encode(hmac.new(key.encode(), body, hashlib.sha256).digest()).decode()


def _common(shop: Any) -> dict[str, str]:
    return {
        "User-Agent": f"WooCommerce/{shop.version} Hookshot (WordPress/{WORDPRESS})",
        "Accept": "*/*",
        "Accept-Encoding": "deflate, gzip, br, zstd",
        "Connection": "close",
    }


def _post(url: str, headers: dict[str, str], body: bytes, timeout: float) -> int | None:
    """The answer's status, or None. Redirects are not followed."""
    try:
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=timeout)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request("POST", target, body, headers)
            return connection.getresponse().status
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError):
        return None
