"""Shopify: webhooks, Admin API, custom pixel and sample webhooks."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from connector.plugin import (
    DataRequest,
    Event,
    OrderRefund,
    OrderState,
    Platform,
    PlatformFacts,
    Request,
    ShopApiModule,
    Skipped,
    SnippetModule,
    Store,
    Webhook,
)
from platforms.shopify import order_state, receive, translate

if TYPE_CHECKING:
    from connector.plugin.testing.samples import SamplesModule

_CHECKOUT_IDS = ("checkout_token", "cart_token", "customer_id", "attribute:KEY")


class Shopify(Platform):
    """Shopify as a platform. https://shopify.dev/docs/apps/build/webhooks"""

    name = "shopify"
    title = "Shopify"
    facts = PlatformFacts(
        content_id="variant_id",
        shop_suffix=".myshopify.com",
        shop_error="must be the shop's name with Shopify, NAME.myshopify.com; its own domain belongs in url",
        api_credentials=(("access_token",), ("client_id", "client_secret")),
        signals=True,
        shared_url=True,
        lost_deliveries="webhooks that Shopify cannot deliver in 8 attempts within 4 hours are lost",
        placed_when="it is placed, paid or not",
        paid_when="it is fully paid",
        paid_statuses=translate.PAID,
        placeholders={
            "order": ("order_id", "order_number", "order_name", *_CHECKOUT_IDS),
            "checkout": _CHECKOUT_IDS,
            "customer": ("customer_id",),
        },
        milestone_topics={
            "order_placed": ("orders/create",),
            "order_paid": ("orders/paid", "orders/updated"),
            "checkout_started": ("checkouts/create", "checkouts/update"),
            "customer_registered": ("customers/create", "customers/enable"),
        },
        webhooks_page="Settings › Notifications › Webhooks, format JSON",
        signed_with="the page Settings › Notifications › Webhooks, or for an app its client secret",
        withheld=(
            "Shopify withholds personal data, so its orders hardly match anybody; in the Dev Dashboard give the app "
            "access to protected customer data, with name, e-mail, phone and address, and release the version"
        ),
        hidden_webhooks="ignore this if you created them by hand: Shopify does not list those",
    )
    signature = receive.SIGNATURE
    event_topics = translate.TOPICS
    book_topics = order_state.BOOK_TOPICS
    recorded_topics = translate.RECORDED

    def receive(self, request: Request, store: Store) -> Webhook:
        return receive.receive(request, store)

    def translate(self, webhook: Webhook, store: Store) -> Iterable[Event | Skipped | DataRequest]:
        return translate.translate(webhook, store)

    def order_state(self, webhook: Webhook, store: Store) -> OrderState | OrderRefund | None:
        return order_state.order_state(webhook, store)

    def topic_of(self, request: Request) -> str:
        return receive.topic_of(request)

    def shop_of(self, request: Request) -> str:
        return receive.shop_of(request)

    @property
    def shop_api(self) -> ShopApiModule:
        """The Admin API; only `connect` loads its client, the package ShopifyAPI."""
        from platforms.shopify import shop_api

        return shop_api

    @property
    def snippet(self) -> SnippetModule:
        """The custom pixel for Settings › Customer events."""
        from platforms.shopify import snippet

        return snippet

    @property
    def samples(self) -> "SamplesModule":
        """Webhooks of API version 2026-04."""
        from platforms.shopify import samples

        return samples


platform = Shopify()
