"""What the buttons do: over real sockets, to a sandbox, a fake shop and the store's own server, also behind a proxy."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import httpx
import pytest

from connector.core.registry import installed_platforms
from connector.devtools.sandbox.faults import read_fault
from connector.devtools.sandbox.server import Sandbox
from connector.outbox.queries import EventFilter, OutboxQueries
from platforms.woocommerce import shop_api as woocommerce_api
from tests.support.fakes.woocommerce import FakeWooCommerce
from tests.support.new_store import NAMES, NewStore
from tests.support.platforms import PLATFORMS, with_shop_api

Make = Callable[..., NewStore]
LOOPBACK = with_shop_api(
    "woocommerce",
    SimpleNamespace(
        SETS_SECRET=True,
        SEES_ALL=True,
        topics=woocommerce_api.topics,
        why_not_url=lambda url: "",
        connect=lambda store, pause=None: woocommerce_api.connect(store, lambda _: None),
    ),
)


@pytest.fixture
def fake() -> Iterator[FakeWooCommerce]:
    with FakeWooCommerce() as shop:
        yield shop


@pytest.fixture
def beans(new_store: Make, fake: FakeWooCommerce) -> NewStore:
    """A store whose shop has an API."""
    keys = {"consumer_key": fake.key, "consumer_secret": fake.secret}
    return new_store(
        "woocommerce", platforms={**PLATFORMS, "woocommerce": LOOPBACK}, url=fake.url, shop="127.0.0.1", api=keys,
        environ={"PUBLIC_URL": "http://127.0.0.1:9"},
    )  # fmt: skip


@pytest.mark.slow
def test_registering_turns_the_line_green(beans: NewStore, fake: FakeWooCommerce) -> None:
    """Asked first, the shop says what is missing; the button creates it, and asking again is part of it."""
    beans.ask()
    before = beans.items()["topics"]
    assert (before.state, before.action) == ("red", "register")
    assert "`connector webhooks register beans`" in before.remedy
    assert beans.items()["api"].state == "green"
    with beans.acting() as setup:
        assert setup.register() == "4 webhooks were registered."
        assert setup.register() == "All were registered."
    assert beans.items()["topics"].state == "green"
    assert {hook.delivery_url for hook in fake.webhooks.values()} == {"http://127.0.0.1:9/webhooks/beans"}


@pytest.mark.slow
def test_webhooks_that_the_shop_has_switched_off(beans: NewStore, fake: FakeWooCommerce) -> None:
    """They had arrived before, so only the shop's API knows."""
    with beans.acting() as setup:
        setup.register()
    beans.send()
    assert beans.items()["topics"].state == "green"
    fake.webhooks[1].status = "disabled"
    beans.ask()
    item = beans.items()["topics"]
    assert (item.state, item.action) == ("red", "register")
    assert fake.webhooks[1].topic in item.sentence


def test_a_shop_without_the_plugin_sends_no_checkouts(beans: NewStore, fake: FakeWooCommerce) -> None:
    """Until one has arrived by other code."""
    fake.has_plugin = False
    with beans.acting() as setup:
        setup.register()
    item = beans.items()["topics"]
    assert item.state == "red"
    assert "without the plugin that `connector snippet` prints" in item.sentence
    beans.send("action.wc_tiktok_initiate_checkout")
    assert beans.items()["topics"].state == "green"


def test_keys_that_the_shop_refuses(beans: NewStore, fake: FakeWooCommerce) -> None:
    """The button says why it could do nothing."""
    fake.key = "ck_" + "11" * 20
    beans.ask()
    item = beans.items()["api"]
    assert (item.state, item.action) == ("red", "check")
    assert "key" in item.sentence
    with beans.acting() as setup:
        assert setup.register().startswith("0 webhooks were registered, then: ")


@pytest.mark.parametrize("platform", sorted(NAMES))
def test_a_test_event_of_every_platform(new_store: Make, sandbox: Sandbox, platform: str) -> None:
    """Made from a sample, accepted for Test Events, and stored nowhere here."""
    sandbox.clear()
    shop = new_store(platform)
    with shop.acting() as setup:
        assert setup.send_test_event("").startswith("TikTok accepted a Purchase for Test Events (TEST12345) at pixel")
    (receipt,) = sandbox.received()
    assert receipt.test_event_code == "TEST12345"
    assert OutboxQueries(shop.database).find(EventFilter(), 10) == []
    assert shop.items()["test_event"].sentence == "Test Events accepted a Purchase made from a sample"
    assert shop.items()["token"].state == "green"
    shop.configure(access_token="a-new-token")
    assert {shop.items()[key].state for key in ("test_event", "token")} == {"waiting"}


def test_a_test_event_with_a_code_that_is_typed_in(new_store: Make, sandbox: Sandbox) -> None:
    """A live store can be tried without a change of its settings; without any code nothing is sent."""
    sandbox.clear()
    shop = new_store(test_event_code="")
    with shop.acting() as setup:
        assert setup.send_test_event(" ").startswith("Enter the code that Test Events shows")
        assert not sandbox.received()
        assert "for Test Events (TEST777)" in setup.send_test_event(" TEST777 ")
    (receipt,) = sandbox.received()
    assert receipt.test_event_code == "TEST777"


def test_a_test_event_that_tiktok_refuses(new_store: Make, sandbox: Sandbox) -> None:
    sandbox.set_fault(read_fault(b'{"kind": "revoke"}'))
    with new_store().acting() as setup:
        said = setup.send_test_event("")
    sandbox.clear_faults()
    assert said.startswith("TikTok answered 4")
    assert "check pixel, access_token" in said


def test_a_test_event_without_consent_is_still_sent(new_store: Make) -> None:
    """The invented shopper said nothing; a store that requires consent can be tried all the same."""
    shop = new_store(consent="required", consent_source={"key": "marketing"})
    with shop.acting() as setup:
        assert setup.send_test_event("").startswith("TikTok accepted a Purchase")


def test_settings_with_which_no_sample_yields_an_event(new_store: Make) -> None:
    off = dict.fromkeys(("order_placed", "order_paid", "checkout_started", "customer_registered"), "")
    with new_store(events=off).acting() as setup:
        assert setup.send_test_event("").startswith("No sample yields an event with these settings")


def test_no_sample_is_posted_where_it_would_count(new_store: Make) -> None:
    """To TikTok itself, without a test_event_code."""
    environ = {"EVENTS_API_URL": "https://business-api.tiktok.com/open_api/v1.3"}
    shop = new_store(environ=environ, test_event_code="")
    assert shop.items()["signature"].action == ""
    with shop.acting() as setup:
        assert "invented orders would count" in setup.post_sample()


class Proxy:
    """A proxy that parses JSON and writes it anew, as some do."""

    def __init__(self, upstream: str) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).replace(b'":', b'" :', 1)
                headers = {name: value for name, value in self.headers.items() if name.lower() != "content-length"}
                answer = httpx.post(upstream + self.path, content=body, headers=headers)
                self.send_response(answer.status_code)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Tests print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Proxy":
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_a_proxy_that_changes_bodies_is_found(new_store: Make) -> None:
    """The sample's signature is right, so its refusal is the proxy's doing."""
    shop = new_store()
    with shop.served() as url, Proxy(url) as proxy:
        shop.environ["PUBLIC_URL"] = proxy.url
        shop.config = shop.read(**shop.settings)
        with shop.acting() as setup:
            said = setup.post_sample()
    assert "refused the sample although its signature is right: a proxy before this server changes bodies" in said


def test_a_sample_that_nobody_answers(new_store: Make) -> None:
    shop = new_store(environ={"PUBLIC_URL": "http://127.0.0.1:9"})
    with shop.acting() as setup:
        assert setup.post_sample().startswith("http://127.0.0.1:9/webhooks/acme did not answer")


def test_a_sample_at_a_server_that_does_not_know_the_store_yet(new_store: Make) -> None:
    """The stores file has it, the running server has not."""
    shop, running = new_store("woocommerce"), new_store()
    with running.served() as url:
        shop.environ["PUBLIC_URL"] = url
        shop.config = shop.read(**shop.settings)
        with shop.acting() as setup:
            assert "knows no store beans: restart `connector serve`" in setup.post_sample()


def test_a_thin_platform_is_tried_with_the_order_that_its_api_has(new_store: Make, sandbox: Sandbox) -> None:
    """The webhook has no data, so the test event is of what it names; a sample needs the sandbox in the API's place."""
    sandbox.clear()
    shop = new_store("bigcommerce", platforms=installed_platforms(), api={"access_token": "t"})
    with shop.acting() as setup:
        assert setup.send_test_event("").startswith("TikTok accepted a Purchase for Test Events (TEST12345) at pixel")
        assert "let the sandbox answer in its place" in setup.post_sample()
    here = {"access_token": "t", "url": "http://127.0.0.1:9/shops/bigcommerce/towels"}
    shop = new_store("bigcommerce", platforms=installed_platforms(), api=here)
    with shop.acting() as setup:
        assert setup.post_sample() == "The address in api.url takes no invented orders: is `connector sandbox` there?"
