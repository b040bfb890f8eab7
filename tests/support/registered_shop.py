"""A fake shop of either platform, and the registration of its webhooks."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from connector.core.shop_api import ShopApi
from connector.core.store import ApiKeys, Store
from connector.sync.registration import apply_plan, prepare
from platforms.shopify import shop_api as shopify_admin
from platforms.woocommerce import shop_api as woocommerce_admin
from tests.support.factories import a_store
from tests.support.fakes.shopify import FakeShopify
from tests.support.fakes.woocommerce import FakeWooCommerce
from tests.support.platforms import with_shop_api

BASE = "http://127.0.0.1:9"  # nobody there
ELSEWHERE = "http://127.0.0.1:19"
SECRET = "whsec_example_0123456789"
FOREIGN = "http://127.0.0.1:9/hooks/of-another"
STORE = a_store(webhook_secrets=(SECRET, "an-older-secret"))
TOPICS = {
    "shopify": shopify_admin.topics(STORE),
    "woocommerce": woocommerce_admin.topics(STORE),
}


@dataclass
class Loopback:
    """A platform's side of it whose shop is a fake, and which delivers to loopback."""

    SETS_SECRET: bool
    topics: Callable[[Store], tuple[str, ...]]
    connect: Callable[[Store], ShopApi]

    def why_not_url(self, url: str) -> str:
        return ""


class Shop:
    """A fake shop of either platform, and the commands over it."""

    def __init__(self, fake: FakeShopify | FakeWooCommerce) -> None:
        self.fake = fake
        if isinstance(fake, FakeShopify):
            self.store = replace(STORE, api=ApiKeys(access_token=fake.access_token))
            self.module = Loopback(
                False,
                shopify_admin.topics,
                lambda store, pause=None: shopify_admin.connect(store, lambda _: None, fake.url),
            )
        else:
            keys = ApiKeys(consumer_key=fake.key, consumer_secret=fake.secret)
            self.store = replace(STORE, platform="woocommerce", url=fake.url, api=keys)
            self.module = Loopback(
                True,
                woocommerce_admin.topics,
                lambda store, pause=None: woocommerce_admin.connect(store, lambda _: None),
            )
        self.platform = with_shop_api(self.store.platform, self.module)
        self.topics = TOPICS[self.store.platform]

    def do(self, action, base=BASE):
        """Carry it out; what was done, as pairs of topic and deed."""
        admin, found = prepare(self.store, self.platform, base, action)
        lines = apply_plan(found.lines, admin, self.store.webhook_secrets[0])
        return [(line.topic, line.change) for line in lines if line.change]

    def states(self, base=BASE):
        _, found = prepare(self.store, self.platform, base, "list")
        return sorted((line.topic, line.state) for line in found.lines)

    def put(self, topic, url):
        self.module.connect(self.store).subscribe(topic, url, SECRET)

    def there(self):
        return sorted((one.topic, one.url) for one in self.module.connect(self.store).subscriptions())

    def wanted(self, base=BASE):
        return sorted((topic, f"{base}/webhooks/acme") for topic in self.topics)
