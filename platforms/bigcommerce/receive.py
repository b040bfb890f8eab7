"""Verification of BigCommerce's webhooks, and what they name: they have no data.

Signature and headers: https://developer.bigcommerce.com/docs/integrations/webhooks/https-webhook-overview
Scopes: https://developer.bigcommerce.com/docs/integrations/webhooks/events
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import timedelta

from connector.plugin import (
    InvalidPayload,
    InvalidSignature,
    Notice,
    Request,
    StandardWebhooks,
    Store,
    Webhook,
    body_text,
    json_object,
    numeric_id,
    text,
)

TOKEN_HEADER = "X-Connector-Token"  # noqa: S105 (a name) — BigCommerce sends headers that its hook was created with
ORDER_SCOPES = frozenset({"store/order/created", "store/order/updated", "store/order/statusUpdated"})
BOOK_SCOPES = frozenset({"store/order/updated", "store/order/refund/created"})  # that say more of a sale
CUSTOMER_SCOPES = frozenset({"store/customer/created"})
CART_SCOPES = frozenset({"store/cart/updated"})
SCOPES = ORDER_SCOPES | BOOK_SCOPES | CUSTOMER_SCOPES | CART_SCOPES
_CART_ID = re.compile(r"[0-9A-Za-z-]{1,64}")


def hook_token(secret: str) -> str:
    """Return the token that hooks of the connector carry in a header: made of the client secret, without telling it."""
    return hmac.new(secret.encode(), b"connector webhook token", hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class BigCommerceSignature:
    """The Standard Webhooks' signature with the client secret, and the token of our own hooks.

    Not every account signs, so one of them is enough; but each that is there must be right. `tolerance` is as long as
    BigCommerce retries: who sends a notice again only makes us fetch the order again.
    """

    tolerance: timedelta = timedelta(days=3)

    @property
    def header(self) -> str:
        """The name of the signature's header."""
        return "webhook-signature"

    @property
    def _standard(self) -> StandardWebhooks:
        return StandardWebhooks(tolerance=self.tolerance, key=str.encode)

    def verify(self, request: Request, store: Store) -> None:
        """Return if one of the store's client secrets made signature and token, or one of them.

        Raises InvalidSignature.
        """
        token = request.headers.get(TOKEN_HEADER.lower(), "")
        fits = [hmac.compare_digest(hook_token(secret).encode(), token.encode()) for secret in store.webhook_secrets]
        if token and not any(fits):
            raise InvalidSignature(
                f"the header {TOKEN_HEADER} fits none of the store's secrets; run `connector webhooks register` again"
            )
        if self.header in request.headers or not token:
            self._standard.verify(request, store)

    def sign(self, request: Request, secret: str) -> dict[str, str]:
        """Return the headers of a hook that was made by hand, which has no token."""
        return self._standard.sign(request, secret)


SIGNATURE = BigCommerceSignature()


def topic_of(request: Request) -> str:
    """Return the scope in the body, never that of a fetched order or customer."""
    scope = body_text(request.body, "scope")
    return scope if scope.startswith("store/") else ""


def shop_of(request: Request) -> str:
    """Return the store hash in the body: "abc123" of "stores/abc123"."""
    return body_text(request.body, "producer").removeprefix("stores/").lower()


def delivery_of(request: Request) -> str:
    """Return the (signed) id of the message, or the body's hash, which a repeated delivery keeps, too."""
    return request.headers.get("webhook-id", "") or body_text(request.body, "hash")


def notice(webhook: Webhook, store: Store) -> Notice | None:
    """Return the order, customer or cart that a webhook names. Raises InvalidPayload.

    None for a refund without books, and for a cart where started checkouts are not sent.
    """
    data = json_object(json_object(webhook.data).get("data"))
    if webhook.topic in CART_SCOPES:
        cart = text(data.get("id"))
        if not _CART_ID.fullmatch(cart) or text(data.get("type")) != "cart":
            raise InvalidPayload(f"expected data.type cart and data.id in the body of scope {webhook.topic}")
        return Notice("checkout", cart) if "checkout_started" in store.sent_milestones else None
    found = numeric_id(data.get("id"))
    kind = "customer" if webhook.topic in CUSTOMER_SCOPES else "order"
    if not found or text(data.get("type")) != kind:
        raise InvalidPayload(f"expected data.type {kind} and data.id in the body of scope {webhook.topic}")
    if webhook.topic not in ORDER_SCOPES | CUSTOMER_SCOPES and not store.books:
        return None
    return Notice("order" if kind == "order" else "customer", found)
