"""SHOPLINE: webhooks and Admin REST API of the Open Platform (*.myshopline.com), and sample webhooks."""

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
    Store,
    Webhook,
)
from platforms.shopline import order_state, receive, translate

if TYPE_CHECKING:
    from connector.plugin.testing.samples import SamplesModule

_CHECKOUT_IDS = ("checkout_token", "cart_token", "customer_id", "attribute:KEY")


class Shopline(Platform):
    """SHOPLINE's Open Platform. https://developer.shopline.com/docs/webhooks/overview

    Shops at *.shoplineapp.com have another API and other webhooks, which this platform does not read.
    """

    name = "shopline"
    title = "SHOPLINE"
    signature = receive.SIGNATURE
    facts = PlatformFacts(
        content_id="variant_id",
        shop_suffix=".myshopline.com",
        shop_error="must be the shop's name with SHOPLINE, NAME.myshopline.com; its own domain belongs in url",
        api_credentials=(("access_token",),),
        lost_deliveries="webhooks that SHOPLINE cannot deliver in 19 attempts within 48 hours are lost",
        placed_when="it is placed, paid or not",
        paid_when="it is fully paid",
        paid_statuses=translate.PAID,
        milestone_topics={
            "order_placed": ("orders/create",),
            "order_paid": ("orders/paid", "orders/updated"),
            "checkout_started": ("checkouts/create", "checkouts/update"),
            "customer_registered": ("customers/create", "customers/enable"),
        },
        webhooks_page="Apps › Develop an app › the app's webhooks, version v20260301",
        signed_with="the app's page under Apps › Develop an app: the app secret",
        hidden_webhooks="ignore this if you created them by hand: SHOPLINE shows an app its own webhooks only",
        withheld="the orders name nobody; see that the app may read orders and customers",
        order_kinds=("web", "pos", "draft", "renewal", "b2b"),
        bundle_parts=False,
        placeholders={
            "order": ("order_id", "order_number", "order_name", *_CHECKOUT_IDS),
            "checkout": _CHECKOUT_IDS,
            "customer": ("customer_id",),
        },
    )
    event_topics = translate.TOPICS
    recorded_topics = translate.RECORDED
    book_topics = order_state.BOOK_TOPICS

    def translate(self, webhook: Webhook, store: Store) -> Iterable[Event | Skipped | DataRequest]:
        return translate.translate(webhook, store)

    def order_state(self, webhook: Webhook, store: Store) -> OrderState | OrderRefund | None:
        return order_state.order_state(webhook, store)

    def topic_of(self, request: Request) -> str:
        return receive.topic_of(request)

    def shop_of(self, request: Request) -> str:
        return receive.shop_of(request)

    def delivery_of(self, request: Request) -> str:
        return receive.delivery_of(request)

    @property
    def shop_api(self) -> ShopApiModule:
        """The Admin REST API; only `connect` loads its client."""
        from platforms.shopline import shop_api

        return shop_api

    @property
    def samples(self) -> "SamplesModule":
        """Webhooks of version v20260301."""
        from platforms.shopline import samples

        return samples


platform = Shopline()
