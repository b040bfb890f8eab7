"""The guardian: webhooks that we made in a shop, and that it has removed or switched off, are made again.

Those that were made by hand, or by an app's own file, are only reported. Raises ShopApiError, CannotStore.
"""

import hashlib
import logging
from collections.abc import Sequence

from connector.core.shop_api import ShopApi, ShopApiModule, Subscription
from connector.core.store import Store
from connector.outbox.ledger import Decision
from connector.outbox.outbox import Outbox
from connector.sync.registered_webhooks import RegisteredWebhooks
from connector.sync.registration import goes_to, same_place

log = logging.getLogger("connector.sync.repair")


class WebhookRepair:
    """Looks after the webhooks that are remembered as ours."""

    def __init__(self, outbox: Outbox, registered: RegisteredWebhooks) -> None:
        self._outbox = outbox
        self._ours = registered

    def look(self, store: Store, administration: ShopApiModule, shop_api: ShopApi, now: float) -> str:
        """Repair what is ours; what was or is wrong, in a sentence, or "". `now` in Unix seconds."""
        there = shop_api.subscriptions()
        ours = self._ours.of(store.name)
        made: list[str] = []
        missed: list[str] = []
        for topic in administration.topics(store):
            mine = ours.get(topic)
            if any(one.topic == topic and one.active and _is_for(one, store, mine) for one in there):
                continue
            if mine:
                self._make_again(store, mine, there, shop_api, now)
                made.append(topic)
            elif administration.SEES_ALL or any(one.topic == topic and goes_to(one.url, store) for one in there):
                missed.append(topic)
        return _sentence(store, made, missed)

    def _make_again(
        self, store: Store, mine: Subscription, there: Sequence[Subscription], shop_api: ShopApi, now: float
    ) -> None:
        """A new one, then away with the old: setting it active again would keep its count of failures."""
        fresh = shop_api.subscribe(mine.topic, mine.url, store.webhook_secrets[0])
        self._ours.remember(store.name, fresh, now)
        old = next((one for one in there if one.id == mine.id), None)
        if old:
            shop_api.unsubscribe(old)
        why = "the shop had switched it off" if old else "it was no longer there"
        log.warning("webhook made again: %s", why, extra={"store": store.name, "topic": mine.topic})
        self._outbox.record(
            Decision(
                store=store.name,
                topic=mine.topic,
                body_sha256=hashlib.sha256(f"guardian {fresh.id} {now}".encode()).digest(),
                received_at=now,
                delivery="guardian",
                outcome="recorded",
                reason=f"the webhook was registered again: {why}",
            )
        )


def _is_for(one: Subscription, store: Store, mine: Subscription | None) -> bool:
    """Whether this webhook serves the store: at the address that ours had, or, if there was none, at any of it."""
    return same_place(one.url, mine.url) if mine else goes_to(one.url, store)


def _sentence(store: Store, made: Sequence[str], missed: Sequence[str]) -> str:
    said = []
    if made:
        said.append(
            f"the shop had removed or switched off its webhooks for {', '.join(made)}; they are registered again and "
            "what they missed is fetched; if it happens again, see what the shop is answered"
        )
    if missed:
        said.append(
            f"the shop has no active webhook for {', '.join(missed)}, and none of ours was there; activate it in the "
            f"shop's settings, or let `connector webhooks register {store.name}` make it"
        )
    return f"store {store.name}: {'; also, '.join(said)}" if said else ""
