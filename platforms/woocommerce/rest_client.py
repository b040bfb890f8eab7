"""A client for one shop's REST API over WooCommerce's Python package, without that package's flaws.

The package (`woocommerce` 3.0.0) gives up after 5 seconds, never raises on a status, follows redirects, signs lists
wrongly, and raises exceptions of requests that quote the whole URL. Here every request has a time limit and is retried
where that is safe, and every failure is a ShopApiError.
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
from connector.plugin import ShopApiError
from platforms.woocommerce.rest_errors import BAD_KEYS, KEYS_PAGE, Answer, RequestInfo, error_of

TIMEOUT = 30  # seconds without a byte; shared hosts need long for 100 orders
ANSWERED_WITHIN = 120  # seconds for a whole answer
MAX_ANSWER = 64 * 1024 * 1024
MAX_WAIT = 300.0  # seconds of pauses between the attempts of one request, in total
MAX_ATTEMPTS = 3  # of a request that fails while the shop does not ask the client to wait

Method = Literal["get", "post", "delete"]


class RestClient:
    """The API `/wp-json/wc/v3/` at `url`. Methods raise ShopApiError, without keys or answers in its text."""

    def __init__(
        self,
        url: str,
        consumer_key: str,
        consumer_secret: str,
        pause: Callable[[float], object],
        elapsed: Callable[[], float] = time.monotonic,
        timeout: float = TIMEOUT,
    ) -> None:
        # urllib3 logs whole URLs (at DEBUG, and in warnings about odd headers), and the package puts the key in them.
        logging.getLogger("urllib3").setLevel(logging.CRITICAL + 1)
        self.url = url.rstrip("/")
        self.secure = self.url.lower().startswith("https:")
        self.answered: Answer | None = None  # the latest one, even an error; its Date is the shop's clock
        self._pause, self._elapsed = pause, elapsed
        self._api = woocommerce.API(
            self.url,
            consumer_key,
            consumer_secret,
            version="wc/v3",
            timeout=timeout,
            user_agent=f"tiktok-shop-connector/{__version__}",
        )
        self._api.is_ssl = self.secure  # the package does not recognise HTTPS:// in capitals

    @property
    def signs(self) -> bool:
        """True if requests are signed (OAuth 1.0a), False if they carry the keys by HTTP Basic."""
        return not self._api.is_ssl

    def get(self, endpoint: str, **params: str) -> Answer:
        """Send a GET and return a successful answer."""
        return self.ask("get", endpoint, None, params)

    def ask(
        self,
        method: Method,
        endpoint: str,
        data: object,
        params: Mapping[str, str],
        allowing: Collection[str] = (),
    ) -> Answer:
        """Send a request and return a successful answer, or one with an error code in `allowing`.

        A POST is repeated only if the shop rejected it before processing.
        """
        waited, failures = 0.0, 0
        while True:
            answer = self._send(method, endpoint, data, params)
            if isinstance(answer, Answer):
                if answer.status < 300 or answer.code in allowing:
                    return answer
                if self._lost_keys(answer):
                    self._api.is_ssl = False
                    continue
            failed = self._error(method, answer) if isinstance(answer, Answer) else answer
            failures += 1
            wait = self._wait(method, answer, failures)
            if wait is None or waited + wait > MAX_WAIT:
                raise failed
            self._pause(wait)
            waited += wait

    def _lost_keys(self, answer: Answer) -> bool:
        """Return True if WooCommerce received no keys although they were sent by HTTP Basic.

        Some hosts drop the Authorization header before PHP. WooCommerce then accepts a signature in the URL, also over
        https; the package's `query_string_auth` would write the secret into the host's logs instead.
        """
        unknown = answer.status == 401 and answer.code.startswith("woocommerce_rest_cannot")
        return unknown and not self.signs

    def _wait(self, method: Method, answer: Answer | ShopApiError, failures: int) -> float | None:
        """Return the seconds until the next attempt, or None if there is none."""
        if isinstance(answer, Answer) and answer.status in (429, 503):  # rejected before processing
            asked = answer.retry_after
            return min(5.0 * 2**failures, 60.0) if asked is None else max(asked, float(failures))
        temporary = answer.kind == "unreachable" if isinstance(answer, ShopApiError) else answer.status >= 500
        return 2.0**failures if temporary and method != "post" and failures < MAX_ATTEMPTS else None

    def _error(self, method: Method, answer: Answer) -> ShopApiError:
        if method != "get" and answer.status == 401 and answer.code == BAD_KEYS:
            self.get("webhooks", per_page="1")  # raises if the keys themselves are wrong
            return ShopApiError(
                "scopes",
                f"the keys may only read: give them the permission Read/Write under {KEYS_PAGE}",
            )
        return error_of(answer, RequestInfo(self.url, self.signs))

    def _send(self, method: Method, endpoint: str, data: object, params: Mapping[str, str]) -> Answer | ShopApiError:
        """Return the answer or the error; raised here, the error would carry the exception of requests with it."""
        # Redirects drop the keys or send them to another host, and turn a POST into a GET.
        options = {"params": params, "allow_redirects": False, "stream": True}
        arguments = () if method != "post" else (data,)
        try:
            with closing(getattr(self._api, method)(endpoint, *arguments, **options)) as response:
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
                + _maybe_done(method),
            )
        except (exceptions.InvalidURL, exceptions.InvalidSchema, exceptions.InvalidHeader, UnicodeError):
            return ShopApiError(
                "refused", "url or keys contain characters that are not allowed in a request: copy them again"
            )
        except (exceptions.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError):
            return ShopApiError(
                "unreachable",
                "the shop cannot be reached: see whether url opens in a browser and its host name is right"
                + _maybe_done(method),
            )

    def _body(self, response: requests.Response) -> bytes | ShopApiError:
        started, body = self._elapsed(), bytearray()
        while chunk := response.raw.read1(65536, decode_content=True):  # iter_content waits for whole chunks
            body += chunk
            if self._elapsed() - started > ANSWERED_WITHIN:
                return ShopApiError(
                    "unreachable", f"the shop's answer was not complete in {ANSWERED_WITHIN} seconds: try again later"
                )
            if len(body) > MAX_ANSWER:
                return ShopApiError("broken", "the shop's answer is too large: ask its developer what /wp-json/ sends")
        return bytes(body)


def _maybe_done(method: Method) -> str:
    return "" if method == "get" else "; check first whether the shop carried out the request all the same"
