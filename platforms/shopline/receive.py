"""Verification of the webhooks of SHOPLINE's Open Platform (*.myshopline.com).

Headers and signature: https://developer.shopline.com/docs/webhooks/overview
"""

from connector.plugin import BodySignature, Request, host, text

# SHOPLINE's SDK writes hex, the example on its page is base64; 64 and 44 characters tell them apart.
SIGNATURE = BodySignature("X-Shopline-Hmac-Sha256", ("hex", "base64"))


def topic_of(request: Request) -> str:
    """Return the topic in the (unsigned) header."""
    return text(request.headers.get("x-shopline-topic")).lower()


def shop_of(request: Request) -> str:
    """Return the *.myshopline.com host in the (unsigned) header."""
    return host(request.headers.get("x-shopline-shop-domain"))


def delivery_of(request: Request) -> str:
    """Return the id of the delivery, which a retry keeps."""
    return text(request.headers.get("x-shopline-webhook-id"))
