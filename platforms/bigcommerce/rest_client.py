"""A client for one store's REST API. Every failure is a ShopApiError, without tokens or answers in its text.

Limits: https://developer.bigcommerce.com/docs/start/best-practices/api-rate-limits
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import requests

from connector import __version__
from connector.plugin import ShopApiError

TIMEOUT = 30  # seconds without a byte
MAX_ATTEMPTS = 5  # of a request that the shop is too busy for, or that gets no answer
MAX_WAIT = 60.0  # seconds between two of them
SCOPES = "Orders, Customers: read-only, and Information & settings: modify"


class RestClient:
    """The API at `base`, which waits by calling `pause` with a number of seconds."""

    def __init__(self, base: str, token: str, pause: Callable[[float], object]) -> None:
        self._base, self._pause = base.rstrip("/"), pause
        self._session = requests.Session()
        self._session.headers.update(
            {
                "X-Auth-Token": token,
                "Accept": "application/json",
                "User-Agent": f"tiktok-shop-connector/{__version__}",
            }
        )

    def get(self, path: str, parameters: Mapping[str, Any]) -> bytes:
        """Return the body of an answer, b"" for "no content" and for a path that there is not. Raises ShopApiError."""
        answer = self._request("GET", path, parameters, None)
        if answer.status_code in (204, 404):
            return b""
        _require_success(answer)
        return answer.content

    def change(self, method: str, path: str, body: Any = None, allowed: tuple[int, ...] = ()) -> tuple[int, bytes]:
        """Send a change; return status and body, also of the refusals in `allowed`. Raises ShopApiError."""
        answer = self._request(method, path, None, body)
        if answer.status_code not in allowed:
            _require_success(answer)
        return answer.status_code, answer.content

    def _request(self, method: str, path: str, parameters: Mapping[str, Any] | None, body: Any) -> requests.Response:
        """Return the answer. Only what the shop has not answered, or is too busy for, is repeated."""
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                answer = self._session.request(
                    method, f"{self._base}{path}", params=parameters, json=body, timeout=TIMEOUT, allow_redirects=False
                )
            except requests.RequestException as error:
                failed = ShopApiError("unreachable", f"the shop's API cannot be reached ({type(error).__name__})")
                wait = 2.0**attempt
            else:
                if answer.status_code != 429 and answer.status_code < 500:
                    return answer
                failed = ShopApiError("throttled", "the shop's API is too busy; try again later")
                wait = _reset(answer) or 2.0**attempt
            if attempt < MAX_ATTEMPTS:
                self._pause(min(wait, MAX_WAIT))
        raise failed


def _reset(answer: requests.Response) -> float:
    """Return the seconds until the quota is refilled, if an answer says so; 0 otherwise."""
    found = answer.headers.get("X-Rate-Limit-Time-Reset-Ms", "")
    return int(found) / 1000 if found.isascii() and found.isdecimal() and len(found) < 10 else 0.0


def _require_success(answer: requests.Response) -> None:
    status = answer.status_code
    if status == 401:
        raise ShopApiError(
            "keys", "the shop's API does not know the access_token; create an API account in the control panel"
        )
    if status == 403:
        raise ShopApiError("scopes", f"the API account lacks a scope; give it {SCOPES}")
    if not 200 <= status < 300:
        raise ShopApiError(
            "broken" if status < 400 else "refused",
            f"the shop's API answers {status}{_title(answer)}; see that `shop` is the store hash",
        )


def _title(answer: requests.Response) -> str:
    """Return the title of an error in v3's form, if it is one of BigCommerce's own short sentences."""
    try:
        title = msgspec.json.decode(answer.content, type=dict[str, Any]).get("title", "")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    is_plain = isinstance(title, str) and title.isascii() and title.isprintable() and 0 < len(title) <= 80
    return f" ({title})" if is_plain and "@" not in title else ""
