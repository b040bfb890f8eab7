"""The APIs of the shops by platform. Apart from `platforms` itself, as receiving webhooks needs none of them."""

from collections.abc import Mapping

from connector.core.shop_api import ShopApiModule
from platforms.shopify import shop_api as shopify_admin
from platforms.woocommerce import shop_api as woocommerce_admin

ADMINS: Mapping[str, ShopApiModule] = {"shopify": shopify_admin, "woocommerce": woocommerce_admin}
