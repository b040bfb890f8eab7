"""One shop's Admin API through Shopify's package `ShopifyAPI`, kept from what that package does unasked.

Loaded only where it is used, by `platforms.shopify.shop_api.connect`. The package, in version 12.7:

- limits no request in time; here each one ends, even when the answer never stops coming
- prints the body of a refused GraphQL query and empties it; here queries go over its REST connection, which does not
- keeps its session per thread, with one for the whole process behind it; here it is set for one request, then cleared
- takes any host for <first label>.myshopify.com; here the address is set after the session
- follows redirects, the token with it; here none is followed
- logs tokens and bodies at DEBUG; here it logs nothing
- leaves errors inside a 200, rates and the renewal of tokens to its caller

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

from connector.plugin import (
    ApiKeys,
    ShopApiError,
)

API_VERSION = "2026-07"
ADMIN = f"/admin/api/{API_VERSION}"
GRAPHQL = f"{ADMIN}/graphql.json"
GRANT = "/admin/oauth/access_token"
PATIENCE = 60.0  # seconds that one request may be kept waiting by Shopify's limits
EARLY = 300.0  # seconds before its end that a token is renewed
QUOTED = 200  # characters of Shopify's own words that a fault repeats

Shape = TypeVar("Shape")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: status, headers with names in lower case, the body's very bytes."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class ShopifyApi:
    """The Admin API of the shop that Shopify calls `shop`. Methods raise ShopApiError. Not to be shared by threads.

    `pause` waits so many seconds, `clock` returns Unix seconds. `base` stands for https://SHOP in tests. `limit` is how
    many seconds the other side may be silent; three times that ends a request whatever happens.
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
        self.shop_time: float | None = None  # Unix seconds, by the last answer's Date
        self._keys = keys
        self._pause = pause
        self._clock = clock
        self._base = base or f"https://{shop}"
        self._limit = limit
        self._granted = ""
        self._renew_at = 0.0
        self._nearly_full = False

    def get(self, path: str, query: Mapping[str, str | int]) -> Answer:
        """A REST resource, such as `orders.json`. REST is legacy, but only there has an order its webhook's shape."""
        if self._nearly_full:
            self._pause(1)  # leaks a twentieth of the bucket: more than the one call to come
        answer = self._ask("GET", f"{ADMIN}/{path}?{urlencode(query)}")
        used, _, size = answer.headers.get("x-shopify-shop-api-call-limit", "").partition("/")
        self._nearly_full = used.isdecimal() and size.isdecimal() and int(used) >= 0.9 * int(size)
        return answer

    def graphql(self, query: str, **variables: object) -> dict[str, Any]:
        """The `data` of a query or mutation, which may still hold userErrors."""
        answer = self._ask("POST", GRAPHQL, {"query": query, "variables": variables})
        reply = self.read(answer, dict[str, Any])
        if errors := reply.get("errors"):
            raise self._graphql_fault(errors)
        if not isinstance(reply.get("data"), dict):
            raise self.broken()
        return dict(reply["data"])

    def read(self, answer: Answer, shape: type[Shape]) -> Shape:
        """The answer's JSON, if it is of this shape."""
        try:
            return msgspec.json.decode(answer.body, type=shape)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise self.broken() from None

    def broken(self) -> ShopApiError:
        """The fault of an answer that is none."""
        return ShopApiError(
            "broken", f"{self.shop} answered something that is not its API's; try again later, or look for a proxy"
        )

    def said(self, words: object) -> str:
        """Shopify's own words, cut to what may be repeated in a fault; "" if they hold a secret of ours."""
        found = " ".join(_flat(words).split())
        secrets = (self._keys.access_token, self._keys.client_secret, self._granted)
        return "" if any(secret and secret in found for secret in secrets) else found[:QUOTED]

    # --- asking until there is an answer ----------------------------------------------------------------------

    def _ask(self, method: str, path: str, body: object = None) -> Answer:
        answer = self._patiently(method, path, body, self._token())
        if answer.status == 401 and self._granted:
            self._granted = ""  # it may have ended early: revoked, or the secret was changed
            answer = self._patiently(method, path, body, self._token())
        if not 200 <= answer.status < 300:
            raise self._refusal(answer)
        return answer

    def _patiently(self, method: str, path: str, body: object, token: str) -> Answer:
        """Ask again as often as Shopify wants us to wait, for PATIENCE seconds in all."""
        waited = 0.0
        while True:
            answer = self._send(method, path, body, token)
            seconds = self._asked_to_wait(answer, path)
            if not seconds:
                return answer
            waited += seconds
            if waited > PATIENCE:
                raise ShopApiError(
                    "throttled",
                    f"{self.shop} has no room for our requests; try again in some minutes, and see what else uses the "
                    "app's key",
                )
            self._pause(seconds)

    def _token(self) -> str:
        """The legacy token, or one granted for 24 hours.

        https://shopify.dev/docs/apps/build/authentication-authorization/access-tokens/client-credentials-grant
        """
        if self._keys.access_token:
            return self._keys.access_token
        if self._granted and self._clock() < self._renew_at:
            return self._granted
        self._granted = ""
        keys = {"client_id": self._keys.client_id, "client_secret": self._keys.client_secret}
        answer = self._patiently("POST", GRANT, {"grant_type": "client_credentials", **keys}, "")
        if answer.status in (400, 401, 403):
            raise self._no_grant(answer)
        if answer.status != 200:
            raise self._refusal(answer)
        grant = self.read(answer, dict[str, Any])
        token, lasts = grant.get("access_token"), grant.get("expires_in", 0)
        if not isinstance(token, str) or not re.fullmatch("[!-~]+", token) or not isinstance(lasts, int):
            raise self.broken()
        self._granted, self._renew_at = token, self._clock() + lasts - EARLY
        return token

    def _asked_to_wait(self, answer: Answer, path: str) -> float:
        """The seconds Shopify wants us to wait before we ask again, or 0."""
        if answer.status == 429:
            return _seconds(answer.headers.get("retry-after"))
        if path != GRAPHQL or answer.status != 200 or b"THROTTLED" not in answer.body:
            return 0
        reply = self.read(answer, dict[str, Any])
        if "THROTTLED" not in _codes(reply.get("errors")):
            return 0
        # A query that costs more than there is left: until the rest has been restored.
        cost = _inside(reply, "extensions", "cost")
        status = _inside(cost, "throttleStatus")
        try:
            lacking = float(cost["requestedQueryCost"]) - float(status["currentlyAvailable"])
            return _seconds(lacking / float(status["restoreRate"]))
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            return _seconds(None)

    # --- one request, one answer ------------------------------------------------------------------------------

    def _send(self, method: str, path: str, body: object, token: str) -> Answer:
        data = json.dumps(body).encode() if body is not None else None
        try:
            with _session(self.shop, self._base, token, self._limit) as (connection, headers):
                call = partial(connection.post, data=data) if method == "POST" else connection.get
                answer = _answer(_within(3 * self._limit, partial(call, path, headers)))
        except vendor.ServerError as refusal:  # the package has thrown its body away
            answer = Answer(refusal.code, {}, b"")
        except vendor.ConnectionError as refusal:
            answer = _answer(refusal.response)
        except http.client.IncompleteRead:
            raise self.broken() from None
        except (vendor.Error, OSError, http.client.HTTPException) as trouble:
            raise ShopApiError("unreachable", self._unreachable(_cause(trouble))) from None
        self.shop_time = _unix(answer.headers.get("date"))
        return answer

    def _unreachable(self, why: str) -> str:
        return f"{self.shop} does not answer ({why}); try again later, and see that this machine may call it"

    # --- what an answer means ---------------------------------------------------------------------------------

    def _refusal(self, answer: Answer) -> ShopApiError:
        shop, words = self.shop, self._words(answer)
        if answer.status == 401:
            return ShopApiError(
                "keys",
                f"{shop} does not accept the key; see that the app is installed in this shop and that [api] holds its "
                "current access_token, or client_id and client_secret",
            )
        if answer.status == 403:
            return self._lacking(words)
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
            return ShopApiError("refused", f"{shop} sends us elsewhere; `shop` must be its present myshopify.com name")
        return ShopApiError("refused", f"{shop} refuses with status {answer.status}: {words or 'no reason given'}")

    def _graphql_fault(self, errors: object) -> ShopApiError:
        """GraphQL's errors come inside a 200: https://shopify.dev/docs/api/admin-graphql#status_and_error_codes"""
        words, codes = self.said(errors), _codes(errors)
        if "SHOP_INACTIVE" in codes:
            return ShopApiError("refused", f"{self.shop} is not active; the shop's owner settles it with Shopify")
        if "INTERNAL_SERVER_ERROR" in codes:
            return ShopApiError("unreachable", self._unreachable("an error on Shopify's side"))
        return self._lacking(words) if "ACCESS_DENIED" in codes else self.refusal(words, "our query")

    def refusal(self, words: str, what: str) -> ShopApiError:
        """The fault behind a "no" in Shopify's words; `what` is what it does not do."""
        if any(sign in words.lower() for sign in ("customer data", "not approved", "permission", "access denied")):
            return self._lacking(words)
        return ShopApiError("refused", f"{self.shop} refuses {what}: {words or 'no reason given'}")

    def withheld(self) -> ShopApiError:
        """The fault of an app that may not see personal data."""
        return ShopApiError(
            "withheld",
            f"{self.shop} withholds personal data from the app; in the Dev Dashboard give it access to protected "
            "customer data, with name, e-mail, phone and address, and release the version (some of Shopify's smaller "
            "plans do not offer it)",
        )

    def _lacking(self, words: str) -> ShopApiError:
        if "customer data" in words.lower() or "not approved" in words.lower():
            return self.withheld()
        return ShopApiError(
            "scopes",
            f"a permission is missing in {self.shop} ({words or 'no reason given'}); give the app the scopes "
            "read_orders and read_customers in the Dev Dashboard, release the version, and approve it in the shop",
        )

    def _no_grant(self, answer: Answer) -> ShopApiError:
        # Shopify explains itself here in JSON or on a page for people, but always with one of these words.
        page = answer.body.decode("utf-8", "replace")
        if "shop_not_permitted" in page:
            remedy = "the app and the shop must belong to the same organisation of the Dev Dashboard"
        elif "app_not_installed" in page:
            remedy = "install the app in this shop"
        else:
            remedy = "copy client_id and client_secret from the app's settings in the Dev Dashboard"
        return ShopApiError("keys", f"{self.shop} grants no token; {remedy}")

    def _words(self, answer: Answer) -> str:
        try:
            reply = msgspec.json.decode(answer.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return ""  # a page for people
        return self.said(reply.get("errors")) if isinstance(reply, dict) else ""


# --- the package --------------------------------------------------------------------------------------------------


class _Still(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the token would go wherever it points."""

    def redirect_request(self, *_args: object, **_kwargs: object) -> None:
        return None


_SILENT = logging.Logger("silent", logging.CRITICAL + 1)  # the package's own would write the token


@contextmanager
def _session(shop: str, base: str, token: str, limit: float) -> Iterator[tuple[Any, dict[str, str]]]:
    """The package's connection to this shop and its headers, while the block runs."""
    resource = shopify.ShopifyResource
    try:
        resource.activate_session(shopify.Session(shop, API_VERSION, token))
        resource.site = f"{base}{ADMIN}"
        resource.timeout = limit
        connection = resource.connection
        connection.log = _SILENT
        opener = urllib.request.build_opener(_Still)
        connection._urlopen = partial(opener.open, timeout=limit)
        yield connection, {name: value for name, value in resource.headers.items() if value}
    finally:
        resource.timeout = None
        resource.clear_session()


def _within(seconds: float, call: Callable[[], Any]) -> Any:
    """What `call` returns or raises; TimeoutError if that takes longer.

    A socket's own limit is one of silence: an answer that trickles in byte by byte would go on for ever.
    """
    done: queue.SimpleQueue[tuple[Any, Exception | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            done.put((call(), None))
        except Exception as error:  # handed over to who waits
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
    """The kind of the innermost exception; its text may name a proxy with its password."""
    while trouble.args and isinstance(trouble.args[0], BaseException):
        trouble = trouble.args[0]
    return type(trouble).__name__


def _seconds(value: object) -> float:
    """A wait Shopify asks for, at least half a second; 2 if it does not say how long."""
    try:
        found = float(str(value))
    except ValueError:
        return 2.0
    return max(found, 0.5) if not math.isnan(found) else 2.0


def _unix(date: str | None) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() if date else None
    except (ValueError, OverflowError):
        return None


def _inside(value: Any, *names: str) -> dict[str, Any]:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _codes(errors: object) -> set[str]:
    rows = errors if isinstance(errors, list) else []
    return {str(_inside(row, "extensions").get("code")) for row in rows}


def _flat(words: object) -> str:
    """The messages of Shopify's several shapes of `errors` as one text."""
    if isinstance(words, dict):
        return str(words["message"]) if "message" in words else "; ".join(f"{k} {_flat(v)}" for k, v in words.items())
    if isinstance(words, list):
        return "; ".join(_flat(word) for word in words)
    return str(words) if words is not None else ""
