"""Verification of Shopify's webhooks.

Headers, signature and topics: https://shopify.dev/docs/apps/build/webhooks
"""

from connector.plugin import Request, Store, Webhook, host, parse_time, sign, text, verify


def receive(request: Request, store: Store) -> Webhook:
    """Verify a delivery and read its headers. Raises InvalidSignature.

    https://shopify.dev/docs/apps/build/webhooks/verify-deliveries
    """
    verify(request.body, _header(request, "hmac-sha256"), (secret.encode() for secret in store.webhook_secrets))
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


def signed_headers(body: bytes, secret: str) -> dict[str, str]:
    """Return the signature header that a shop with this secret sends."""
    return {"X-Shopify-Hmac-Sha256": sign(body, secret.encode())}


def _header(request: Request, name: str) -> str:
    """Return a Shopify header, or "". Old names begin with X-, new ones do not; Shopify's SDKs accept both."""
    return request.headers.get(f"x-shopify-{name}") or request.headers.get(f"shopify-{name}") or ""
