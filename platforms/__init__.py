"""One module per shop system: verify and translate its webhooks, nothing else."""

from collections.abc import Mapping

from connector.core.webhook import Platform
from platforms import shopify, woocommerce

PLATFORMS: Mapping[str, Platform] = {"shopify": shopify, "woocommerce": woocommerce}
