"""WooCommerce: webhooks, REST API, plugin and sample webhooks."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from connector.plugin import (
    Event,
    Handshake,
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
from platforms.woocommerce import order_state, receive, translate

if TYPE_CHECKING:
    from connector.plugin.testing.samples import SamplesModule


class WooCommerce(Platform):
    """WooCommerce as a platform. https://woocommerce.com/document/webhooks/"""

    name = "woocommerce"
    title = "WooCommerce"
    facts = PlatformFacts(
        content_id="sku",
        api_credentials=(("consumer_key", "consumer_secret"),),
        lost_deliveries="webhooks that WooCommerce sends while this server is down are lost",
        placed_when="it is placed (on-hold, processing, …)",
        paid_when="the shop has its date of payment",
        milestone_topics={
            "order_placed": ("order.created",),
            "order_paid": ("order.updated",),
            "checkout_started": ("action.wc_tiktok_initiate_checkout",),
            "customer_registered": ("customer.created",),
        },
        webhooks_page="WooCommerce › Settings › Advanced › Webhooks, API version WP REST API Integration v3",
        signed_with="each webhook's own field Secret, the same for all",
        order_kinds=("web", "staff", "api", "pos", "renewal"),
        order_tags=False,
        bundle_parts=False,
        shop_currency=False,
        placeholders={
            "order": ("order_id", "order_number", "order_name", "customer_id", "meta:KEY"),
            "checkout": ("checkout_token", "customer_id", "meta:KEY"),
            "customer": ("customer_id", "meta:KEY"),
        },
    )
    signature = receive.SIGNATURE
    event_topics = translate.TOPICS
    book_topics = order_state.BOOK_TOPICS

    def receive(self, request: Request, store: Store) -> Webhook | Handshake:
        return receive.receive(request, store)

    def translate(self, webhook: Webhook, store: Store) -> Iterable[Event | Skipped]:
        return translate.translate(webhook, store)

    def order_state(self, webhook: Webhook, store: Store) -> OrderState | OrderRefund | None:
        return order_state.order_state(webhook, store)

    def topic_of(self, request: Request) -> str:
        return receive.topic_of(request)

    def shop_of(self, request: Request) -> str:
        return receive.shop_of(request)

    @property
    def shop_api(self) -> ShopApiModule:
        """The REST API; only `connect` loads its client, the package woocommerce."""
        from platforms.woocommerce import shop_api

        return shop_api

    @property
    def snippet(self) -> SnippetModule:
        """The plugin for wp-content/mu-plugins."""
        from platforms.woocommerce import snippet

        return snippet

    @property
    def samples(self) -> "SamplesModule":
        """Webhooks of the REST API v3."""
        from platforms.woocommerce import samples

        return samples


platform = WooCommerce()
