"""Shops without webhooks of their own (PrestaShop, Magento, Medusa, a shop of one's own): our event, as signed JSON."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from connector.plugin import (
    Event,
    OrderState,
    Platform,
    PlatformFacts,
    Request,
    StandardWebhooks,
    Store,
    Webhook,
    body_text,
    host,
)
from platforms.signed import order_state, translate

if TYPE_CHECKING:
    from connector.plugin.testing.samples import SamplesModule


class Signed(Platform):
    """Any shop that sends the event of docs/signed-event.schema.json. https://www.standardwebhooks.com"""

    name = "signed"
    title = "Signed events"
    signature = StandardWebhooks()
    facts = PlatformFacts(
        content_id="sku",
        consent_key=translate.CONSENT,
        lost_deliveries="events that the sender does not repeat while this server is down are lost",
        placed_when="an order_placed event is sent",
        paid_when="an order_paid event is sent",
        milestone_topics={milestone: (milestone,) for milestone in translate.TOPICS},
        signed_with="the settings of your own sender",
        bundle_parts=False,
        shop_currency=False,
        placeholders={
            "order": ("order_id", "order_number", "order_name", "checkout_token", "customer_id", "meta:KEY"),
            "checkout": ("checkout_token", "customer_id", "meta:KEY"),
            "customer": ("customer_id", "meta:KEY"),
        },
    )
    event_topics = frozenset(translate.TOPICS)
    book_topics = order_state.BOOK_TOPICS
    recorded_topics = frozenset({translate.UNKNOWN})

    def translate(self, webhook: Webhook, store: Store) -> Iterable[Event]:
        return translate.translate(webhook, store)

    def order_state(self, webhook: Webhook, store: Store) -> OrderState | None:
        return order_state.order_state(webhook, store)

    def topic_of(self, request: Request) -> str:
        # An event of a misspelt type is parked, not ignored, so that the sender's author sees it.
        found = body_text(request.body, "type")
        return found if found in self.event_topics | self.book_topics else translate.UNKNOWN

    def shop_of(self, request: Request) -> str:
        return host(body_text(request.body, "shop"))

    def delivery_of(self, request: Request) -> str:
        return self.signature.delivery(request)

    @property
    def samples(self) -> "SamplesModule":
        """Events with every field."""
        from platforms.signed import samples

        return samples


platform = Signed()
