"""Saleor: webhooks with a subscription query, signed by the shop's private key or a secret, and sample webhooks."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from connector.plugin import (
    Event,
    OrderState,
    Platform,
    PlatformFacts,
    Request,
    ShopApiModule,
    Skipped,
    Store,
    Webhook,
)
from platforms.saleor import order_state, receive, translate

if TYPE_CHECKING:
    from connector.plugin.testing.samples import SamplesModule


class Saleor(Platform):
    """Saleor as a platform. https://docs.saleor.io/developer/extending/webhooks/overview"""

    name = "saleor"
    title = "Saleor"
    facts = PlatformFacts(
        content_id="sku",
        api_credentials=(("access_token",),),
        key_address="https://{shop}/.well-known/jwks.json",
        lost_deliveries="webhooks that Saleor cannot deliver in 6 attempts within 5 minutes are lost",
        placed_when="it is placed, confirmed or not",
        paid_when="it was charged in full",
        milestone_topics={
            "order_placed": ("order_created", "order_confirmed", "order_updated"),
            "order_paid": ("order_fully_paid", "order_updated"),
            "checkout_started": ("checkout_created", "checkout_updated"),
            "customer_registered": ("customer_created",),
        },
        webhooks_page="Extensions › the app › Create Webhook, with the query of docs/quickstart-saleor.md",
        signed_with="the webhook's secretKey; without one, remove webhook_secrets: its public keys are fetched",
        official_app=False,
        order_kinds=("web", "draft", "exchange", "api"),
        order_tags=False,
        bundle_parts=False,
        shop_currency=False,
        placeholders={
            "order": ("order_id", "order_number", "order_name", "checkout_token", "customer_id", "meta:KEY"),
            "checkout": ("checkout_token", "customer_id", "meta:KEY"),
            "customer": ("customer_id", "meta:KEY"),
        },
        hidden_webhooks="ignore this if you created them by hand: Saleor shows an app its own webhooks only",
        withheld=(
            "Saleor's app lacks a permission, so its orders name nobody; give it MANAGE_ORDERS, MANAGE_USERS and "
            "MANAGE_CHECKOUTS"
        ),
    )
    signature = receive.SIGNATURE
    event_topics = translate.TOPICS
    book_topics = order_state.BOOK_TOPICS

    def receive(self, request: Request, store: Store) -> Webhook:
        return receive.receive(request, store)

    def translate(self, webhook: Webhook, store: Store) -> Iterable[Event | Skipped]:
        return translate.translate(webhook, store)

    def order_state(self, webhook: Webhook, store: Store) -> OrderState | None:
        return order_state.order_state(webhook, store)

    def topic_of(self, request: Request) -> str:
        return receive.topic_of(request)

    def shop_of(self, request: Request) -> str:
        return receive.shop_of(request)

    @property
    def shop_api(self) -> ShopApiModule:
        """The GraphQL API; only `connect` loads its client."""
        from platforms.saleor import shop_api

        return shop_api

    @property
    def samples(self) -> "SamplesModule":
        """Webhooks of Saleor 3.23."""
        from platforms.saleor import samples

        return samples


platform = Saleor()
