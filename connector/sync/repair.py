"""Repair of webhooks: those that the connector created and the shop has removed, disabled or broken are created again.

Webhooks created by hand, or by an app's configuration file, are only reported. Raises ShopApiError, CannotStore.
"""

import hashlib
import logging
from collections.abc import Sequence

from connector.core.shop_api import ShopApi, ShopApiModule, Subscription
from connector.core.store import Store
from connector.outbox.ledger import Decision
from connector.outbox.outbox import Outbox
from connector.sync.registered_webhooks import RegisteredWebhooks
from connector.sync.registration import goes_to, same_url

log = logging.getLogger("connector.sync.repair")


class WebhookRepair:
    """Repairs the webhooks that are recorded as created by the connector."""

    def __init__(self, outbox: Outbox, registered: RegisteredWebhooks) -> None:
        self._outbox = outbox
        self._registered = registered

    def repair(self, store: Store, module: ShopApiModule, shop_api: ShopApi, now: float) -> str:
        """Repair a store's webhooks; return what was or is wrong in a sentence, or "". `now` is Unix seconds."""
        existing = shop_api.subscriptions()
        registered, errors = self._registered.of(store.name), self._registered.broken(store.name, now)
        repaired: list[str] = []
        missing: list[str] = []
        broken: list[str] = []
        for topic in module.topics(store):
            recorded = registered.get(topic)
            of_topic = [webhook for webhook in existing if webhook.topic == topic]
            in_place = any(webhook.active and _is_for(webhook, store, recorded) for webhook in of_topic)
            if in_place and topic not in errors:
                continue
            if recorded:
                self._replace(store, recorded, existing, shop_api, now, errors.get(topic, "") if in_place else "")
                repaired.append(topic)
            elif in_place:
                broken.append(topic)
            elif module.SEES_ALL or any(goes_to(webhook.url, store) for webhook in of_topic):
                missing.append(topic)
        return _sentence(store, repaired, missing, broken)

    def _replace(
        self,
        store: Store,
        recorded: Subscription,
        existing: Sequence[Subscription],
        shop_api: ShopApi,
        now: float,
        error: str,
    ) -> None:
        """Create a webhook, then delete the old one: reactivating it would keep its count of failures, or its `error`.

        One whose address or topic was changed in the shop is no longer the connector's, and is not deleted.
        """
        fresh = shop_api.subscribe(recorded.topic, recorded.url, store.signing_secret)
        self._registered.remember(store.name, fresh, now)
        old = next((webhook for webhook in existing if webhook.id == recorded.id), None)
        why = error or ("the shop had disabled it" if old else "the shop had removed it")
        if old and (old.topic != recorded.topic or not same_url(old.url, recorded.url)):
            why = "somebody had changed its address or topic; left as it is"
        elif old:
            shop_api.unsubscribe(old)
        log.warning("webhook registered again: %s", why, extra={"store": store.name, "topic": recorded.topic})
        self._outbox.record(
            Decision(
                store=store.name,
                topic=recorded.topic,
                body_sha256=hashlib.sha256(f"repair {fresh.id} {now}".encode()).digest(),
                received_at=now,
                delivery="repair",
                outcome="recorded",
                reason=f"the webhook was registered again: {why}",
            )
        )


def _is_for(webhook: Subscription, store: Store, recorded: Subscription | None) -> bool:
    """Return whether a webhook serves the store: at the address of `recorded`, or without it at any of the store's."""
    return same_url(webhook.url, recorded.url) if recorded else goes_to(webhook.url, store)


def _sentence(store: Store, repaired: Sequence[str], missing: Sequence[str], broken: Sequence[str]) -> str:
    parts = []
    if repaired:
        parts.append(
            f"the shop had removed, disabled, changed or broken its webhooks for {', '.join(repaired)}; they were "
            "registered again, and the events they missed are fetched; if it happens again, check that the shop "
            "reaches the connector and gets status 200"
        )
    if missing:
        parts.append(
            f"the shop has no active webhook for {', '.join(missing)}; activate it in the shop's settings, or run "
            f"`connector webhooks register {store.name}`"
        )
    if broken:
        parts.append(
            f"the shop's webhooks for {', '.join(broken)} deliver errors; run `connector webhooks register "
            f"{store.name}`, which replaces them"
        )
    return f"store {store.name}: {'; also, '.join(parts)}" if parts else ""
