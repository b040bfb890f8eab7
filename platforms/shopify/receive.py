"""Verification of Shopify's webhooks.

Headers, signature and topics: https://shopify.dev/docs/apps/build/webhooks
"""

from connector.plugin import BodySignature, Request, Store, Webhook, host, parse_time, text

# https://shopify.dev/docs/apps/build/webhooks/verify-deliveries
SIGNATURE = BodySignature("X-Shopify-Hmac-Sha256", aliases=("Shopify-Hmac-Sha256",))


def receive(request: Request, store: Store) -> Webhook:
    """Verify a delivery and read its headers. Raises InvalidSignature."""
    SIGNATURE.verify(request, store)
    return Webhook(
        topic=topic_of(request),
        body=request.body,
        received_at=request.received_at,
        shop=shop_of(request),
        delivery=text(_header(request, "webhook-id")),
        triggered_at=parse_time(_header(request, "triggered-at")),
    )


def topic_of(request: Request) -> str:
    """Return the topic in the (unsigned) header."""
    return text(_header(request, "topic")).lower()


def shop_of(request: Request) -> str:
    """Return the *.myshopify.com host in the (unsigned) header."""
    return host(_header(request, "shop-domain"))


def _header(request: Request, name: str) -> str:
    """Return a Shopify header, or "". Old names begin with X-, new ones do not; Shopify's SDKs accept both."""
    return request.headers.get(f"x-shopify-{name}") or request.headers.get(f"shopify-{name}") or ""
