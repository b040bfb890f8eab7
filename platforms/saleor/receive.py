"""Verification of Saleor's webhooks.

Headers and both signatures: https://docs.saleor.io/developer/extending/webhooks/payload-signature
"""

from dataclasses import dataclass

from connector.plugin import (
    BodySignature,
    DetachedJws,
    InvalidSignature,
    Request,
    Store,
    Webhook,
    body_text,
    host,
    parse_time,
    text,
)

HEADER = "Saleor-Signature"
_WITH_SECRET = BodySignature(HEADER, ("hex",))
_WITH_KEY = DetachedJws(HEADER)


@dataclass(frozen=True, slots=True)
class SaleorSignature:
    """HMAC if the webhook has a secretKey (deprecated, but in use), else a detached JWS of the shop's private key."""

    header: str = HEADER

    def verify(self, request: Request, store: Store) -> None:
        """Return if the store's secret or the shop's key signed the body. Raises InvalidSignature, UnknownKey."""
        by_key = "." in request.headers.get(self.header.lower(), "")
        if by_key and not store.webhook_keys:
            raise InvalidSignature(
                "the shop's private key signed this, for the webhook has no secretKey; remove webhook_secrets, or set "
                "webhook_keys as well"
            )
        (_WITH_KEY if by_key else _WITH_SECRET).verify(request, store)

    def sign(self, request: Request, secret: str) -> dict[str, str]:
        """Return the header; `secret` is a secretKey, or a private key in PEM."""
        return (_WITH_KEY if secret.startswith("-----BEGIN") else _WITH_SECRET).sign(request, secret)


SIGNATURE = SaleorSignature()


def receive(request: Request, store: Store) -> Webhook:
    """Verify a delivery and read its headers. Raises InvalidSignature, UnknownKey."""
    SIGNATURE.verify(request, store)
    return Webhook(
        topic=topic_of(request),
        body=request.body,
        received_at=request.received_at,
        shop=shop_of(request),
        triggered_at=parse_time(body_text(request.body, "issuedAt")),
    )


def topic_of(request: Request) -> str:
    """Return the event in the (unsigned) header; `translate` compares it with the body's __typename."""
    return text(request.headers.get("saleor-event")).lower()


def shop_of(request: Request) -> str:
    """Return the host in the (unsigned) header."""
    return host(request.headers.get("saleor-domain"))
