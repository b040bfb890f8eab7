"""Answers of a WordPress, and errors from the many answers that hosts, plugins and firewalls send in place of JSON.

Errors are recognised by status and WooCommerce's error code, never by its message, which is translated and can quote
the request. Codes: includes/class-wc-rest-authentication.php and includes/rest-api/ of
https://github.com/woocommerce/woocommerce/tree/trunk/plugins/woocommerce
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import msgspec

from connector.plugin import BrokenWebhook, InvalidPayload, ShopApiError, Skipped, host, json_object, text

KEYS_PAGE = "WooCommerce › Settings › Advanced › REST API"
BAD_KEYS = "woocommerce_rest_authentication_error"
# The codes of bodies that WooCommerce delivers in place of a resource: it builds a payload by an internal request that
# the webhook's owner makes (includes/class-wc-webhook.php).
DELETED = "_invalid_id"  # woocommerce_rest_shop_order_invalid_id, woocommerce_rest_invalid_id (a customer)
NO_ACCESS = "woocommerce_rest_cannot_"
GATEWAYS = frozenset({502, 504, 520, 521, 522, 523, 524, 525, 526, 530})  # from 520 on: Cloudflare's
_CODE = re.compile(r"[A-Za-z0-9_-]{1,80}")
_PHP_MESSAGE = re.compile(rb"\b(?:Warning|Notice|Deprecated|Fatal error|Parse error)(?:</b>)?:")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. `headers` decides whether the case of names matters."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def json(self) -> bytes:
        """The body without the byte order mark that some PHP files print before the JSON."""
        return self.body.lstrip(b"\xef\xbb\xbf \t\r\n")

    @property
    def code(self) -> str:
        """WordPress's error code, or ""."""
        try:
            code = text(json_object(msgspec.json.decode(self.json)).get("code"))
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return ""
        return code if _CODE.fullmatch(code) else ""

    @property
    def total(self) -> int | None:
        """The number of resources that match the query (X-WP-Total); None without the header."""
        total = self.headers.get("X-WP-Total", "")
        return int(total) if re.fullmatch(r"[0-9]{1,12}", total) else None

    @property
    def retry_after(self) -> float | None:
        """Seconds to wait (Retry-After), or None. A date is compared with the answer's, not this machine's clock."""
        value = self.headers.get("Retry-After", "")
        if re.fullmatch(r"[0-9]{1,9}", value):
            return float(value)
        try:
            wait = parsedate_to_datetime(value) - parsedate_to_datetime(self.headers.get("Date", ""))
        except (ValueError, TypeError, OverflowError):
            return None
        return max(wait.total_seconds(), 0.0)


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """The shop's `url`, and True in `signed` if the request used OAuth, False for HTTP Basic."""

    url: str
    signed: bool


def read(answer: Answer, kind: type[Any]) -> Any:
    """Decode the JSON of a successful answer as `kind`. Raises ShopApiError (broken)."""
    try:
        return msgspec.json.decode(answer.json, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError):  # ValidationError is one of the first
        error = _not_json_error(answer)
    raise error  # outside the except block, so that it does not carry the decoder's exception


def error_of(answer: Answer, request: RequestInfo) -> ShopApiError:
    """Return the error for an answer whose status is not 2xx."""
    if 300 <= answer.status < 400:
        return _redirect_error(answer, request)
    if answer.status in (401, 403):
        return _access_error(answer, request)
    if answer.status == 404:
        return _not_found_error(answer)
    if answer.status in (429, 503):
        return ShopApiError(
            "throttled",
            f"the shop is too busy or in maintenance (HTTP {answer.status}) and still was after waiting: "
            "try again later, or raise the host's limits for requests to /wp-json/",
        )
    if answer.status in GATEWAYS:
        return ShopApiError(
            "unreachable",
            f"the shop's host got no answer from WordPress (HTTP {answer.status}): see whether the shop itself opens, "
            "then try again",
        )
    if answer.status >= 500:
        return ShopApiError(
            "broken",
            f"WordPress failed with a PHP error (HTTP {answer.status}): look at WooCommerce › Status › Logs, "
            "fatal-errors, or at the host's PHP error log; mostly a plugin is the cause",
        )
    reason = f"HTTP {answer.status}" + (f", {answer.code}" if answer.code else "")
    return ShopApiError("refused", f"the shop refused the request ({reason}): update WooCommerce, or ask its developer")


def read_delivered_error(code: str, topic: str) -> Skipped:
    """Return the skip for a body that is an error, because its order or customer was deleted before the delivery.

    Raises BrokenWebhook if the webhook's owner has no access, InvalidPayload for any other error.
    """
    if code.endswith(DELETED) and topic.startswith("customer."):
        return Skipped("customer_registered", "the customer was deleted before WooCommerce delivered the webhook")
    if code.endswith(DELETED):
        return Skipped("order_placed", "the order was deleted before WooCommerce delivered the webhook")
    if code.startswith(NO_ACCESS):
        raise BrokenWebhook(
            f"WooCommerce sent an error in place of the body ({code}): the user who owns the webhook was deleted or "
            "lost their rights"
        )
    raise InvalidPayload(f"WooCommerce sent an error in place of the body: {code}")


def _not_json_error(answer: Answer) -> ShopApiError:
    if _PHP_MESSAGE.search(answer.body[:100_000]):
        return ShopApiError(
            "broken",
            "WordPress prints PHP messages into its answers: set WP_DEBUG_DISPLAY to false in wp-config.php, then "
            "fix what they report",
        )
    if answer.json[:1] == b"<":
        return ShopApiError(
            "broken",
            f"the shop answered with a web page instead of JSON (HTTP {answer.status}): let requests to "
            "/wp-json/wc/v3/ through its firewall or bot check, and see that url is WordPress's own address",
        )
    return ShopApiError(
        "broken", f"the shop's answer is not WooCommerce's JSON (HTTP {answer.status}): update WooCommerce"
    )


def _redirect_error(answer: Answer, request: RequestInfo) -> ShopApiError:
    """Return the error for a redirect, which the client does not follow."""
    location = answer.headers.get("Location", "")
    if _only_adds_slash(location, request.url):
        return ShopApiError(
            "refused",
            "the shop redirects its API to the same path with a slash, as WordPress does with plain permalinks, which "
            "WooCommerce's API does not support: choose any Settings › Permalinks but Plain",
        )
    address = _new_address(location, request.url)
    if address:
        return ShopApiError("refused", f'the shop redirects its API to another address: set url = "{address}"')
    return ShopApiError(
        "refused",
        f"the shop redirects its API (HTTP {answer.status}): set url to the address WordPress has under Settings › "
        "General, and switch off redirects of /wp-json/",
    )


def _only_adds_slash(location: str, url: str) -> bool:
    """Return True for a redirect that only adds a slash to `url`: the connector's requests never end in one."""
    try:
        path = urlsplit(urljoin(url, location))._replace(query="", fragment="").geturl()
    except ValueError:
        return False
    return path.startswith(f"{url.rstrip('/')}/wp-json/wc/v3/") and path.endswith("/")


def _new_address(location: str, url: str) -> str:
    """Return the shop's address in a redirect, without the query, which contains the key; "" if it is another host."""
    try:
        parts = urlsplit(location)
        path, api, _ = parts.path.partition("/wp-json/")
        address = f"{parts.scheme}://{parts.netloc}{path}".rstrip("/")
    except ValueError:
        return ""
    is_api = parts.scheme in ("http", "https") and parts.netloc and api and "@" not in parts.netloc
    # Another host (a parked domain, a login page) must not be recommended.
    return address if is_api and address != url.rstrip("/") and host(address) == host(url) else ""


def _access_error(answer: Answer, request: RequestInfo) -> ShopApiError:
    code = answer.code
    if code == BAD_KEYS:
        return ShopApiError("keys", _bad_keys_sentence(request))
    if answer.status == 401 and code.startswith("woocommerce_rest_"):
        return ShopApiError(
            "keys",
            "the shop knows no user with these keys: copy consumer_key and consumer_secret again from "
            f"{KEYS_PAGE}; if they are right, the host drops them on the way to PHP (pass on the Authorization header)",
        )
    if code.startswith("woocommerce_rest_"):
        return ShopApiError(
            "scopes",
            f"the keys' user may not do this ({code}): create the keys for an administrator or shop manager under "
            f"{KEYS_PAGE}",
        )
    if code:
        return ShopApiError(
            "refused",
            f"a plugin blocks the shop's REST API ({code}): make an exception for /wp-json/wc/v3/ in it",
        )
    if answer.status == 401:
        return ShopApiError(
            "refused",
            "the web server itself asks for a password before WordPress does: take the password off /wp-json/",
        )
    return ShopApiError(
        "refused",
        "a security plugin or firewall blocks the REST API (HTTP 403): allow requests to /wp-json/wc/v3/ in it, or "
        "this server's address",
    )


def _bad_keys_sentence(request: RequestInfo) -> str:
    """Return the sentence for BAD_KEYS: an unknown key, a wrong secret or signature, or a missing permission."""
    sentence = (
        "the shop refuses the keys: copy consumer_key (ck_…) and consumer_secret (cs_…) again, or create new ones with "
        f"Read/Write under {KEYS_PAGE}"
    )
    if not request.signed:
        return sentence
    if request.url.lower().startswith("https"):
        return sentence + (
            "; if they are right, the host drops the Authorization header, or a proxy before it ends TLS without "
            "telling PHP (HTTPS=on)"
        )
    return sentence + (
        "; if they are right, url is not exactly the address under Settings › General, or this machine's clock is more "
        "than 15 minutes off"
    )


def _not_found_error(answer: Answer) -> ShopApiError:
    if answer.code == "rest_no_route":
        return ShopApiError(
            "refused",
            "WordPress answers, but WooCommerce's API v3 is missing: activate WooCommerce, and the REST API in the "
            "plugin that switches it off",
        )
    if answer.code:
        return ShopApiError("refused", f"the shop does not have it ({answer.code}): it was deleted meanwhile")
    return ShopApiError(
        "refused",
        "there is no REST API at this url (HTTP 404): choose any Settings › Permalinks but Plain, and see that url is "
        "WordPress's own address with its folder, if it is in one",
    )
