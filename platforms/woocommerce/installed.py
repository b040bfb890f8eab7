"""The software installed in the shop: WooCommerce's version, and the connector's plugin."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from connector.plugin import ApiCheck, ShopApiError, json_object, text
from platforms.woocommerce.rest_errors import read

if TYPE_CHECKING:
    from platforms.woocommerce.rest_client import RestClient

OLDEST_VERSION = (5, 8)  # the first WooCommerce that filters orders by modified_after
PLUGIN_ROUTE = "tiktok-connector"  # of snippet/plugin.php
_NO_ROUTE = "rest_no_route"


def version_check(shop: "RestClient", version: str) -> Iterator[ApiCheck]:
    """Check the version that the newest order names, or the status page, which is slow and can be blocked."""
    if not version:
        try:
            status = read(shop.get("system_status", _fields="environment"), dict[str, Any])
        except ShopApiError:
            return
        version = text(json_object(status.get("environment")).get("version"))
    found = re.match(r"(\d{1,4})\.(\d{1,4})", version)
    if found and (int(found[1]), int(found[2])) < OLDEST_VERSION:
        yield ApiCheck(False, f"WooCommerce {found[0]} cannot list orders by date of change: update WooCommerce")
    elif found:
        yield ApiCheck(True, f"WooCommerce {version[:20]}")


def why_no_checkouts(shop: "RestClient") -> str:
    """Return why no checkout is sent, with the remedy, or "": WooCommerce itself does not fire the webhook's action.

    The plugin answers under a route of its own; the status page's list of plugins can be an hour old.
    """
    try:
        answer = shop.ask("get", PLUGIN_ROUTE, None, {}, allowing=(_NO_ROUTE,))
    except ShopApiError:
        return ""  # unknown
    if answer.code != _NO_ROUTE:
        return ""
    return (
        "the shop sends no started checkouts without the plugin that `connector snippet` prints: it is not installed "
        "there, or an older version printed it (ignore this if other code fires wc_tiktok_initiate_checkout)"
    )
