"""sync.registration: webhooks of real admins, through the vendors' packages, in fake shops on loopback sockets."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from connector.cli.main import main
from connector.core.shop_api import ShopApi, ShopApiError, Subscription
from connector.core.store import ApiKeys, EventIdTemplates, Pixel, Store
from connector.storage.database import Database
from connector.storage.engine import connect, migrate
from connector.sync.registered_webhooks import RegisteredWebhooks
from connector.sync.registration import CannotRegister, apply_plan, plan, prepare
from platforms.shopify import shop_api as shopify_admin
from platforms.woocommerce import shop_api as woocommerce_admin
from tests.support.fakes.shopify import FakeShopify
from tests.support.fakes.woocommerce import FakeWooCommerce
from tests.support.platforms import PLATFORMS, with_shop_api

BASE = "http://127.0.0.1:9"  # nobody there
ELSEWHERE = "http://127.0.0.1:19"
SECRET = "whsec_example_0123456789"
FOREIGN = "http://127.0.0.1:9/hooks/of-another"
STORE = Store(
    name="acme",
    platform="shopify",
    url="https://acme.example",
    shops=("acme.myshopify.com",),
    webhook_secrets=(SECRET, "an-older-secret"),
    pixels=(Pixel("CABCDEFGHIJKLMNOPQR0", "token"),),
    consent="not_required",
    event_id=EventIdTemplates("{order_id}", "{checkout_token}", "{customer_id}"),
)
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


@pytest.fixture
def woocommerce():
    with FakeWooCommerce() as fake:
        yield Shop(fake)


@pytest.fixture
def shopify():
    with FakeShopify() as fake:
        yield Shop(fake)


@pytest.fixture(params=["shopify", "woocommerce"])
def shop(request):
    return request.getfixturevalue(request.param)


def test_register_makes_what_the_events_need_and_nothing_the_second_time(shop):
    assert shop.do("register") == [(topic, "created") for topic in shop.topics]
    assert shop.there() == shop.wanted()
    assert shop.do("register") == shop.do("sync") == []
    assert shop.states() == sorted((topic, "in place") for topic in shop.topics)


def test_a_milestone_without_an_event_needs_no_topic(shop):
    shop.store = replace(shop.store, events={**dict.fromkeys(shop.store.events, ()), "order_paid": ("Purchase",)})
    shop.topics = shop.module.topics(shop.store)
    shop.do("register")
    assert shop.there() == shop.wanted()


def test_list_changes_nothing(shop):
    shop.put(shop.topics[0], f"{ELSEWHERE}/webhooks/acme")
    before = shop.there()
    assert shop.do("list") == []
    assert shop.there() == before
    assert (shop.topics[0], "missing") in shop.states()


def test_register_only_adds_and_sync_also_removes(shop):
    """Another host's webhooks may be another server's of ours: only `sync` takes them away."""
    shop.put(shop.topics[0], f"{ELSEWHERE}/webhooks/acme")
    shop.do("register")
    assert shop.there() == sorted([*shop.wanted(), (shop.topics[0], f"{ELSEWHERE}/webhooks/acme")])
    assert shop.do("sync") == [(shop.topics[0], "deleted")]
    assert shop.there() == shop.wanted()


def test_a_topic_that_is_not_needed_any_more_goes_with_sync(shop):
    shop.do("register")
    shop.store = replace(shop.store, events={**shop.store.events, "customer_registered": ("",)})
    assert shop.do("register") == []
    gone = shop.do("sync")
    assert gone
    assert all(topic.startswith("customer") and deed == "deleted" for topic, deed in gone)
    assert not any(topic.startswith("customer") for topic, _ in shop.there())


@pytest.mark.parametrize("action", ["register", "sync", "delete"])
def test_foreign_webhooks_are_left_alone(shop, action):
    theirs = [(shop.topics[0], FOREIGN), (shop.topics[1], f"{ELSEWHERE}/webhooks/another-store")]
    theirs.append((shop.topics[0], f"{ELSEWHERE}/webhooks/shopify"))
    for topic, url in theirs:
        shop.put(topic, url)
    shop.do(action)
    assert set(theirs) <= set(shop.there())
    assert prepare(shop.store, shop.platform, BASE, "list")[1].others == 3


def test_delete_removes_all_of_ours(shop):
    shop.do("register")
    shop.put(shop.topics[0], f"{ELSEWHERE}/webhooks/acme")
    shop.do("delete", base="")
    assert shop.there() == []
    assert shop.do("delete") == []


def test_what_was_removed_by_the_shop_is_made_again(shopify):
    shopify.do("register")
    shopify.fake.subscriptions.pop()
    assert [deed for _, deed in shopify.do("register")] == ["created"]
    assert shopify.there() == shopify.wanted()


def test_a_shared_address_of_an_app_in_several_shops_counts(shopify):
    """`/webhooks/shopify` on this server serves the store too; beside its own address it is a double."""
    shopify.put("orders/paid", f"{BASE}/webhooks/shopify")
    assert ("orders/paid", "created") not in shopify.do("register")
    assert shopify.states() == sorted((topic, "in place") for topic in shopify.topics)
    shopify.put("orders/paid", f"{BASE}/webhooks/acme")
    assert shopify.do("register") == [("orders/paid", "deleted")]
    assert ("orders/paid", f"{BASE}/webhooks/acme") in shopify.there()


def test_a_webhook_that_was_switched_off_is_replaced(woocommerce):
    woocommerce.do("register")
    woocommerce.fake.webhooks[1].status = "disabled"
    topic = woocommerce.fake.webhooks[1].topic
    assert (topic, "switched off") in woocommerce.states()
    assert woocommerce.do("register") == [(topic, "created"), (topic, "deleted")]
    assert woocommerce.there() == woocommerce.wanted()
    assert {each.status for each in woocommerce.fake.webhooks.values()} == {"active"}


def test_doubles_are_removed(woocommerce):
    woocommerce.do("register")
    woocommerce.put("order.created", f"{BASE}/webhooks/acme")
    assert woocommerce.do("register") == [("order.created", "deleted")]
    assert woocommerce.there() == woocommerce.wanted()


def test_woocommerce_signs_with_the_first_secret(woocommerce):
    woocommerce.do("register")
    assert {each.secret for each in woocommerce.fake.webhooks.values()} == {SECRET}


def test_a_fault_in_the_middle_leaves_what_was_done_and_the_next_run_completes_it(woocommerce):
    admin, found = prepare(woocommerce.store, woocommerce.platform, BASE, "register")
    doing = apply_plan(found.lines, admin, SECRET)
    next(doing)
    woocommerce.fake.permissions = "read"
    with pytest.raises(ShopApiError):
        next(doing)
    assert len(woocommerce.there()) == 1
    woocommerce.fake.permissions = "read_write"
    woocommerce.do("register")
    assert woocommerce.there() == woocommerce.wanted()


def test_signatures_that_would_be_refused_here_are_told_before_anything_is_made(shopify):
    """What an app registers is signed with its client secret; unless the store knows it, all would be answered 401."""
    keys = ApiKeys(client_id=shopify.fake.client_id, client_secret=shopify.fake.secret)
    shopify.store = replace(shopify.store, api=keys)
    with pytest.raises(CannotRegister, match="add the client secret to webhook_secrets"):
        shopify.do("register")
    assert shopify.fake.requests == []
    shopify.store = replace(shopify.store, webhook_secrets=(shopify.fake.secret,))
    shopify.do("register")
    assert shopify.there() == shopify.wanted()


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("action", ["register", "sync"])
def test_a_url_that_the_shop_does_not_call_is_refused_before_it_is_asked(platform, action):
    """Without showing a password that may be in it."""
    store = replace(
        STORE, platform=platform, api=ApiKeys(access_token="t", consumer_key="ck_t", consumer_secret="cs_t")
    )
    with pytest.raises(CannotRegister, match="webhooks cannot go to ") as caught:
        prepare(store, PLATFORMS[platform], "https://me:hush@connector.example", action)
    assert "hush" not in str(caught.value)


URLS = st.sampled_from(
    [
        *("https://a.example/webhooks/acme", "https://A.example:443/webhooks/acme", "https://b.example/webhooks/acme"),
        *("https://a.example/webhooks/shopify", "https://b.example/webhooks/shopify", "https://a.example/else"),
        *("https://[::1/webhooks/acme", "arn:aws:events:us-east-1::event-source/acme", ""),
    ]
) | st.text(max_size=20)
SUBSCRIPTIONS = st.lists(st.tuples(st.sampled_from([*TOPICS["shopify"], "x/y"]), URLS, st.booleans()), max_size=12)


@given(SUBSCRIPTIONS)
def test_whatever_is_there_a_sync_leads_to_each_topic_once_and_then_rests(found):
    """And it deletes only what ends in our name or the shared one."""
    topics = TOPICS["shopify"]
    there = [Subscription(str(number), *one) for number, one in enumerate(found)]
    lines = plan(STORE, topics, there, "https://a.example/", "sync").lines
    gone = {line.subscription.id for line in lines if line.change == "deleted" and line.subscription}
    assert all(one.url.endswith(("/webhooks/acme", "/webhooks/shopify")) for one in there if one.id in gone)
    made = [Subscription(f"new {line.topic}", line.topic, line.url) for line in lines if line.change == "created"]
    after = plan(STORE, topics, [*made, *(one for one in there if one.id not in gone)], "https://a.example", "sync")
    assert sorted((line.topic, line.state, line.change) for line in after.lines) == [
        (topic, "in place", "") for topic in sorted(topics)
    ]


# --- the commands


TOML = """
[stores.acme]
platform = "shopify"
url = "https://acme.example"
shop = "acme.myshopify.com"
webhook_secrets = ["${SECRET}"]
pixel = "CABCDEFGHIJKLMNOPQR0"
access_token = "${TOKEN}"
consent = "not_required"
[stores.beans]
platform = "woocommerce"
url = "BEANS"
shop = "https://beans.example"
webhook_secrets = ["${SECRET}"]
pixel = "CABCDEFGHIJKLMNOPQR1"
access_token = "${TOKEN}"
consent = "not_required"
api = { consumer_key = "${KEY}", consumer_secret = "${KEY_SECRET}" }
"""


def run(*arguments, fake=None, **environ):
    toml = TOML.replace("BEANS", fake.url if fake else "http://127.0.0.1:9")
    keys = {"KEY": fake.key, "KEY_SECRET": fake.secret} if fake else {"KEY": "ck_no", "KEY_SECRET": "cs_no"}
    environ = {"STORES_TOML": toml, "SECRET": SECRET, "TOKEN": "shh-token", "PUBLIC_URL": "", **keys, **environ}
    result = CliRunner(env=environ).invoke(main, ["webhooks", *arguments])
    return result.exit_code, result.output


def test_a_store_without_keys_is_told_what_to_do():
    status, told = run("register", "acme", "--base-url", "https://connector.example")
    assert status == 1
    assert told.count("\n") == 1
    assert "has no [api]" in told
    assert "or create the webhooks by hand" in told


def test_a_refused_address_changes_nothing(woocommerce):
    status, told = run("register", "beans", fake=woocommerce.fake, PUBLIC_URL="http://127.0.0.1:8000")
    assert status == 1
    assert "webhooks cannot go to http://127.0.0.1:8000: WordPress calls no private" in told
    assert woocommerce.fake.requests == []


@pytest.mark.parametrize("action", ["list", "register", "sync"])
def test_keys_that_are_missing_are_told_before_an_address_that_is(action):
    """Whoever gives an address must not learn only then that the store has no keys."""
    status, told = run(action, "acme")
    assert (status, told.count("\n"), "has no [api]" in told) == (1, 1, True)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("https://127.0.0.1", "WordPress calls no private or unusual IP address"),
        ("https://10.1.2.3:8080", "WordPress calls no private or unusual IP address"),
        ("https://localhost", "the shop cannot find localhost"),
        ("https://box.local", "the shop cannot find box.local"),
        ("https://relay.example:8443", "WordPress only calls ports 80, 443 and 8080, not 8443"),
        ("http://relay.example", "plain http"),
    ],
)
def test_list_says_in_a_sentence_that_a_shop_cannot_deliver_there(woocommerce, address, why):
    """And shows what there is all the same."""
    status, told = run("list", "beans", fake=woocommerce.fake, PUBLIC_URL=address)
    assert status == 1  # as webhooks are missing
    assert told.count("webhooks cannot go to") == 1
    assert told.startswith(f"! store beans: webhooks cannot go to {address}: ")
    assert why in told
    assert told.count("missing") == len(TOPICS["woocommerce"])


def test_of_an_address_that_shops_reach_nothing_is_said(woocommerce):
    """Nor where none is needed."""
    assert "cannot go" not in run("list", "beans", "--base-url", "https://relay.example", fake=woocommerce.fake)[1]
    assert "cannot go" not in run("delete", "beans", fake=woocommerce.fake, PUBLIC_URL="http://localhost:1")[1]


def test_no_address_at_all():
    assert run("list", "beans") == (
        1,
        "connector: store beans: the address of this server is unknown: set PUBLIC_URL or give --base-url https://HOST\n",
    )


def test_a_dry_run_says_what_would_be_done_and_one_stores_fault_does_not_stop_the_others(woocommerce):
    """`acme` has no keys; `beans` is still looked at, and the command exits 1."""
    status, told = run("sync", "--all", "--dry-run", fake=woocommerce.fake, PUBLIC_URL="https://connector.example")
    assert status == 1
    assert "connector: store acme has no [api]" in told
    assert told.count("would be created") == len(TOPICS["woocommerce"])
    assert "https://connector.example/webhooks/beans" in told
    assert woocommerce.there() == []


def test_delete_on_the_command_line(woocommerce):
    """Done, exit 0; what is not ours is counted, and its address, which may be a secret, not shown."""
    woocommerce.put("order.created", "http://127.0.0.1:9/webhooks/beans")
    woocommerce.put("order.created", FOREIGN)
    status, told = run("delete", "beans", fake=woocommerce.fake)
    assert status == 0
    assert "deleted" in told
    assert "1 webhook created by others, left alone" in told
    assert FOREIGN not in told
    assert woocommerce.there() == [("order.created", FOREIGN)]


def test_the_database_remembers_what_is_ours(woocommerce, sqlite_url):
    """Without it the repair knows nothing, which whoever has one is told; the command does its work all the same."""
    guarded = TOML.replace("api = {", 'reconcile = "15m"\napi = {').replace("BEANS", woocommerce.fake.url)
    here = "http://127.0.0.1:9/webhooks/beans"
    woocommerce.put("order.created", here)
    status, told = run("delete", "beans", fake=woocommerce.fake, STORES_TOML=guarded, DATABASE_URL=sqlite_url)
    assert (status, woocommerce.there()) == (0, [])
    assert told.startswith("Note: there is no database file yet, so the webhooks are not recorded")
    engine = connect(sqlite_url)
    migrate(engine)
    woocommerce.put("order.created", here)
    (made,) = woocommerce.module.connect(woocommerce.store).subscriptions()
    RegisteredWebhooks(Database(engine)).remember("beans", made, 1.0)
    assert RegisteredWebhooks(Database(engine)).of("beans") == {"order.created": made}
    status, told = run("delete", "beans", fake=woocommerce.fake, STORES_TOML=guarded, DATABASE_URL=sqlite_url)
    assert (status, "Note" in told) == (0, False)
    assert RegisteredWebhooks(Database(engine)).of("beans") == {}
    engine.dispose()


def test_wrong_use():
    assert run("list")[0] == run("list", "acme", "--all")[0] == run("list", "nobody")[0] == 2


def test_a_secret_for_woocommerce():
    status, told = run("secret")
    assert status == 0
    assert len(told.strip()) == 43


@pytest.mark.processes
def test_no_vendors_client_is_loaded_until_a_shop_is_asked():
    script = (
        "import sys, connector.sync.registration\n"
        "from connector.core.registry import installed_platforms\n"
        "[each.shop_api for each in installed_platforms().values()]\n"
        "from click.testing import CliRunner; from connector.cli.main import main\n"
        "CliRunner().invoke(main, ['webhooks', '--help'])\n"
        "sys.exit(bool({'shopify', 'pyactiveresource', 'woocommerce', 'requests'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
