"""The checklist: every wrong turn that the README and the quickstarts allow turns one line red, with its remedy."""

import random
import re
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from msgspec import structs

from connector.core.event import PERSONAL_DATA_WITHHELD
from connector.core.store import ConsentSource
from connector.devtools.sandbox.faults import read_fault
from connector.devtools.sandbox.server import Sandbox
from connector.outbox.ledger import Decision
from connector.outbox.outbox import Outbox
from connector.setup.items import Item, progress
from connector.setup.records import SetupRecords
from connector.setup.samples import webhooks
from connector.storage.tables import relays, signals
from tests.support.new_store import NAMES, SECRET, NewStore
from tests.support.platforms import PLATFORMS, SAMPLES

Make = Callable[..., NewStore]
ALL = sorted(NAMES)
OTHERS = {name: platform for name, platform in PLATFORMS.items() if name not in NAMES}


def states(items: dict[str, Item]) -> dict[str, str]:
    return {key: item.state for key, item in items.items()}


# --- the right way ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("platform", ALL)
def test_from_nothing_to_all_green(new_store: Make, platform: str) -> None:
    """Each step turns its line green, on every platform alike; the words say where one does not apply."""
    shop = new_store(platform)
    begun = states(shop.items())
    assert begun["settings"] == "green"
    assert begun["database"] == "red"  # no relay has run yet
    assert {begun[key] for key in ("address", "signature", "topics", "token", "test_event", "live")} == {"waiting"}
    assert "red" not in {state for key, state in begun.items() if key != "database"}

    with shop.served():
        shop.ask()
        asked = shop.items()
    assert states(asked)["address"] == "green"
    assert "which is enough for the sandbox" in asked["address"].sentence
    assert states(asked)["token"] == "green"

    shop.send()
    assert states(shop.items())["signature"] == states(shop.items())["topics"] == "green"
    shop.work()
    tested = shop.items()
    assert (tested["database"].state, tested["test_event"].state) == ("green", "green")
    assert tested["real_events"].state == "waiting"
    assert "test_event_code" in tested["real_events"].remedy

    with shop.acting() as setup:
        setup.note_app_off()
    shop.configure(test_event_code="")
    shop.send()
    shop.work()
    with shop.served():
        shop.ask()
        ended = shop.items()
    assert {item.state for item in ended.values()} <= {"green", "not_applicable"}, states(ended)
    done, number = progress([*ended.values()])
    assert done == number > 8


@pytest.mark.parametrize("platform", ALL)
def test_what_a_platform_lacks_does_not_apply(new_store: Make, platform: str) -> None:
    """An API, code for pages, an app of TikTok's: said in words, and not counted as done."""
    items = new_store(platform).items()
    assert items["snippet"].state == "not_applicable"
    assert items["api"].state == "not_applicable"
    has_api = PLATFORMS[platform].shop_api is not None
    assert ("no keys in [stores." in items["api"].sentence) == has_api
    assert (items["official_app"].state == "not_applicable") == (platform == "saleor")


def test_every_platform_names_topics_that_it_handles() -> None:
    """Those of its facts bring events, and its samples send one of each."""
    assert OTHERS == {}
    for name, platform in PLATFORMS.items():
        for milestone, topics in platform.facts.milestone_topics.items():
            assert milestone in platform.facts.milestones, name
            assert set(topics) <= platform.event_topics, name
            assert set(topics) & set(SAMPLES[name].FUNNEL), (name, milestone)


# --- wrong turns: settings, server, address -----------------------------------------------------------------------


def red(shop: NewStore, key: str) -> str:
    """The red line of this name, its remedy with it; no line before it is red, or nobody would look at this one."""
    items = shop.items()
    assert items[key].state == "red", states(items)
    for item in items.values():
        assert item.state != "red" or re.search("[a-z]{4}", item.remedy + item.sentence.partition(":")[2])
    return f"{items[key].sentence} → {items[key].remedy}"


def test_settings_that_were_spoilt_since_the_start(new_store: Make) -> None:
    """The README's own typo, written while the server runs; the old settings stay in use."""
    shop = new_store()
    shop.reload = lambda: shop.read(**shop.settings, consnet="required")
    assert "stores.acme.consnet: unknown key; did you mean consent?" in red(shop, "settings")
    assert "`connector check` names every fault" in red(shop, "settings")


def test_settings_that_were_changed_without_a_restart(new_store: Make) -> None:
    shop = new_store()
    shop.reload = lambda: shop.read(**shop.settings | {"test_event_code": ""})
    item = shop.items()["settings"]
    assert item.state == "waiting"
    assert "restart `connector serve`, or send it HUP" in item.remedy
    shop.reload = lambda: shop.read(**shop.settings)
    assert shop.items()["settings"].state == "green"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"consent": "required"}, "consent_source.key is not set, so no consent is found and events are skipped"),
        ({"event_id": {"checkout": "{order_id}"}}, "has no {order_id}, so none is sent"),
        ({"webhook_secrets": ["short"]}, "fewer than 16 characters"),
    ],
)
def test_settings_with_which_nothing_can_be_sent(new_store: Make, changes: dict, said: str) -> None:
    assert said in red(new_store(**changes), "settings")


def test_no_relay(new_store: Make) -> None:
    """Never started, or gone for more than a minute."""
    shop = new_store()
    assert "start `connector serve`" in red(shop, "database")
    shop.work()
    assert shop.items()["database"].state == "green"
    with shop.database.write() as connection:
        connection.execute(sa.update(relays).values(seen_at=time.time() - 90))
    assert "no relay is running" in red(shop, "database")


@pytest.mark.parametrize("platform", ALL)
def test_an_address_without_https(new_store: Make, platform: str) -> None:
    """In earnest, with TikTok's own Events API; on one machine with the sandbox it is enough."""
    environ = {
        "PUBLIC_URL": "http://connector.example",
        "EVENTS_API_URL": "https://business-api.tiktok.com/open_api/v1.3",
    }
    shop = new_store(platform, environ=environ)
    assert "https" in red(shop, "address")
    assert "`PUBLIC_URL`" in red(shop, "address")


def test_no_address(new_store: Make) -> None:
    item = new_store().items()["address"]
    assert (item.state, item.copy) == ("waiting", "PUBLIC_URL=http://127.0.0.1:8000")


def test_an_address_at_which_nobody_answers(new_store: Make) -> None:
    shop = new_store(environ={"PUBLIC_URL": "http://127.0.0.1:9"})
    assert shop.items()["address"].action == "check"
    shop.ask()
    assert "nothing accepts connections there; start the server" in red(shop, "address")
    shop.environ["PUBLIC_URL"] = "http://127.0.0.1:19"
    shop.configure()
    assert shop.items()["address"].state == "waiting"  # the answer was about another address


def test_the_address_of_somebody_else(new_store: Make) -> None:
    """A web server that answers every path, such as a shop's own: here the sandbox's pages."""
    shop = new_store()
    shop.environ["PUBLIC_URL"] = shop.events_api.partition("/open_api")[0]
    shop.configure()
    shop.ask()
    assert "answers 404" in red(shop, "address")


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
    assert (item.state, item.sentence) == ("green", "signed webhooks arrive; 1 request was refused in the last day")


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


def test_personal_data_withheld(new_store: Make) -> None:
    """An app without access to protected customer data."""
    shop = new_store()
    for number in range(5):
        line = Decision("acme", "orders/create", bytes([number]) * 32, time.time(), object_key=f"order:{number}")
        Outbox(shop.database).record(structs.replace(line, reason=PERSONAL_DATA_WITHHELD))
    assert "give the app access to protected customer data" in red(shop, "api")


def test_the_code_of_the_shops_pages(new_store: Make) -> None:
    """Nobody has reported; without PUBLIC_URL nobody can; then a checkout's beacon comes."""
    shop = new_store(signals={}, browser_pixel="snippet")
    assert "set `PUBLIC_URL`" in red(shop, "snippet")
    shop.environ["PUBLIC_URL"] = "https://connector.example"
    shop.configure()
    waiting = shop.items()["snippet"]
    assert waiting.state == "waiting"
    assert "`connector snippet acme` prints it" in waiting.remedy
    with shop.database.write() as connection:
        blank = dict.fromkeys(("ttclid", "ttp", "ip", "user_agent", "url", "referrer", "consent"), "")
        connection.execute(sa.insert(signals).values(store="acme", token="t", seen_at=time.time(), **blank))
    assert shop.items()["snippet"].state == "green"


def test_tiktoks_own_app_is_never_seen_and_must_be_said(new_store: Make) -> None:
    shop = new_store()
    item = shop.items()["official_app"]
    assert (item.state, item.action) == ("waiting", "app_off")
    assert "every order counts twice" in item.sentence
    with shop.acting() as setup:
        setup.note_app_off()
    assert shop.items()["official_app"].sentence.startswith("switched off, as you said on ")
    official = {"order_paid": "", "checkout_started": ""}
    assert new_store(browser_pixel="official", events=official).items()["official_app"].state == "green"


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
