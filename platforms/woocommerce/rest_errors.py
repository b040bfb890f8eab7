"""What a WordPress answered: JSON, or one of the many other things that hosts, plugins and firewalls say instead.

Judged by statuses and WooCommerce's error codes, never by its messages: they are translated and may quote what was
sent. Codes: includes/class-wc-rest-authentication.php and includes/rest-api/ of
https://github.com/woocommerce/woocommerce/tree/trunk/plugins/woocommerce
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec

from connector.plugin import (
    ShopApiError,
    host,
    json_object,
    text,
)

KEYS_PAGE = "WooCommerce › Settings › Advanced › REST API"
BAD_KEYS = "woocommerce_rest_authentication_error"
GATEWAYS = frozenset({502, 504, 520, 521, 522, 523, 524, 525, 526, 530})  # the last ones are Cloudflare's
_CODE = re.compile(r"[A-Za-z0-9_-]{1,80}")
_PHP_MESSAGE = re.compile(rb"\b(?:Warning|Notice|Deprecated|Fatal error|Parse error)(?:</b>)?:")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. Header names are looked up without regard to case if `headers` does so."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def json(self) -> bytes:
        """The body from its JSON on: a plugin's file saved with a byte order mark prints that first."""
        return self.body.lstrip(b"\xef\xbb\xbf \t\r\n")

    @property
    def code(self) -> str:
        """WordPress's own word for an error, or ""."""
        try:
            found = text(json_object(msgspec.json.decode(self.json)).get("code"))
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return ""
        return found if _CODE.fullmatch(found) else ""

    @property
    def total(self) -> int | None:
        """How many resources the query found (X-WP-Total), if the header came through."""
        told = self.headers.get("X-WP-Total", "")
        return int(told) if re.fullmatch(r"[0-9]{1,12}", told) else None

    @property
    def retry_after(self) -> float | None:
        """Seconds to wait, as asked. A date is measured against the answer's own, not against our clock."""
        asked = self.headers.get("Retry-After", "")
        if re.fullmatch(r"[0-9]{1,9}", asked):
            return float(asked)
        try:
            wait = parsedate_to_datetime(asked) - parsedate_to_datetime(self.headers.get("Date", ""))
        except (ValueError, TypeError, OverflowError):
            return None
        return max(wait.total_seconds(), 0.0)


@dataclass(frozen=True, slots=True)
class Asked:
    """How it was asked: at which `url` of a shop, and whether `signed` by OAuth instead of HTTP Basic."""

    url: str
    signed: bool


def read(answer: Answer, kind: type[Any]) -> Any:
    """The JSON of a good answer as `kind`, or AdminFault "broken"."""
    fault = None
    try:
        return msgspec.json.decode(answer.json, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError):  # ValidationError is one of the first
        fault = _not_json(answer)
    raise fault


def fault(answer: Answer, asked: Asked) -> ShopApiError:
    """What is wrong, of an answer whose status is not 2xx."""
    if 300 <= answer.status < 400:
        return _redirect(answer, asked)
    if answer.status in (401, 403):
        return _refused_entry(answer, asked)
    if answer.status == 404:
        return _not_there(answer)
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
    told = f"HTTP {answer.status}" + (f", {answer.code}" if answer.code else "")
    return ShopApiError("refused", f"the shop refused the request ({told}): update WooCommerce, or ask its developer")


def _not_json(answer: Answer) -> ShopApiError:
    if _PHP_MESSAGE.search(answer.body[:100_000]):
        return ShopApiError(
            "broken",
            "WordPress prints PHP messages into its answers: set WP_DEBUG_DISPLAY to false in wp-config.php, then "
            "repair what they complain about",
        )
    if answer.json[:1] == b"<":
        return ShopApiError(
            "broken",
            f"the shop answered with a web page instead of JSON (HTTP {answer.status}): let requests to "
            "/wp-json/wc/v3/ through its firewall or bot check, and see that url is WordPress's own address",
        )
    return ShopApiError(
        "broken", f"the shop's answer is no JSON of WooCommerce's (HTTP {answer.status}): update WooCommerce"
    )


def _redirect(answer: Answer, asked: Asked) -> ShopApiError:
    """requests would follow, but without the keys on another host, and turn POST into GET."""
    instead = _instead(answer.headers.get("Location", ""), asked.url)
    if instead:
        return ShopApiError("refused", f'the shop redirects its API to another address: set url = "{instead}"')
    return ShopApiError(
        "refused",
        f"the shop redirects its API (HTTP {answer.status}): set url to the address WordPress has under Settings › "
        "General, and switch off redirects of /wp-json/",
    )


def _instead(location: str, url: str) -> str:
    """The address whose API the redirect leads to, without any query (it holds our key), or ""."""
    try:
        parts = urlsplit(location)
        path, api, _ = parts.path.partition("/wp-json/")
        found = f"{parts.scheme}://{parts.netloc}{path}".rstrip("/")
    except ValueError:
        return ""
    wanted = parts.scheme in ("http", "https") and parts.netloc and api and "@" not in parts.netloc
    # Somewhere else entirely (a parked domain, a login page) is nothing to recommend.
    return found if wanted and found != url.rstrip("/") and host(found) == host(url) else ""


def _refused_entry(answer: Answer, asked: Asked) -> ShopApiError:
    code = answer.code
    if code == BAD_KEYS:
        return ShopApiError("keys", _bad_keys(asked))
    if answer.status == 401 and code.startswith("woocommerce_rest_"):
        return ShopApiError(
            "keys",
            "the shop knows nobody by these keys: copy consumer_key and consumer_secret again from "
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
            f"a plugin closes the shop's REST API to others ({code}): make an exception for /wp-json/wc/v3/ in it",
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


def _bad_keys(asked: Asked) -> str:
    """One code for an unknown key, a wrong secret, a wrong signature and a missing permission."""
    told = (
        "the shop refuses the keys: copy consumer_key (ck_…) and consumer_secret (cs_…) again, or create new ones with "
        f"Read/Write under {KEYS_PAGE}"
    )
    if not asked.signed:
        return told
    if asked.url.lower().startswith("https"):
        return told + (
            "; if they are right, the host drops the Authorization header, or a proxy before it ends TLS without "
            "telling PHP (HTTPS=on)"
        )
    return told + (
        "; if they are right, url is not exactly the address under Settings › General, or this machine's clock is more "
        "than 15 minutes off"
    )


def _not_there(answer: Answer) -> ShopApiError:
    if answer.code == "rest_no_route":
        return ShopApiError(
            "refused",
            "WordPress answers, but WooCommerce's API v3 is not there: activate WooCommerce, and the REST API in the "
            "plugin that switches it off",
        )
    if answer.code:
        return ShopApiError("refused", f"the shop does not have it ({answer.code}): it was deleted meanwhile")
    return ShopApiError(
        "refused",
        "there is no REST API at this url (HTTP 404): choose any Settings › Permalinks but Plain, and see that url is "
        "WordPress's own address with its folder, if it is in one",
    )
