"""SHOPLINE's use of the REST client: its address, its headers, its errors.

https://developer.shopline.com/docs/apps/api-instructions-for-use/http-status-code
https://developer.shopline.com/docs/apps/api-instructions-for-use/rest-admin-api/flow-control (4 requests a second, 40
at once; no answer says how long to wait)
"""

from collections.abc import Callable

from connector.plugin import ErrorKind
from connector.plugin.rest_client import Answer, RestClient, reason

VERSION = "v20260301"


def open_client(shop: str, token: str, pause: Callable[[float], object], base: str = "") -> RestClient:
    """Return a client for the API of a *.myshopline.com host; `base` replaces https://SHOP."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json; charset=utf-8"}

    def error(answer: Answer) -> tuple[ErrorKind, str]:
        return _error(shop, answer)

    return RestClient(f"{base or f'https://{shop}'}/admin/openapi/{VERSION}", headers, pause, error)


def _error(shop: str, answer: Answer) -> tuple[ErrorKind, str]:
    status, why = answer.status, reason(answer, "errors")
    if status == 401:
        return "keys", (
            f"{shop} does not accept the access_token, or it has expired (after 3 years); see the app's page API "
            "credentials under Apps › Develop an app"
        )
    if status == 403 or "scope" in why:
        return "scopes", (
            f"a permission is missing in {shop}{why}; give the app those to read orders and customers under Apps › "
            "Develop an app › Edit, and install it again"
        )
    remedies = {
        402: f"{shop} is frozen for an unpaid bill; the shop's owner settles it with SHOPLINE",
        404: f"{shop} knows no such address of the API; `shop` must be the shop's myshopline.com name",
        423: f"SHOPLINE has locked {shop}; the shop's owner asks SHOPLINE's support why",
    }
    if remedy := remedies.get(status):
        return "refused", remedy
    if status < 400:
        return "refused", f"{shop} answers {status} and leads elsewhere; `shop` must be its present myshopline.com name"
    return "refused", f"{shop} refuses with status {status}{why}"
