"""Wrong turns on the way from the shop to TikTok: each turns one line of the checklist red, with its remedy."""

import json
import random
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

from msgspec import structs
from sqlalchemy import Engine

from connector.core.event import PERSONAL_DATA_WITHHELD
from connector.core.registry import installed_platforms
from connector.core.store import ConsentSource
from connector.devtools.sandbox.faults import read_fault
from connector.devtools.sandbox.server import Sandbox
from connector.outbox.ledger import Decision
from connector.outbox.notices import NoticeTable
from connector.outbox.outbox import Outbox
from connector.setup.live import reach_remedy
from connector.setup.records import SetupRecords
from connector.setup.samples import webhooks
from platforms.shopify import shop_api as shopify_api
from tests.support.bigcommerce_bodies import a_notice
from tests.support.fakes.shopify import FakeShopify
from tests.support.new_store import SECRET, NewStore, red, states
from tests.support.platforms import PLATFORMS, with_shop_api

Make = Callable[..., NewStore]


# --- wrong turns: webhooks ----------------------------------------------------------------------------------------


def test_a_wrong_secret(new_store: Make) -> None:
    """Where to find the right one is said in the platform's words; the first good webhook makes it green."""
    shop = new_store()
    assert [answer.status_code for answer in shop.send("orders/create", secret="not-this-one-0123")] == [401]
    said = red(shop, "signature")
    assert said.startswith("1 webhook was answered 401 in the last day: the secret they are signed with")
    assert "compare `webhook_secrets` with the page Settings › Notifications › Webhooks" in said
    assert shop.items()["signature"].action == "sample"
    shop.send("orders/create")
    item = shop.items()["signature"]
    assert item.state == "green"
    assert item.sentence.startswith("signed webhooks arrive; 1 request was refused in the last day, as the secret they")


def test_a_webhook_without_a_secret(new_store: Make) -> None:
    shop = new_store("woocommerce")
    shop.send("order.created", **{"X-WC-Webhook-Signature": ""})
    assert "they have no signature" in red(shop, "signature")
    assert "give the shop's webhook the secret of `webhook_secrets`: each webhook's own field Secret" in red(
        shop, "signature"
    )


def test_an_apps_webhooks_signed_with_its_client_secret(new_store: Make) -> None:
    """The likeliest mistake with an app at Shopify."""
    keys = {"client_id": "id-of-the-app", "client_secret": "client-secret-0123456789"}
    shop = new_store(api=keys)
    shop.send("orders/create", secret="client-secret-0123456789")
    assert "add that key, the app's client secret, to `webhook_secrets`" in red(shop, "signature")


def test_a_webhook_at_the_address_of_another_store(new_store: Make) -> None:
    """Signed with the secret of that other one."""
    more = '\n[stores.other]\nplatform = "shopify"\nurl = "https://other.example"\nshop = "other.myshopify.com"\n'
    more += 'pixel = "COTHER00000000000000"\nwebhook_secrets = ["secret-of-the-other-store"]\n'
    shop = new_store(more=more)
    shop.send("orders/create", secret="secret-of-the-other-store")
    assert "which must end in /webhooks/acme" in red(shop, "signature")


def test_an_old_signature(new_store: Make) -> None:
    """The clock of one of both is wrong."""
    shop = new_store("signed")
    headers = PLATFORMS["signed"].signed_headers(b"{}", SECRET, at=datetime(2026, 1, 1, tzinfo=UTC))
    assert shop.web.post("/webhooks/mugs", data=b"{}", headers=headers).status_code == 401
    shop.web.application.intake.counters.flush()
    assert "set the clocks" in red(shop, "signature")


def test_refusals_after_a_good_webhook(new_store: Make) -> None:
    """A secret that was changed in the shop: three refused in a later hour."""
    shop = new_store()
    shop.send("orders/create")
    hour = int(time.time()) // 3600 * 3600 + 3600
    Outbox(shop.database).count({("acme", "(wrong secret)", "refused", hour): 3})
    assert "3 webhooks were answered 401" in red(shop, "signature")


def test_requests_of_strangers_do_not_turn_it_red(new_store: Make) -> None:
    """Anybody can post without a signature."""
    shop = new_store()
    shop.send("orders/create")
    hour = int(time.time()) // 3600 * 3600 + 3600
    Outbox(shop.database).count({("acme", "(no signature)", "refused", hour): 30})
    assert shop.items()["signature"].state == "green"


def test_a_misspelt_address(new_store: Make) -> None:
    """The webhook's URL does not end in the store's name."""
    shop = new_store()
    assert [one.status_code for one in shop.send("orders/create", store="acne")] == [404]
    assert "must end in the store's name" in red(shop, "signature")
    assert shop.items()["signature"].copy.endswith("/webhooks/acme")


def test_a_webhook_that_is_not_json(new_store: Make) -> None:
    shop = new_store()
    headers = PLATFORMS["shopify"].signed_headers(b"<order/>", SECRET)
    headers |= {"X-Shopify-Topic": "orders/create", "X-Shopify-Shop-Domain": "acme.myshopify.com"}
    assert shop.web.post("/webhooks/acme", data=b"<order/>", headers=headers).status_code == 400
    shop.web.application.intake.counters.flush()
    assert "choose the format JSON" in red(shop, "signature")


def test_a_topic_that_was_forgotten(new_store: Make) -> None:
    """By hand: what is missing, where it is made, and what to copy."""
    shop = new_store(environ={"PUBLIC_URL": "https://connector.example"})
    shop.send("orders/create", "customers/create")
    item = shop.items()["topics"]
    assert (item.state, item.sentence) == ("waiting", "not seen yet: a paid order, a started checkout")
    assert "Settings › Notifications › Webhooks" in item.remedy
    address, *topics = item.copy.splitlines()
    assert address == "https://connector.example/webhooks/acme"
    assert {"orders/create", "orders/paid", "checkouts/update"} <= set(topics)
    assert "app/uninstalled" not in topics


def test_what_is_not_sent_needs_no_topic(new_store: Make) -> None:
    shop = new_store(events={"checkout_started": "", "customer_registered": ""})
    shop.send("orders/create", "orders/paid")
    assert shop.items()["topics"].state == "green"


def test_a_sample_is_not_the_shops_webhook(new_store: Make) -> None:
    """It shows that the way is open, and no more."""
    shop = new_store()
    with shop.served(), shop.acting() as setup:
        assert "took the sample" in setup.post_sample()
    item = shop.items()["signature"]
    assert item.state == "waiting"
    assert "the shop itself has sent nothing yet" in item.sentence


def test_public_keys_that_are_not_fetched(new_store: Make) -> None:
    """Saleor without a secret: its public keys must be there first, and the relay fetches them."""
    shop = new_store("saleor", secret=None)
    assert shop.store.key_addresses
    said = red(shop, "signature")
    assert "the public keys at https://api.juices.example/.well-known/jwks.json are not fetched yet" in said
    assert "start `connector serve`" in said


# --- wrong turns: TikTok ------------------------------------------------------------------------------------------


def test_a_token_that_tiktok_refuses(new_store: Make, sandbox: Sandbox) -> None:
    """Before the first event, by asking; with events, by what became of them. A new token is tried anew."""
    sandbox.set_fault(read_fault(b'{"kind": "revoke"}'))
    shop = new_store()
    try:
        shop.ask()
        assert "set the right `pixel` and a new `access_token`" in red(shop, "token")
        shop.send("orders/create")
        shop.work()
        assert "TikTok has denied the token of pixel" in red(shop, "token")
    finally:
        sandbox.clear_faults()
    shop.configure(access_token="a-new-token")
    assert shop.items()["token"].state == "waiting"


def test_a_sandbox_that_was_not_started(new_store: Make) -> None:
    """Or an Events API that this server does not reach: no token is to blame."""
    shop = new_store(environ={"EVENTS_API_URL": "http://127.0.0.1:9/open_api/v1.3"})
    shop.ask()
    remedy = "`EVENTS_API_URL` is http://127.0.0.1:9/open_api/v1.3: start `connector sandbox` there"
    assert remedy in red(shop, "token")
    assert "access_token" not in red(shop, "token")
    shop.send()
    shop.work()
    said = red(shop, "test_event")
    assert said.startswith("events wait: could not connect to TikTok")
    assert remedy in said


def test_tiktok_that_is_not_reached() -> None:
    """A firewall between this server and TikTok."""
    assert "reaches business-api.tiktok.com" in reach_remedy("https://business-api.tiktok.com/open_api/v1.3")


def test_going_live_with_the_sandbox(new_store: Make) -> None:
    """The variable that was not unset after the first steps: all would be green, and nothing would count."""
    shop = new_store(test_event_code="", environ={"PUBLIC_URL": "https://connector.example"})
    assert "which is not TikTok, and count nowhere → unset `EVENTS_API_URL`" in red(shop, "live")
    shop = new_store(test_event_code="")
    assert shop.items()["live"].state == "green"
    assert "events go to the sandbox" in shop.items()["live"].sentence


def test_webhooks_of_another_shop(new_store: Make) -> None:
    """`shop` is misspelt: the signature is right, and every body is parked."""
    shop = new_store("woocommerce")
    ((body, headers),) = webhooks(shop.store, ["order.created"], 1, random.Random(1))
    answer = shop.web.post("/webhooks/beans", data=body, headers=headers | {"X-WC-Webhook-Source": "https://b.example"})
    assert answer.json == {"outcome": "parked"}
    said = red(shop, "test_event")
    assert "the webhook comes from another shop, b.example" in said
    assert "set `shop` to the name that the webhook gives" in said


def test_orders_that_are_all_skipped(new_store: Make) -> None:
    """Consent is required, and the shop never says so."""
    shop = new_store(consent="required", consent_source={"key": "marketing"})
    silent = replace(shop.store, consent_source=ConsentSource("something else"))
    for body, headers in webhooks(silent, ["orders/create", "orders/paid"], 1, random.Random(1)):
        assert shop.web.post("/webhooks/acme", data=body, headers=headers).json == {"outcome": "skipped"}
    said = red(shop, "test_event")
    assert "skipped: order_" in said
    assert "`consent_source.key`" in said


def test_the_shops_test_order_without_a_test_event_code(new_store: Make) -> None:
    """What Shopify's *Send test notification* sends counts nowhere."""
    shop = new_store(test_event_code="")
    ((body, headers),) = webhooks(shop.store, ["orders/create"], 1, random.Random(1))
    body = json.dumps(json.loads(body) | {"test": True}).encode()
    headers |= PLATFORMS["shopify"].signed_headers(body, SECRET)
    assert shop.web.post("/webhooks/acme", data=body, headers=headers).json == {"outcome": "skipped"}
    assert "set `test_event_code`, or place an order that is not one of the shop's test orders" in red(
        shop, "test_event"
    )


def test_orders_from_before_the_store_went_live(new_store: Make) -> None:
    shop = new_store(test_event_code="", go_live="2040-01-01")
    shop.send("orders/create")
    assert "place a new order: older ones are history" in red(shop, "test_event")


def test_a_private_key_where_a_secret_is_expected(new_store: Make) -> None:
    """Saleor's webhook has no secretKey, but the settings have webhook_secrets."""
    shop = new_store("saleor")
    answer = shop.web.post("/webhooks/juices", data=b"{}", headers={"Saleor-Signature": "a.b.c"})
    assert answer.status_code == 401
    shop.web.application.intake.counters.flush()
    assert "without one, remove webhook_secrets: its public keys are fetched" in red(shop, "signature")


def test_scopes_that_an_app_lacks(new_store: Make) -> None:
    """At Shopify, through the vendor's package."""
    with FakeShopify(shop="acme.myshopify.com") as fake:
        fake.scopes = {"read_orders"}
        asked = SimpleNamespace(
            SETS_SECRET=False,
            SEES_ALL=False,
            topics=shopify_api.topics,
            why_not_url=lambda url: "",
            connect=lambda store, pause=None: shopify_api.connect(store, lambda _: None, fake.url),
        )
        platforms = {**PLATFORMS, "shopify": with_shop_api("shopify", asked)}
        shop = new_store(platforms=platforms, api={"access_token": fake.access_token})
        assert shop.items()["api"].action == "check"
        shop.ask()
    assert "the app lacks read_customers; add to its scopes in the Dev Dashboard" in red(shop, "api")


def test_the_same_on_postgresql(postgresql_engine: Engine, sandbox: Sandbox, new_store: Make) -> None:
    """Every look-up, with rows of each kind behind it."""
    shop = NewStore(postgresql_engine, new_store().events_api)
    shop.send("orders/create", secret="not-this-one-0123")
    shop.send()
    shop.work()
    with shop.served(), shop.acting() as setup:
        setup.check()
        setup.post_sample()
        setup.send_test_event("")
        setup.note_app_off()
    found = states(shop.items())
    assert {key for key, state in found.items() if state == "waiting"} == {"real_events", "live"}
    assert "red" not in found.values()


def test_a_shop_whose_webhooks_only_name_an_order(new_store: Make) -> None:
    """BigCommerce: the webhook has come, but the API that has the order refuses the key."""
    bigcommerce = installed_platforms()["bigcommerce"]
    platforms = {**PLATFORMS, "bigcommerce": bigcommerce}
    shop = new_store("bigcommerce", platforms=platforms, shop="abc123", api={"access_token": "key-of-the-api-0123"})
    body = a_notice(producer="stores/abc123")
    headers = bigcommerce.signed_headers(body, SECRET)
    name = shop.store.name
    assert shop.web.post(f"/webhooks/{name}", data=body, headers=headers).json == {"outcome": "noted"}
    assert shop.items()["signature"].state == "green"
    table = NoticeTable(shop.database)
    later = time.time() + 60
    claimed = table.claim(name, "one", later, 60.0)
    assert claimed
    table.postpone(claimed, "one", later, "the shop does not accept the key")
    assert "what webhooks name cannot be fetched: the shop does not accept the key" in red(shop, "api")


def test_personal_data_withheld(new_store: Make) -> None:
    """An app without access to protected customer data."""
    shop = new_store()
    for number in range(5):
        line = Decision("acme", "orders/create", bytes([number]) * 32, time.time(), object_key=f"order:{number}")
        Outbox(shop.database).record(structs.replace(line, reason=PERSONAL_DATA_WITHHELD))
    assert "give the app access to protected customer data" in red(shop, "api")


def test_no_item_holds_a_secret(new_store: Make) -> None:
    shop = new_store(api={"access_token": "key-of-the-api-0123"})
    shop.send("orders/create", secret="not-this-one-0123")
    shop.ask()
    said = repr([*shop.items().values()])
    assert not any(secret in said for secret in (SECRET, "token-example", "key-of-the-api", "not-this-one"))


def test_answers_are_of_the_settings_they_were_asked_with(new_store: Make) -> None:
    """After a change of the token nobody says that TikTok accepts it."""
    shop = new_store()
    shop.ask()
    assert shop.items()["token"].state == "green"
    assert SetupRecords(shop.database).complete(["acme"]) == set()
    shop.store = replace(shop.store, pixels=(replace(shop.store.pixels[0], access_token="another"),))
    assert shop.items()["token"].state == "waiting"
