"""BigCommerce's use of the REST client: its header, its quota, its errors.

Limits: https://developer.bigcommerce.com/docs/start/best-practices/api-rate-limits
"""

from collections.abc import Callable, Mapping
from typing import Any

from connector.plugin import ErrorKind
from connector.plugin.rest_client import Answer, RestClient, reason

SCOPES = "Orders, Customers, Carts: read-only, and Information & settings: modify"


class BigCommerceClient:
    """The API at `base`, which waits by calling `pause` with a number of seconds. Methods raise ShopApiError."""

    def __init__(self, base: str, token: str, pause: Callable[[float], object]) -> None:
        self._api = RestClient(base, {"X-Auth-Token": token}, pause, _error, _reset)

    def get(self, path: str, parameters: Mapping[str, Any]) -> bytes:
        """Return the body of an answer, b"" for "no content" and for a path that there is not."""
        answer = self._api.get(path, parameters, allowed=(404,))
        return b"" if answer.status in (204, 404) else answer.body

    def change(self, method: str, path: str, body: Any = None, allowed: tuple[int, ...] = ()) -> tuple[int, bytes]:
        """Send a change; return status and body, also of the refusals in `allowed`."""
        answer = self._api.change(method, path, body, allowed)
        return answer.status, answer.body


def _reset(answer: Answer) -> float:
    """Return the seconds until the quota is refilled, if an answer says so; 0 otherwise."""
    found = answer.headers.get("X-Rate-Limit-Time-Reset-Ms", "")
    return int(found) / 1000 if found.isascii() and found.isdecimal() and len(found) < 10 else 0.0


def _error(answer: Answer) -> tuple[ErrorKind, str]:
    """Return kind and sentence for a refusal; `title` is v3's field of its reason."""
    status = answer.status
    if status == 401:
        return "keys", "the shop's API does not know the access_token; create an API account in the control panel"
    if status == 403:
        return "scopes", f"the API account lacks a scope; give it {SCOPES}"
    return (
        "broken" if status < 400 else "refused",
        f"the shop's API answers {status}{reason(answer, 'title')}; see that `shop` is the store hash",
    )
