"""One folder per shop system: verify and translate its webhooks, and ask its API."""

from collections.abc import Mapping

from connector.core.webhook import Platform
from platforms.shopify import webhooks as _shopify
from platforms.woocommerce import webhooks as _woocommerce

PLATFORMS: Mapping[str, Platform] = {"shopify": _shopify, "woocommerce": _woocommerce}
