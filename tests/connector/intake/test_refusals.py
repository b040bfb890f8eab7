"""The likeliest cause of a refused signature: told by the secrets that this server knows, and at a bounded cost."""

from datetime import UTC, datetime

import pytest

from connector.core.store import ApiKeys
from connector.core.webhook import InvalidSignature, Request
from connector.intake.refusals import (
    API_KEY,
    BURST,
    NO_SIGNATURE,
    OLD_SIGNATURE,
    OTHER_STORE,
    WRONG_SECRET,
    RefusalDiagnosis,
)
from tests.support.factories import a_store
from tests.support.platforms import PLATFORMS
from tests.support.rows import each_row

OWN, OTHERS, KEY = "secret-of-this-store", "secret-of-the-other", "client-secret-0123456789"
NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)


class Bench:
    """Two stores of one platform, and a clock."""

    def __init__(self, platform: str) -> None:
        self.store = a_store(platform, "acme", webhook_secrets=(OWN,), api=ApiKeys(client_secret=KEY))
        other = a_store(platform, "other", webhook_secrets=(OTHERS,))
        self.now, self.platform = 0.0, PLATFORMS[platform]
        stores = {"acme": self.store, "other": other}
        self.diagnosis = RefusalDiagnosis(stores, PLATFORMS, lambda: self.now)

    def cause(self, secret: str, at: datetime = NOW) -> str:
        """The cause of a request that is signed with this secret; "" is none."""
        body = b'{"id": 1}'
        signed = self.platform.signed_headers(body, secret, at) if secret else {}
        request = Request({name.lower(): value for name, value in signed.items()}, body, NOW)
        with pytest.raises(InvalidSignature) as refusal:
            self.platform.receive(request, self.store)
        return self.diagnosis.cause(refusal.value, request, self.store)


@each_row("platform", ["shopify", "woocommerce", "saleor", "shopline", "signed"])
def test_the_cause_on_every_platform(platform: str) -> None:
    bench = Bench(platform)
    if platform != "woocommerce":  # whose unsigned bodies can be pings
        assert bench.cause("") == NO_SIGNATURE
    assert bench.cause(KEY) == API_KEY
    assert bench.cause(OTHERS) == OTHER_STORE
    assert bench.cause("nobody-knows-this-one") == WRONG_SECRET


def test_an_old_signature() -> None:
    """It fits, but its time does not."""
    assert Bench("signed").cause(OWN, NOW.replace(hour=9)) == OLD_SIGNATURE


def test_a_flood_is_not_diagnosed() -> None:
    """After a few the plain cause is counted; later there are more."""
    bench = Bench("shopify")
    assert [bench.cause(OTHERS) for _ in range(BURST + 2)] == [OTHER_STORE] * BURST + [WRONG_SECRET] * 2
    bench.now += 60
    assert bench.cause(OTHERS) == OTHER_STORE


def test_a_platform_that_raises_is_no_error() -> None:
    """A package of others may do anything."""
    bench = Bench("shopify")
    broken = type("Broken", (), {"receive": lambda self, request, store: 1 / 0})()
    bench.diagnosis = RefusalDiagnosis({"acme": bench.store}, {"shopify": broken})  # type: ignore[dict-item]
    assert bench.diagnosis.cause(InvalidSignature("no"), Request({}, b"", NOW), bench.store) == WRONG_SECRET
