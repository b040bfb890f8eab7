"""Webhooks whose owner was deleted in the shop: every delivery is an error, and yet they look healthy."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from connector.core.units import DAY, HOUR
from connector.monitoring.problems import ProblemFinder
from connector.outbox.outbox import Outbox
from connector.storage.database import Database
from connector.storage.tables import ledger, parked
from connector.sync.reconcile import Reconciler
from connector.sync.registered_webhooks import RegisteredWebhooks
from connector.sync.registration import apply_plan, prepare
from tests.support.fakes.living import SECRET, Clock, Living, server
from tests.support.outbox_rows import rows
from tests.support.platforms import PLATFORMS

ORDER_TOPICS = {"order.created", "order.updated"}


class Orphaned(Living):
    """A WooCommerce shop of which somebody deletes the user who registered the webhooks."""

    def __init__(self) -> None:
        super().__init__("woocommerce", Clock())
        self.store = replace(self.store, reconcile=timedelta(minutes=15))

    def delete_owner(self) -> None:
        for hook in self.fake.webhooks.values():
            hook.orphaned = True

    def by_hand(self, address: str) -> None:
        for topic in ("order.created", "order.updated", "customer.created", "action.wc_tiktok_initiate_checkout"):
            self.fake.hook(topic, f"{address}/webhooks/acme", SECRET)

    def told(self, engine: Engine) -> dict[str, str]:
        finder = ProblemFinder(Database(engine), {"acme": self.store})
        Outbox(Database(engine)).heartbeat("one", self.clock.now)
        return {problem.key: problem.sentence for problem in finder.find(self.clock.now)}

    def states(self, engine: Engine, address: str) -> dict[str, set[str]]:
        """What `webhooks list` says, by topic."""
        broken = RegisteredWebhooks(Database(engine)).broken("acme", self.clock.now)
        _, found = prepare(self.store, self.platform_object, address, "list", broken)
        states: dict[str, set[str]] = {}
        for line in found.lines:
            states.setdefault(line.topic, set()).add(line.state)
        return states

    def heal(self, engine: Engine) -> bool:
        self.clock.now += 900
        healer = Reconciler(
            {"acme": self.store}, PLATFORMS, {"woocommerce": self.administration}, Database(engine), "one", self.clock
        )
        return healer.visit(self.store)


@pytest.fixture
def shop() -> Iterator[Orphaned]:
    shop = Orphaned()
    with shop.fake:
        yield shop


@pytest.mark.slow
def test_it_is_named_alerted_and_repaired_by_the_guardian(shop: Orphaned, engine: Engine) -> None:
    """The new webhooks belong to the keys' user, and deliver; what was missed is fetched."""
    with server(shop.store, Outbox(Database(engine))) as address:
        shop.register(engine, address)
        shop.delete_owner()
        before = {hook.id for hook in shop.fake.webhooks.values() if hook.topic in ORDER_TOPICS}
        shop.place()
        assert {row.topic for row in rows(engine, parked)} == ORDER_TOPICS
        (told,) = shop.told(engine).items()
        assert told[0] == "broken:acme"
        assert "webhooks for order.created, order.updated deliver no data" in told[1]
        assert "the user who owns the webhook was deleted or lost their rights" in told[1]
        assert "`connector webhooks register acme` replaces them" in told[1]
        assert shop.heal(engine)
        now = {hook.id for hook in shop.fake.webhooks.values() if hook.topic in ORDER_TOPICS}
        assert len(now) == 2
        assert now.isdisjoint(before)
        assert rows(engine, parked) == []
        repairs = [line.reason for line in rows(engine, ledger) if line.delivery == "repair"]
        assert len(repairs) == 2
        assert all("the user who owns the webhook was deleted" in reason for reason in repairs)
        assert shop.told(engine) == {}
        shop.place()
        assert rows(engine, parked) == []
        again = {hook.id for hook in shop.fake.webhooks.values()}
        assert shop.heal(engine)
        assert {hook.id for hook in shop.fake.webhooks.values()} == again


@pytest.mark.slow
def test_register_replaces_those_that_were_made_by_hand(shop: Orphaned, engine: Engine) -> None:
    """The guardian only reports them; `list` and `register` do not take them for healthy."""
    with server(shop.store, Outbox(Database(engine))) as address:
        shop.by_hand(address)
        shop.delete_owner()
        shop.place()
        hooks = set(shop.fake.webhooks)
        shop.heal(engine)
        assert set(shop.fake.webhooks) == hooks
        assert shop.states(engine, address)["order.updated"] == {"broken", "missing"}
        assert shop.states(engine, address)["customer.created"] == {"in place"}
        registered = RegisteredWebhooks(Database(engine))
        broken = registered.broken("acme", shop.clock.now)
        admin, found = prepare(shop.store, shop.platform_object, address, "register", broken)
        for line in apply_plan(found.lines, admin, SECRET):
            registered.note("acme", line, shop.clock.now)
        assert shop.states(engine, address)["order.updated"] == {"in place"}
        assert len(shop.fake.webhooks) == len(hooks)
        assert shop.told(engine) == {}


@pytest.mark.slow
def test_it_lasts_as_long_as_errors_come(shop: Orphaned, engine: Engine) -> None:
    """Each is the same body, which is parked once: the last one's time counts, also if an older release parked it."""
    outbox = Outbox(Database(engine))
    with server(shop.store, outbox) as address:
        shop.by_hand(address)
        shop.delete_owner()
        shop.place()
        with engine.begin() as connection:
            connection.execute(sa.update(parked).values(parked_at=shop.clock.now - 3 * DAY, reason="as it was called"))
        assert shop.told(engine) == {}
        shop.place()
        assert set(shop.told(engine)) == {"broken:acme"}
        assert len(rows(engine, parked)) == 2


@pytest.mark.slow
def test_it_is_over_with_the_first_data(shop: Orphaned, engine: Engine) -> None:
    """Made anew by hand in the shop, of which nobody tells us; otherwise a day after the last error."""
    with server(shop.store, Outbox(Database(engine))) as address:
        shop.by_hand(address)
        shop.delete_owner()
        shop.place()
        assert "broken:acme" in shop.told(engine)
        for hook in shop.fake.webhooks.values():
            hook.orphaned = False
        with engine.begin() as connection:
            connection.execute(sa.update(parked).values(parked_at=parked.c.parked_at - 2 * HOUR))
        assert "broken:acme" in shop.told(engine)
        shop.place()
        assert "broken:acme" not in shop.told(engine)
    with engine.begin() as connection:
        connection.execute(sa.delete(ledger))
    shop.clock.now += 2 * DAY
    assert "broken:acme" not in shop.told(engine)
