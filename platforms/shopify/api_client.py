"""A client for one shop's Admin API over Shopify's package `ShopifyAPI`, without that package's side effects.

Only `platforms.shopify.shop_api.connect` imports this module. Version 12.7 of the package:

- sets no time limit; here every request ends, even if the answer never does
- prints the body of a refused GraphQL query and empties it; here queries use its REST connection, which does not
- keeps one session per thread and a default for the process; here a session is set for one request, then cleared
- turns any host into <first label>.myshopify.com; here the address is set after the session
- follows redirects and sends the token along; here redirects are not followed
- logs tokens and bodies at DEBUG; here it logs nothing
- leaves errors in answers with status 200, rate limits and the renewal of tokens to its caller

Statuses: https://shopify.dev/docs/api/usage/response-codes · rates: https://shopify.dev/docs/api/usage/rate-limits
"""

import http.client
import json
import logging
import math
import queue
import re
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec
import shopify
from pyactiveresource import connection as vendor

from connector.plugin import ApiKeys, ShopApiError

API_VERSION = "2026-07"
ADMIN = f"/admin/api/{API_VERSION}"
GRAPHQL = f"{ADMIN}/graphql.json"
GRANT = "/admin/oauth/access_token"
MAX_WAIT = 60.0  # seconds that one request waits for Shopify's rate limits, in total
RENEW_BEFORE = 300.0  # seconds before its expiry at which a token is renewed
MAX_QUOTED = 200  # characters of Shopify's message that an error quotes

Shape = TypeVar("Shape")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer: status, headers with names in lower case, the body as received."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class ShopifyApi:
    """The Admin API of the shop named `shop` (NAME.myshopify.com). Methods raise ShopApiError. Not thread-safe.

    `pause` sleeps for a number of seconds, `clock` returns Unix seconds, `base` replaces https://SHOP in tests. `limit`
    is the longest time in seconds without a byte from Shopify; a request ends after three times that in any case.
    """

    def __init__(
        self,
        shop: str,
        keys: ApiKeys,
        pause: Callable[[float], object],
        clock: Callable[[], float],
        base: str,
        limit: float,
    ) -> None:
        self.shop = shop
        self.shop_time: float | None = None  # Unix seconds, from the Date of the latest answer
        self._keys = keys
        self._pause = pause
        self._clock = clock
        self._base = base or f"https://{shop}"
        self._limit = limit
        self._granted = ""  # a token granted for client_id and client_secret
        self._renew_at = 0.0  # Unix seconds
        self._nearly_full = False  # the bucket of Shopify's rate limit

    def get(self, path: str, query: Mapping[str, str | int]) -> Answer:
        """Get a REST resource such as `orders.json`. REST is legacy, but only it has orders in the webhook's shape."""
        if self._nearly_full:
            self._pause(1)  # empties a twentieth of the bucket: more than this one call fills
        answer = self._request("GET", f"{ADMIN}/{path}?{urlencode(query)}")
        used, _, size = answer.headers.get("x-shopify-shop-api-call-limit", "").partition("/")
        self._nearly_full = used.isdecimal() and size.isdecimal() and int(used) >= 0.9 * int(size)
        return answer

    def graphql(self, query: str, **variables: object) -> dict[str, Any]:
        """Return the `data` of a query or mutation, which can contain userErrors."""
        answer = self._request("POST", GRAPHQL, {"query": query, "variables": variables})
        reply = self.read(answer, dict[str, Any])
        if errors := reply.get("errors"):
            raise self._graphql_error(errors)
        if not isinstance(reply.get("data"), dict):
            raise self.broken_answer()
        return dict(reply["data"])

    def read(self, answer: Answer, shape: type[Shape]) -> Shape:
        """Decode the answer's JSON as this type."""
        try:
            return msgspec.json.decode(answer.body, type=shape)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise self.broken_answer() from None

    def broken_answer(self) -> ShopApiError:
        """Return the error for an answer that is not one of the API's."""
        return ShopApiError(
            "broken", f"{self.shop} sent an answer that is not its API's; try again later, or look for a proxy"
        )

    def quotable(self, errors: object) -> str:
        """Return Shopify's error message, shortened; "" if it contains one of the store's keys."""
        message = " ".join(_flatten(errors).split())
        secrets = (self._keys.access_token, self._keys.client_secret, self._granted)
        return "" if any(secret and secret in message for secret in secrets) else message[:MAX_QUOTED]

    # --- tokens and rate limits -------------------------------------------------------------------------------

    def _request(self, method: str, path: str, body: object = None) -> Answer:
        answer = self._send_within_limits(method, path, body, self._token())
        if answer.status == 401 and self._granted:
            self._granted = ""  # it was revoked, or the secret was changed
            answer = self._send_within_limits(method, path, body, self._token())
        if not 200 <= answer.status < 300:
            raise self._status_error(answer)
        return answer

    def _send_within_limits(self, method: str, path: str, body: object, token: str) -> Answer:
        """Send a request, again after each wait that Shopify demands; at most MAX_WAIT seconds in total."""
        waited = 0.0
        while True:
            answer = self._send(method, path, body, token)
            seconds = self._required_wait(answer, path)
            if not seconds:
                return answer
            waited += seconds
            if waited > MAX_WAIT:
                raise ShopApiError(
                    "throttled",
                    f"{self.shop} still limits our requests; try again in some minutes, and see what else uses the "
                    "app's key",
                )
            self._pause(seconds)

    def _token(self) -> str:
        """Return the configured access_token, or one granted for 24 hours.

        https://shopify.dev/docs/apps/build/authentication-authorization/access-tokens/client-credentials-grant
        """
        if self._keys.access_token:
            return self._keys.access_token
        if self._granted and self._clock() < self._renew_at:
            return self._granted
        self._granted = ""
        keys = {"client_id": self._keys.client_id, "client_secret": self._keys.client_secret}
        answer = self._send_within_limits("POST", GRANT, {"grant_type": "client_credentials", **keys}, "")
        if answer.status in (400, 401, 403):
            raise self._grant_error(answer)
        if answer.status != 200:
            raise self._status_error(answer)
        grant = self.read(answer, dict[str, Any])
        token, lasts = grant.get("access_token"), grant.get("expires_in", 0)
        if not isinstance(token, str) or not re.fullmatch("[!-~]+", token) or not isinstance(lasts, int):
            raise self.broken_answer()
        self._granted, self._renew_at = token, self._clock() + lasts - RENEW_BEFORE
        return token

    def _required_wait(self, answer: Answer, path: str) -> float:
        """Return the seconds that Shopify wants the client to wait before the next request, or 0."""
        if answer.status == 429:
            return _wait_seconds(answer.headers.get("retry-after"))
        if path != GRAPHQL or answer.status != 200 or b"THROTTLED" not in answer.body:
            return 0
        reply = self.read(answer, dict[str, Any])
        if "THROTTLED" not in _codes(reply.get("errors")):
            return 0
        # The query costs more than what is left; wait until the difference is restored.
        cost = _nested(reply, "extensions", "cost")
        status = _nested(cost, "throttleStatus")
        try:
            lacking = float(cost["requestedQueryCost"]) - float(status["currentlyAvailable"])
            return _wait_seconds(lacking / float(status["restoreRate"]))
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            return _wait_seconds(None)

    # --- one request, one answer ------------------------------------------------------------------------------

    def _send(self, method: str, path: str, body: object, token: str) -> Answer:
        data = json.dumps(body).encode() if body is not None else None
        try:
            with _session(self.shop, self._base, token, self._limit) as (connection, headers):
                call = partial(connection.post, data=data) if method == "POST" else connection.get
                answer = _answer(_within(3 * self._limit, partial(call, path, headers)))
        except vendor.ServerError as refusal:  # the package drops its body
            answer = Answer(refusal.code, {}, b"")
        except vendor.ConnectionError as refusal:
            answer = _answer(refusal.response)
        except http.client.IncompleteRead:
            raise self.broken_answer() from None
        except (vendor.Error, OSError, http.client.HTTPException) as trouble:
            raise ShopApiError("unreachable", self._unreachable(_cause(trouble))) from None
        self.shop_time = _unix(answer.headers.get("date"))
        return answer

    def _unreachable(self, why: str) -> str:
        return f"{self.shop} does not answer ({why}); try again later, and see that this machine may call it"

    # --- errors -------------------------------------------------------------------------------------------------

    def _status_error(self, answer: Answer) -> ShopApiError:
        shop, message = self.shop, self._message(answer)
        if answer.status == 401:
            return ShopApiError(
                "keys",
                f"{shop} does not accept the key; see that the app is installed in this shop and that [api] holds its "
                "current access_token, or client_id and client_secret",
            )
        if answer.status == 403:
            return self._permission_error(message)
        remedies = {
            402: f"{shop} is frozen for an unpaid bill; the shop's owner settles it with Shopify",
            404: f"Shopify knows no shop {shop}; `shop` must be its myshopify.com name",
            423: f"Shopify has locked {shop}; the shop's owner asks Shopify's support why",
        }
        if remedy := remedies.get(answer.status):
            return ShopApiError("refused", remedy)
        if answer.status >= 500:
            return ShopApiError("unreachable", self._unreachable(f"status {answer.status}"))
        if 300 <= answer.status < 400:
            return ShopApiError("refused", f"{shop} redirects elsewhere; `shop` must be its present myshopify.com name")
        return ShopApiError("refused", f"{shop} refuses with status {answer.status}: {message or 'no reason given'}")

    def _graphql_error(self, errors: object) -> ShopApiError:
        """Return the error inside a 200: https://shopify.dev/docs/api/admin-graphql#status_and_error_codes"""
        message, codes = self.quotable(errors), _codes(errors)
        if "SHOP_INACTIVE" in codes:
            return ShopApiError("refused", f"{self.shop} is not active; the shop's owner settles it with Shopify")
        if "INTERNAL_SERVER_ERROR" in codes:
            return ShopApiError("unreachable", self._unreachable("an error on Shopify's side"))
        return self._permission_error(message) if "ACCESS_DENIED" in codes else self.refusal(message, "our query")

    def refusal(self, message: str, what: str) -> ShopApiError:
        """Return the error for a refusal with Shopify's message; `what` names what was refused."""
        if any(sign in message.lower() for sign in ("customer data", "not approved", "permission", "access denied")):
            return self._permission_error(message)
        return ShopApiError("refused", f"{self.shop} refuses {what}: {message or 'no reason given'}")

    def withheld(self) -> ShopApiError:
        """Return the error for an app without access to personal data."""
        return ShopApiError(
            "withheld",
            f"{self.shop} withholds personal data from the app; in the Dev Dashboard give it access to protected "
            "customer data, with name, e-mail, phone and address, and release the version (some of Shopify's smaller "
            "plans do not offer it)",
        )

    def _permission_error(self, message: str) -> ShopApiError:
        if "customer data" in message.lower() or "not approved" in message.lower():
            return self.withheld()
        return ShopApiError(
            "scopes",
            f"a permission is missing in {self.shop} ({message or 'no reason given'}); give the app the scopes "
            "read_orders and read_customers in the Dev Dashboard, release the version, and approve it in the shop",
        )

    def _grant_error(self, answer: Answer) -> ShopApiError:
        # The reason is in JSON or on an HTML page, but always as one of these words.
        page = answer.body.decode("utf-8", "replace")
        if "shop_not_permitted" in page:
            remedy = "the app and the shop must belong to the same organisation of the Dev Dashboard"
        elif "app_not_installed" in page:
            remedy = "install the app in this shop"
        else:
            remedy = "copy client_id and client_secret from the app's settings in the Dev Dashboard"
        return ShopApiError("keys", f"{self.shop} grants no token; {remedy}")

    def _message(self, answer: Answer) -> str:
        try:
            reply = msgspec.json.decode(answer.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return ""  # an HTML page
        return self.quotable(reply.get("errors")) if isinstance(reply, dict) else ""


# --- the package --------------------------------------------------------------------------------------------------


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect, because the token would be sent along."""

    def redirect_request(self, *_args: object, **_kwargs: object) -> None:
        return None


_SILENT_LOGGER = logging.Logger("silent", logging.CRITICAL + 1)  # the package's own logs the token


@contextmanager
def _session(shop: str, base: str, token: str, limit: float) -> Iterator[tuple[Any, dict[str, str]]]:
    """Yield the package's connection to this shop, and its headers; both are valid inside the block."""
    resource = shopify.ShopifyResource
    try:
        resource.activate_session(shopify.Session(shop, API_VERSION, token))
        resource.site = f"{base}{ADMIN}"
        resource.timeout = limit
        connection = resource.connection
        connection.log = _SILENT_LOGGER
        opener = urllib.request.build_opener(_NoRedirects)
        connection._urlopen = partial(opener.open, timeout=limit)
        yield connection, {name: value for name, value in resource.headers.items() if value}
    finally:
        resource.timeout = None
        resource.clear_session()


def _within(seconds: float, call: Callable[[], Any]) -> Any:
    """Return what `call` returns, or raise what it raises; TimeoutError if it takes longer than `seconds`.

    A socket's timeout limits only the time without a byte: an answer sent byte by byte would never end.
    """
    done: queue.SimpleQueue[tuple[Any, Exception | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            done.put((call(), None))
        except Exception as error:  # raised again in the calling thread
            done.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        found, error = done.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError from None
    if error:
        raise error
    return found


def _answer(response: Any) -> Answer:
    return Answer(
        response.code or 0, {name.lower(): value for name, value in response.headers.items()}, bytes(response.body)
    )


# --- parts --------------------------------------------------------------------------------------------------------


def _cause(trouble: BaseException) -> str:
    """Return the type of the innermost exception; its text can contain a proxy's password."""
    while trouble.args and isinstance(trouble.args[0], BaseException):
        trouble = trouble.args[0]
    return type(trouble).__name__


def _wait_seconds(value: object) -> float:
    """Parse a wait in seconds, at least half a second; 2 if Shopify does not say how long."""
    try:
        seconds = float(str(value))
    except ValueError:
        return 2.0
    return max(seconds, 0.5) if not math.isnan(seconds) else 2.0


def _unix(date: str | None) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() if date else None
    except (ValueError, OverflowError):
        return None


def _nested(value: Any, *names: str) -> dict[str, Any]:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _codes(errors: object) -> set[str]:
    rows = errors if isinstance(errors, list) else []
    return {str(_nested(row, "extensions").get("code")) for row in rows}


def _flatten(errors: object) -> str:
    """Return the messages in `errors` as one text, for each of the shapes that Shopify uses."""
    if isinstance(errors, dict):
        if "message" in errors:
            return str(errors["message"])
        return "; ".join(f"{name} {_flatten(value)}" for name, value in errors.items())
    if isinstance(errors, list):
        return "; ".join(map(_flatten, errors))
    return str(errors) if errors is not None else ""
