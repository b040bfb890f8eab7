"""A client for a shop's REST API. Every failure is a ShopApiError, without tokens or answers in its text.

For platforms; it loads an HTTP library, so only `connect` imports it.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec
import requests

from connector import __version__
from connector.core.shop_api import ErrorKind, ShopApiError

TIMEOUT = 30  # seconds without a byte
MAX_ATTEMPTS = 5  # of a request that the shop is too busy for, or that gets no answer
MAX_WAIT = 60.0  # seconds between two of them
MAX_REASON = 80  # characters of a shop's own words


class Answer(NamedTuple):
    """An answer to a request; header names in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class RestClient:
    """The API at `base`. It waits by calling `pause` with a number of seconds.

    `wait_of` reads the seconds that an answer asks to wait; 0 if it does not say. `error_of` returns kind and sentence
    for an answer that is no success.
    """

    def __init__(
        self,
        base: str,
        headers: Mapping[str, str],
        pause: Callable[[float], object],
        error_of: Callable[[Answer], tuple[ErrorKind, str]],
        wait_of: Callable[[Answer], float] = lambda answer: 0.0,
    ) -> None:
        self._base, self._pause, self._error_of, self._wait_of = base.rstrip("/"), pause, error_of, wait_of
        self._session = requests.Session()
        self._session.headers.update(
            {"Accept": "application/json", "User-Agent": f"tiktok-shop-connector/{__version__}", **headers}
        )

    def get(self, path: str, parameters: Mapping[str, Any], allowed: tuple[int, ...] = ()) -> Answer:
        """Return a successful answer, or a refusal whose status is in `allowed`. Raises ShopApiError."""
        return self._checked(self._request("GET", path, parameters, None), allowed)

    def change(self, method: str, path: str, body: Any = None, allowed: tuple[int, ...] = ()) -> Answer:
        """Send a change as JSON; return the answer as `get` does. Raises ShopApiError."""
        return self._checked(self._request(method, path, None, body), allowed)

    def _checked(self, answer: Answer, allowed: tuple[int, ...]) -> Answer:
        if not 200 <= answer.status < 300 and answer.status not in allowed:
            raise ShopApiError(*self._error_of(answer))
        return answer

    def _request(self, method: str, path: str, parameters: Mapping[str, Any] | None, body: Any) -> Answer:
        """Return the answer. Only what the shop has not answered, or is too busy for, is repeated."""
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                found = self._session.request(
                    method, f"{self._base}{path}", params=parameters, json=body, timeout=TIMEOUT, allow_redirects=False
                )
            except requests.RequestException as error:
                failed = ShopApiError("unreachable", f"the shop's API cannot be reached ({type(error).__name__})")
                wait = 2.0**attempt
            else:
                answer = Answer(found.status_code, found.headers, found.content)
                if answer.status != 429 and answer.status < 500:
                    return answer
                failed = ShopApiError("throttled", "the shop's API is too busy; try again later")
                wait = self._wait_of(answer) or 2.0**attempt
            if attempt < MAX_ATTEMPTS:
                self._pause(min(wait, MAX_WAIT))
        raise failed


def reason(answer: Answer, field: str) -> str:
    """Return " (…)" with this field's text of an error, if it is a short sentence without personal data; else ""."""
    try:
        found = msgspec.json.decode(answer.body, type=dict[str, Any]).get(field)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    if not isinstance(found, str) or not found.isascii() or not found.isprintable() or "@" in found:
        return ""
    return f" ({found})" if 0 < len(found) <= MAX_REASON else ""
