"""connector.devtools.check with `live`: what the shops' own APIs say, through the vendors' packages, of fake shops."""

from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from connector.cli.main import main
from connector.config.settings import load
from connector.devtools.check import check
from connector.sync.registration import apply_plan, prepare
from platforms.shopify import shop_api as shopify_admin
from platforms.woocommerce import shop_api as woocommerce_admin
from tests.support.fakes import certificate
from tests.support.fakes.shopify import FakeShopify
from tests.support.fakes.woocommerce import FakeWooCommerce
from tests.support.platforms import PLATFORMS, with_shop_api

PUBLIC = "http://127.0.0.1:9"  # nobody there
TOML = """
[stores.beans]
platform = "PLATFORM"
url = "URL"
shop = "beans.myshopify.com"
webhook_secrets = ["${SECRET}"]
pixel = "CABCDEFGHIJKLMNOPQR0"
access_token = "${TOKEN}"
consent = "not_required"
"""
KEYS = 'api = { consumer_key = "${KEY}", consumer_secret = "${KEY_SECRET}" }'
WOOCOMMERCE = with_shop_api(
    "woocommerce",
    SimpleNamespace(
        SETS_SECRET=True,
        topics=woocommerce_admin.topics,
        why_not_url=lambda url: "",
        connect=lambda store, pause=None: woocommerce_admin.connect(store, lambda _: None),
    ),
)


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    return certificate.make(tmp_path_factory.mktemp("pem"))


@pytest.fixture
def fake():
    with FakeWooCommerce() as fake:
        yield fake


def config(tmp_path, url="https://beans.example", platform="woocommerce", keys="", **environ):
    toml = TOML.replace("PLATFORM", platform).replace("URL", url) + keys
    secrets = {"SECRET": "shh-webhook", "TOKEN": "shh-token", "STORES_TOML": toml}
    return load({**secrets, "DATABASE_URL": f"sqlite:///{tmp_path / 'none.db'}", **environ})


def of(tmp_path, fake, public=PUBLIC):
    return config(tmp_path, fake.url, keys=KEYS, KEY=fake.key, KEY_SECRET=fake.secret, PUBLIC_URL=public)


def told(found, live=True):
    """What is said of the shop; the lines before it are about TikTok and ourselves."""
    lines = [(each.mark, each.text) for each in check(found, live, {**PLATFORMS, "woocommerce": WOOCOMMERCE})]
    return [(mark, text) for mark, text in lines if text.startswith("store beans: ") and "TikTok" not in text]


def register(store):
    admin, plan = prepare(store, WOOCOMMERCE, PUBLIC, "register")
    list(apply_plan(plan.lines, admin, "secret"))


@pytest.mark.parametrize(
    ("platform", "lost"), [("woocommerce", "sends while this server is down are lost"), ("shopify", "within 4 hours")]
)
def test_without_keys_a_note(tmp_path, platform, lost):
    said = [line for line in told(config(tmp_path, platform=platform)) if "is not checked without" in line[1]]
    assert [mark for mark, _ in said] == ["note"]
    hint = "give keys in [stores.beans.api]"
    (gone,) = [each.text for each in check(config(tmp_path, platform=platform), False) if hint in each.text]
    assert lost in gone


def test_keys_and_webhooks_in_place(tmp_path, fake):
    register(of(tmp_path, fake).stores["beans"])
    said = told(of(tmp_path, fake))
    assert ("ok", "store beans: all needed webhooks are registered and active") in said
    assert any(mark == "ok" and text.startswith("store beans: the keys are valid") for mark, text in said)


def test_webhooks_that_cannot_arrive_are_not_in_order(tmp_path, fake, monkeypatch):
    """Registered by hand at an address that WordPress does not call: there is no ✓ for the store."""
    monkeypatch.setattr(WOOCOMMERCE.shop_api, "why_not_url", lambda url: "use an https address")
    for topic in woocommerce_admin.topics(of(tmp_path, fake).stores["beans"]):
        fake.hook(topic, f"{PUBLIC}/webhooks/beans")
    said = told(of(tmp_path, fake))
    assert ("warning", f"store beans: webhooks cannot go to {PUBLIC}: use an https address") in said
    assert not any("all needed webhooks" in text for _, text in said)


def test_an_address_whose_certificate_nobody_trusts(tmp_path, pem):
    """Shops refuse it as well."""
    with FakeWooCommerce(certificate=pem) as server:
        found = config(tmp_path, PUBLIC_URL=server.url)
        (line,) = [each for each in check(found, True, PLATFORMS) if each.text.startswith("PUBLIC_URL")]
    assert line.mark == "fault"
    assert line.text.startswith(f"PUBLIC_URL {server.url}: its certificate is not trusted (self-signed certificate)")
    assert "shops refuse it too" in line.text


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("https://nobody.invalid", "its host name is not found"),
        (PUBLIC, "nothing accepts connections there"),
    ],
)
def test_an_address_that_nobody_reaches_says_why(tmp_path, address, why):
    (line,) = [each for each in check(config(tmp_path, PUBLIC_URL=address), True) if each.text.startswith("PUBLIC_URL")]
    assert (line.mark, why in line.text) == ("fault", True)


def test_a_shop_that_fires_no_checkouts_is_warned_of(tmp_path, fake):
    """WooCommerce has no webhook of its own for them; registering the topic alone brings none."""
    register(of(tmp_path, fake).stores["beans"])
    fake.has_plugin = False
    (text,) = [text for mark, text in told(of(tmp_path, fake)) if mark == "warning"]
    assert "no started checkouts without the plugin that `connector snippet` prints" in text
    fake.has_plugin = True
    assert not [text for mark, text in told(of(tmp_path, fake)) if mark == "warning"]


@pytest.mark.parametrize("has_plugin", [False, True])
def test_list_warns_of_it_too(tmp_path, fake, has_plugin):
    """As register does; both say it on standard error."""
    fake.has_plugin = has_plugin
    toml = TOML.replace("PLATFORM", "woocommerce").replace("URL", fake.url) + KEYS
    environ = {"SECRET": "shh-webhook", "TOKEN": "shh-token", "KEY": fake.key, "KEY_SECRET": fake.secret}
    environ |= {"STORES_TOML": toml, "DATABASE_URL": f"sqlite:///{tmp_path / 'none.db'}", "PUBLIC_URL": PUBLIC}
    result = CliRunner().invoke(main, ["webhooks", "list", "beans"], env=environ)
    assert ("the shop sends no started checkouts" in result.stderr) != has_plugin


def test_a_shop_that_hides_the_plugin_is_not_warned_of(tmp_path, fake):
    register(of(tmp_path, fake).stores["beans"])
    fake.forbidden = {"tiktok-connector"}
    assert not [text for mark, text in told(of(tmp_path, fake)) if mark == "warning"]


def test_missing_and_switched_off_webhooks_are_warned_of_with_the_remedy(tmp_path, fake):
    register(of(tmp_path, fake).stores["beans"])
    fake.webhooks[1].status = "disabled"
    missing = fake.webhooks.pop(2).topic
    (text,) = [text for mark, text in told(of(tmp_path, fake)) if mark == "warning"]
    assert fake.webhooks[1].topic in text
    assert missing in text
    assert fake.webhooks[3].topic not in text
    assert "`connector webhooks register beans`" in text


def test_shopify_is_asked_too_and_hides_what_was_made_by_hand(tmp_path):
    with FakeShopify(shop="beans.myshopify.com") as fake:
        asked = SimpleNamespace(
            SETS_SECRET=False,
            topics=shopify_admin.topics,
            why_not_url=lambda url: "",
            connect=lambda store, pause=None: shopify_admin.connect(store, lambda _: None, fake.url),
        )
        keys = 'api = { access_token = "${KEY}" }'
        found = config(tmp_path, platform="shopify", keys=keys, KEY=fake.access_token, PUBLIC_URL=PUBLIC)
        platforms = {**PLATFORMS, "shopify": with_shop_api("shopify", asked)}
        lines = [(each.mark, each.text) for each in check(found, True, platforms)]
    assert ("ok", "store beans: the app has the scopes read_orders and read_customers") in lines
    (text,) = [text for mark, text in lines if mark == "warning" and "no active webhook" in text]
    assert "orders/paid" in text
    assert text.endswith("ignore this if you created them by hand: Shopify does not list those")


def test_without_public_url_nobody_knows_which_webhooks_are_ours(tmp_path, fake):
    assert ("note", "store beans: set PUBLIC_URL to check its webhooks") in told(of(tmp_path, fake, public=""))


def test_without_public_url_it_says_that_nobody_tried_to_reach_us(tmp_path):
    untried = "PUBLIC_URL is not set, so whether shops can reach this server was not checked"
    assert ("note", untried) in [(each.mark, each.text) for each in check(config(tmp_path), live=True)]


def test_keys_that_are_of_no_use_are_a_fault_said_once(tmp_path, fake):
    fake.key = "ck_" + "00" * 20
    wrong = of(tmp_path, fake)
    fake.key = "ck_" + "11" * 20
    faults = [text for mark, text in told(wrong) if mark == "fault"]
    assert len(faults) == len(set(faults))
    assert any("key" in text for text in faults)
    assert not any(secret in text for text in faults for secret in ("ck_0", fake.secret))


def test_no_shop_is_asked_unless_live(tmp_path, fake):
    told(of(tmp_path, fake), live=False)
    assert fake.requests == []
