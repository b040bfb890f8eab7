"""sync.repair and sync.registered_webhooks: what is ours is made again, what is not is only told of."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import Engine

from connector.core.shop_api import ShopApiError
from connector.outbox.outbox import Outbox
from connector.storage.database import Database
from connector.storage.tables import ledger, registered
from connector.sync.registered_webhooks import RegisteredWebhooks
from connector.sync.registration import apply_plan, prepare
from connector.sync.repair import WebhookRepair
from tests.support.effort import first_of
from tests.support.fakes.living import NOWHERE, SECRET, Clock, Living
from tests.support.outbox_rows import rows

pytestmark = pytest.mark.databases("sqlite")

ADDRESS = f"{NOWHERE}/webhooks/acme"
PAID = {"shopify": "orders/paid", "woocommerce": "order.updated"}


class Watched(Living):
    """A shop, looked after."""

    def look(self, engine: Engine) -> str:
        self.clock.now += 900
        repair = WebhookRepair(Outbox(Database(engine)), RegisteredWebhooks(Database(engine)))
        return repair.repair(self.store, self.administration, self.connect(self.store), self.clock.now)

    def by_hand(self, topic: str, url: str = ADDRESS) -> None:
        if self.platform == "woocommerce":
            self.fake.hook(topic, url)
        else:
            self.connect(self.store).subscribe(topic, url, SECRET)

    def do(self, engine: Engine, action: str, base: str = NOWHERE) -> None:
        admin, found = prepare(self.store, self.platform_object, base, action)  # type: ignore[arg-type]
        for line in apply_plan(found.lines, admin, SECRET):
            RegisteredWebhooks(Database(engine)).note("acme", line, self.clock.now)


def living(platform: str) -> Iterator[Watched]:
    shop = Watched(platform, Clock())
    with shop.fake:
        yield shop


@pytest.fixture(params=first_of(["shopify", "woocommerce"]))
def shop(request: pytest.FixtureRequest) -> Iterator[Watched]:
    yield from living(request.param)


@pytest.fixture
def woocommerce() -> Iterator[Watched]:
    yield from living("woocommerce")


@pytest.fixture
def shopify() -> Iterator[Watched]:
    yield from living("shopify")


def test_what_is_in_place_is_left_alone(shop: Watched, engine: Engine) -> None:
    shop.do(engine, "register")
    before = shop.active()
    assert shop.look(engine) == ""
    assert shop.active() == before
    assert rows(engine, ledger) == []


def test_what_we_made_and_the_shop_switched_off_is_made_again(shop: Watched, engine: Engine) -> None:
    """Told and recorded once; then it is in place."""
    shop.do(engine, "register")
    before, topic = shop.active(), PAID[shop.platform]
    shop.switch_off(topic)
    said = shop.look(engine)
    assert said.startswith(f"store acme: the shop had removed, disabled, changed or broken its webhooks for {topic};")
    assert shop.active() == before
    (line,) = rows(engine, ledger)
    assert (line.topic, line.delivery, line.outcome) == (topic, "repair", "recorded")
    assert shop.look(engine) == ""


def test_a_switched_off_one_is_replaced_and_not_woken(woocommerce: Watched, engine: Engine) -> None:
    """WooCommerce would keep its count of failures; the new one signs with the first secret."""
    woocommerce.do(engine, "register")
    woocommerce.switch_off("order.updated")
    woocommerce.look(engine)
    hooks = [each for each in woocommerce.fake.webhooks.values() if each.topic == "order.updated"]
    assert [(each.status, each.failures, each.secret) for each in hooks] == [("active", 0, SECRET)]


def test_it_happens_again(shop: Watched, engine: Engine) -> None:
    """The one made by the repair is ours like the first."""
    shop.do(engine, "register")
    before = shop.active()
    for _ in range(2):
        shop.switch_off(PAID[shop.platform])
        assert shop.look(engine) != ""
    assert shop.active() == before
    assert len(rows(engine, ledger)) == 2


@pytest.mark.parametrize("change", [{"delivery_url": "https://another.example/hook"}, {"topic": "product.updated"}])
def test_one_that_somebody_made_theirs_is_left_alone(
    woocommerce: Watched, engine: Engine, change: dict[str, str]
) -> None:
    """Pointed elsewhere in the shop's settings: ours is made anew, theirs is never touched."""
    woocommerce.do(engine, "register")
    before = woocommerce.active()
    theirs = next(each for each in woocommerce.fake.webhooks.values() if each.topic == "order.updated")
    for name, value in change.items():
        setattr(theirs, name, value)
    assert "order.updated" in woocommerce.look(engine)
    assert woocommerce.fake.webhooks[theirs.id] is theirs
    assert theirs.status == "active"
    assert woocommerce.active() == before | {(theirs.topic, theirs.delivery_url)}
    (line,) = rows(engine, ledger)
    assert line.reason == "the webhook was registered again: somebody had changed its address or topic; left as it is"
    assert woocommerce.look(engine) == ""


@pytest.mark.databases("sqlite", "postgresql")
def test_what_was_made_by_hand_is_only_reported(woocommerce: Watched, engine: Engine) -> None:
    """Switched off or missing, nothing is made or removed."""
    for topic in ("order.created", "order.updated", "customer.created"):
        woocommerce.by_hand(topic)
    woocommerce.switch_off("order.updated")
    there = {each.id: each.status for each in woocommerce.fake.webhooks.values()}
    said = woocommerce.look(engine)
    assert "no active webhook for order.updated, action.wc_tiktok_initiate_checkout" in said
    assert "`connector webhooks register acme`" in said
    assert {each.id: each.status for each in woocommerce.fake.webhooks.values()} == there
    assert rows(engine, registered) == []


def test_shopify_does_not_show_what_was_made_by_hand(shopify: Watched, engine: Engine) -> None:
    """So nothing is missed that may well be there."""
    assert shopify.look(engine) == ""
    assert shopify.active() == set()


def test_another_one_that_serves_the_topic_at_our_address_will_do(woocommerce: Watched, engine: Engine) -> None:
    woocommerce.do(engine, "register")
    woocommerce.switch_off("order.updated")
    woocommerce.by_hand("order.updated")
    before = len(woocommerce.fake.webhooks)
    assert woocommerce.look(engine) == ""
    assert len(woocommerce.fake.webhooks) == before


@pytest.mark.databases("sqlite", "postgresql")
@pytest.mark.parametrize("action", ["delete", "sync"])
def test_what_was_taken_away_on_purpose_stays_away(shop: Watched, engine: Engine, action: str) -> None:
    """By `delete`, or because the events do not need it any more; of the latter there is nothing to report."""
    shop.do(engine, "register")
    if action == "sync":
        shop.store = replace(shop.store, events={**shop.store.events, "checkout_started": ()})
    shop.do(engine, action)
    before = shop.active()
    shop.look(engine)
    assert shop.active() == before
    kept = 0 if action == "delete" else len(before)
    assert len(rows(engine, registered)) == kept


def test_a_topic_that_is_not_needed_any_more_is_not_made_again(shop: Watched, engine: Engine) -> None:
    shop.do(engine, "register")
    shop.store = replace(shop.store, events={**shop.store.events, "order_placed": (), "order_paid": ()})
    shop.switch_off(PAID[shop.platform])
    assert shop.look(engine) == ""


def test_a_server_that_moved_is_looked_after_where_it_is_now(shop: Watched, engine: Engine) -> None:
    """What was registered last counts; the old address may have nobody any more."""
    shop.do(engine, "register")
    shop.do(engine, "register", base="http://127.0.0.1:19")
    shop.switch_off(PAID[shop.platform])
    shop.look(engine)
    paid = {url for topic, url in shop.active() if topic == PAID[shop.platform]}
    assert paid == {"http://127.0.0.1:19/webhooks/acme"}


def test_what_an_earlier_registration_made_is_taken_up_when_it_is_found(shop: Watched, engine: Engine) -> None:
    """As when the database was not there at first. What bears another's name is not."""
    admin, found = prepare(shop.store, shop.platform_object, NOWHERE, "register")
    list(apply_plan(found.lines, admin, SECRET))
    if shop.platform == "woocommerce":
        hook = next(each for each in shop.fake.webhooks.values() if each.topic == "customer.created")
        hook.name = "By hand"
    assert rows(engine, registered) == []
    shop.do(engine, "register")
    ours = {row.topic for row in rows(engine, registered)}
    needed = set(shop.administration.topics(shop.store))
    assert ours == (needed - {"customer.created"})


def test_a_shop_that_refuses_says_why_and_nothing_is_forgotten(woocommerce: Watched, engine: Engine) -> None:
    woocommerce.do(engine, "register")
    woocommerce.switch_off("order.updated")
    woocommerce.fake.permissions = "read"
    with pytest.raises(ShopApiError, match="Read/Write"):
        woocommerce.look(engine)
    woocommerce.fake.permissions = "read_write"
    assert "order.updated" in woocommerce.look(engine)
