"""The APIs of the shops by platform. Apart from `platforms` itself, as receiving webhooks needs none of them."""

from collections.abc import Mapping

from connector.core.shop_api import Administration
from platforms import shopify_admin, woocommerce_admin

ADMINS: Mapping[str, Administration] = {"shopify": shopify_admin, "woocommerce": woocommerce_admin}
