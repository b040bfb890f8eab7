"""One module per shop system: verify and translate its webhooks, nothing else."""

from collections.abc import Mapping

from connector.core.webhook import Platform
from platforms.shopify import webhooks as shopify
from platforms.woocommerce import webhooks as woocommerce

PLATFORMS: Mapping[str, Platform] = {"shopify": shopify, "woocommerce": woocommerce}
