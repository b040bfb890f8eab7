"""The likeliest cause of an invalid signature, for the setup checklist.

A signature that fits another secret that this server knows says what is wrong: the webhook goes to the address of
another store, or an app signs it with one of the API's keys. Trying them costs an HMAC each, so it is done for a few
requests only; the others count under the plain cause.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import astuple, replace

from connector.core.platform import Platform
from connector.core.rate_limit import RateLimiter
from connector.core.store import Store
from connector.core.webhook import InvalidSignature, RefusalKind, Request

NO_SIGNATURE = "(no signature)"
WRONG_SECRET = "(wrong secret)"  # noqa: S105 (a cause, not a secret)
OLD_SIGNATURE = "(old signature)"
API_KEY = "(a key of [api])"
OTHER_STORE = "(another store's secret)"
_PLAIN: Mapping[RefusalKind, str] = {"missing": NO_SIGNATURE, "wrong": WRONG_SECRET, "old": OLD_SIGNATURE}
# Diagnoses per store: burst, and rate per second. A flood of forged requests costs no more than that.
BURST, PER_SECOND = 5, 0.1


class RefusalDiagnosis:
    """Finds the likeliest cause of a refusal. `elapsed` returns monotonic seconds."""

    def __init__(
        self,
        stores: Mapping[str, Store],
        platforms: Mapping[str, Platform],
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stores = stores
        self._platforms = platforms
        self._limit = RateLimiter(elapsed, PER_SECOND, BURST)

    def cause(self, refusal: InvalidSignature, request: Request, store: Store) -> str:
        """Return the likeliest cause of a refused request to a store's address."""
        if refusal.kind != "wrong" or not self._limit.allow(store.name):
            return _PLAIN[refusal.kind]
        keys = tuple(filter(None, astuple(store.api))) if store.api else ()
        if keys and self._fits(request, replace(store, webhook_secrets=keys)):
            return API_KEY
        others = {
            secret
            for other in self._stores.values()
            if other.platform == store.platform
            for secret in other.webhook_secrets
        }
        if others and self._fits(request, replace(store, webhook_secrets=tuple(others))):
            return OTHER_STORE
        return WRONG_SECRET

    def of_shared_address(self, request: Request, platform: str) -> str:
        """Return the likeliest cause of a refused request to the address that a platform's stores share."""
        header = getattr(self._platforms[platform].signature, "header", "")
        return WRONG_SECRET if request.headers.get(header.lower()) else NO_SIGNATURE

    def _fits(self, request: Request, store: Store) -> bool:
        try:
            self._platforms[store.platform].receive(request, store)
        except Exception:  # a platform of others may raise anything
            return False
        return True
