"""Verification of WooCommerce's webhooks.

Delivery and signature: https://github.com/woocommerce/woocommerce/blob/trunk/plugins/woocommerce/includes/class-wc-webhook.php
"""

import re

from connector.plugin import BodySignature, Handshake, Request, Store, Webhook, host, text

_PING = re.compile(rb"webhook_id=\d{1,20}")
# As wp_specialchars_decode(…, ENT_QUOTES): only these entities, in one pass, with any zero padding.
_ENTITY = re.compile(r"&(?:(quot|lt|gt|amp)|#0*(39|34|60|62|38)|#[xX]0*(27|22|26));")
_NAMED = {"quot": '"', "lt": "<", "gt": ">", "amp": "&"}


SIGNATURE = BodySignature("X-WC-Webhook-Signature", key=lambda secret: decode_secret(secret).encode())


def receive(request: Request, store: Store) -> Webhook | Handshake:
    """Verify a delivery and read its headers. Raises InvalidSignature.

    Return a Handshake for the unsigned ping that WooCommerce sends when a webhook is saved.
    """
    if _is_ping(request):
        return Handshake()
    SIGNATURE.verify(request, store)
    return Webhook(
        topic=topic_of(request),
        body=request.body,
        received_at=request.received_at,
        shop=shop_of(request),
        # One value per subscription of the shop and second, so different orders can share it: it helps to find a
        # delivery.
        delivery=text(request.headers.get("x-wc-webhook-delivery-id")),
    )


def _is_ping(request: Request) -> bool:
    return "x-wc-webhook-topic" not in request.headers and _PING.fullmatch(request.body.strip()) is not None


def topic_of(request: Request) -> str:
    """Return the topic in the (unsigned) header."""
    return text(request.headers.get("x-wc-webhook-topic")).lower()


def shop_of(request: Request) -> str:
    """Return the host in the (unsigned) X-WC-Webhook-Source header."""
    return host(request.headers.get("x-wc-webhook-source", ""))


def decode_secret(secret: str) -> str:
    """Return the key that WooCommerce signs with: the secret with five HTML entities decoded, as in WordPress."""
    return _ENTITY.sub(_decode_entity, secret)


def _decode_entity(entity: re.Match[str]) -> str:
    name, decimal, hexadecimal = entity.groups()
    if name:
        return _NAMED[name]
    return chr(int(decimal) if decimal else int(hexadecimal, 16))
