"""One shop's REST API through its vendor's Python package, without that package's surprises.

The package (`woocommerce` 3.0.0) gives up after 5 seconds, never raises on a status, follows redirects, signs lists
wrongly and lets exceptions of requests out, which quote the whole URL. Here every request has an end, is repeated where
that does no harm, and every failure is an AdminFault.
"""

import logging
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from typing import Literal

import requests
import urllib3
import woocommerce
from requests import exceptions

from connector import __version__
from connector.plugin import (
    ShopApiError,
)
from platforms.woocommerce.rest_errors import BAD_KEYS, KEYS_PAGE, Answer, Asked, fault

TIMEOUT = 30  # seconds without a byte; shared hosts think long about 100 orders
ANSWERED_WITHIN = 120  # seconds for a whole answer
MAX_ANSWER = 64 * 1024 * 1024
PATIENCE = 300.0  # seconds of pauses that one request may cost
TRIES = 3  # of a request that fails without the shop asking us to wait

Method = Literal["get", "post", "delete"]


class Shop:
    """The API `/wp-json/wc/v3/` at `url`. Methods raise ShopApiError; its sentences hold neither keys nor answers."""

    def __init__(
        self,
        url: str,
        consumer_key: str,
        consumer_secret: str,
        pause: Callable[[float], object],
        elapsed: Callable[[], float] = time.monotonic,
        timeout: float = TIMEOUT,
    ) -> None:
        # urllib3 logs whole URLs (all at DEBUG, odd headers as warnings), and the package puts the key in them.
        logging.getLogger("urllib3").setLevel(logging.CRITICAL + 1)
        self.url = url.rstrip("/")
        self.secure = self.url.lower().startswith("https:")
        self.answered: Answer | None = None  # the latest, good or bad: its Date tells the shop's clock
        self._pause, self._elapsed = pause, elapsed
        self._api = woocommerce.API(
            self.url,
            consumer_key,
            consumer_secret,
            version="wc/v3",
            timeout=timeout,
            user_agent=f"tiktok-shop-connector/{__version__}",
        )
        self._api.is_ssl = self.secure  # the package does not know HTTPS:// in capitals

    @property
    def signs(self) -> bool:
        """Whether requests are signed (OAuth 1.0a) instead of carrying the keys by HTTP Basic."""
        return not self._api.is_ssl

    def get(self, endpoint: str, **params: str) -> Answer:
        """A good answer to GET."""
        return self.ask("get", endpoint, None, params)

    def ask(
        self,
        method: Method,
        endpoint: str,
        data: object,
        params: Mapping[str, str],
        allowing: Collection[str] = (),
    ) -> Answer:
        """A good answer, or one with an error code among `allowing`. A POST is repeated only if it was turned away."""
        waited, failures = 0.0, 0
        while True:
            answer = self._send(method, endpoint, data, params)
            if isinstance(answer, Answer):
                if answer.status < 300 or answer.code in allowing:
                    return answer
                if self._was_not_heard(answer):
                    self._api.is_ssl = False
                    continue
            failed = self._fault(method, answer) if isinstance(answer, Answer) else answer
            failures += 1
            wait = self._wait(method, answer, failures)
            if wait is None or waited + wait > PATIENCE:
                raise failed
            self._pause(wait)
            waited += wait

    def _was_not_heard(self, answer: Answer) -> bool:
        """Whether WooCommerce saw no keys at all, although they were sent by HTTP Basic.

        Hosts drop the Authorization header before PHP. WooCommerce then takes a signature in the URL, over https too,
        which does without the secret in the URL that `query_string_auth` would write into the host's logs.
        """
        unknown = answer.status == 401 and answer.code.startswith("woocommerce_rest_cannot")
        return unknown and not self.signs

    def _wait(self, method: Method, answer: Answer | ShopApiError, failures: int) -> float | None:
        """Seconds until the request may be sent again, or None if it should not be."""
        if isinstance(answer, Answer) and answer.status in (429, 503):  # turned away, not begun
            asked = answer.retry_after
            return min(5.0 * 2**failures, 60.0) if asked is None else max(asked, float(failures))
        passing = answer.kind == "unreachable" if isinstance(answer, ShopApiError) else answer.status >= 500
        return 2.0**failures if passing and method != "post" and failures < TRIES else None

    def _fault(self, method: Method, answer: Answer) -> ShopApiError:
        if method != "get" and answer.status == 401 and answer.code == BAD_KEYS:
            self.get("webhooks", per_page="1")  # raises if it is the keys themselves
            return ShopApiError(
                "scopes",
                f"the keys may only read: give them the permission Read/Write under {KEYS_PAGE}",
            )
        return fault(answer, Asked(self.url, self.signs))

    def _send(self, method: Method, endpoint: str, data: object, params: Mapping[str, str]) -> Answer | ShopApiError:
        """The answer, or why there is none: a value, so that it is raised apart from requests' own exception."""
        # Never following: it would drop the keys or send them elsewhere, and makes a GET of a POST.
        how = {"params": params, "allow_redirects": False, "stream": True}
        given = () if method != "post" else (data,)
        try:
            with closing(getattr(self._api, method)(endpoint, *given, **how)) as response:
                body = self._body(response)
                if isinstance(body, ShopApiError):
                    return body
                self.answered = Answer(response.status_code, response.headers, body)
                return self.answered
        except exceptions.SSLError:
            return ShopApiError(
                "refused",
                "no secure connection to the shop: renew its certificate, with the whole chain, for exactly this host",
            )
        except (exceptions.Timeout, urllib3.exceptions.TimeoutError):
            return ShopApiError(
                "unreachable",
                f"the shop did not answer within {self._api.timeout} seconds: try again when it is less busy"
                + _after(method),
            )
        except (exceptions.InvalidURL, exceptions.InvalidSchema, exceptions.InvalidHeader, UnicodeError):
            return ShopApiError("refused", "no request can be made of url and keys: they hold characters that none may")
        except (exceptions.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError):
            return ShopApiError(
                "unreachable",
                "the shop cannot be reached: see whether url opens in a browser and its host name is right"
                + _after(method),
            )

    def _body(self, response: requests.Response) -> bytes | ShopApiError:
        begun, body = self._elapsed(), bytearray()
        while chunk := response.raw.read1(65536, decode_content=True):  # iter_content waits until so much is there
            body += chunk
            if self._elapsed() - begun > ANSWERED_WITHIN:
                return ShopApiError(
                    "unreachable", f"the shop's answer was not complete in {ANSWERED_WITHIN} seconds: try again later"
                )
            if len(body) > MAX_ANSWER:
                return ShopApiError("broken", "the shop's answer has no end: ask its developer what /wp-json/ sends")
        return bytes(body)


def _after(method: Method) -> str:
    return "" if method == "get" else "; look first whether what was asked was done all the same"
