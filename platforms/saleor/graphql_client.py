"""A client for one shop's GraphQL API. Every failure is a ShopApiError, without tokens or answers in its text.

https://docs.saleor.io/api-usage/overview
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
_KEYS = frozenset({"InvalidTokenError", "ExpiredSignatureError", "JSONWebTokenError", "Unauthenticated"})


class GraphqlError(msgspec.Struct):
    """An error of an answer; `extensions.exception.code` says of what kind."""

    message: str = ""
    extensions: dict[str, Any] = {}

    @property
    def code(self) -> str:
        """The kind, or ""."""
        found = self.extensions.get("exception")
        return str(found.get("code", "")) if isinstance(found, dict) else ""


class GraphqlAnswer(msgspec.Struct):
    """An answer. `data` is not parsed, so that numbers keep their digits."""

    data: msgspec.Raw = msgspec.Raw(b"null")
    errors: list[GraphqlError] = []


class GraphqlClient:
    """The API at `url`, which waits by calling `pause` with a number of seconds."""

    def __init__(self, url: str, token: str, pause: Callable[[float], object]) -> None:
        self._url, self._pause = url, pause
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {token}"
        self._session.headers["User-Agent"] = f"tiktok-shop-connector/{__version__}"

    def ask(self, query: str, variables: Mapping[str, Any]) -> msgspec.Raw:
        """Return the `data` of a successful answer. Raises ShopApiError.

        Only what the shop has not answered, or is too busy for, is repeated.
        """
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                answer = self._session.post(
                    self._url,
                    json={"query": query, "variables": dict(variables)},
                    timeout=TIMEOUT,
                    allow_redirects=False,
                )
            except requests.RequestException as error:
                failed = ShopApiError("unreachable", f"the shop's API cannot be reached ({type(error).__name__})")
                wait = 2.0**attempt
            else:
                if answer.status_code not in (429, 502, 503, 504):
                    return _data(answer)
                failed = ShopApiError("throttled", "the shop's API is too busy; try again later")
                wait = _asked(answer.headers.get("Retry-After", "")) or 2.0**attempt
            if attempt < MAX_ATTEMPTS:
                self._pause(min(wait, MAX_WAIT))
        raise failed


def _asked(header: str) -> float:
    return float(header) if header.isdecimal() else 0.0


def _data(answer: requests.Response) -> msgspec.Raw:
    if answer.status_code in (401, 403):
        raise _wrong_token()
    try:
        found = msgspec.json.decode(answer.content, type=GraphqlAnswer)
    except msgspec.DecodeError:
        what = f"status {answer.status_code}, and no GraphQL"
        raise ShopApiError("broken", f"the shop's API answers {what}; see that `shop` is the API's host") from None
    codes = {error.code for error in found.errors}
    if codes & _KEYS:
        raise _wrong_token()
    if "PermissionDenied" in codes:
        raise ShopApiError(
            "scopes", "the app lacks a permission: give it MANAGE_ORDERS, MANAGE_USERS and MANAGE_CHECKOUTS"
        )
    if found.errors or bytes(found.data) == b"null":
        kind = next(iter(sorted(code for code in codes if code.isidentifier())), "without a code")
        raise ShopApiError("refused", f"the shop's API refuses the request ({kind}); is it Saleor 3.23 or newer?")
    return found.data


def _wrong_token() -> ShopApiError:
    return ShopApiError(
        "keys", "the shop's API does not know the access_token; create one for the app in the dashboard"
    )
