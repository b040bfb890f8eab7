"""BigCommerce: webhooks that only name what changed, and the API by which orders and customers are fetched."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from connector.plugin import (
    Event,
    Notice,
    OrderState,
    Platform,
    PlatformFacts,
    Request,
    ShopApiModule,
    Skipped,
    Store,
    Webhook,
)
from platforms.bigcommerce import order_state, receive, translate

if TYPE_CHECKING:
    from connector.plugin.testing.samples import SamplesModule


class BigCommerce(Platform):
    """BigCommerce as a platform. https://developer.bigcommerce.com/docs/integrations/webhooks"""

    name = "bigcommerce"
    title = "BigCommerce"
    facts = PlatformFacts(
        thin=True,
        content_id="product_id",
        shop_id="[a-z0-9]{4,20}",
        shop_error='must be the store hash, like "abc123" in https://store-abc123.mybigcommerce.com',
        api_credentials=(("access_token",),),
        api_url=True,
        lost_deliveries="webhooks that BigCommerce cannot deliver in 12 attempts within 48 hours are lost",
        placed_when="it is neither incomplete nor pending, cancelled or declined",
        paid_when="its payment was captured, or its status is shipped, completed or awaiting its fulfillment",
        milestone_topics={
            "order_placed": (translate.ORDER,),
            "order_paid": (translate.ORDER,),
            "checkout_started": (translate.CART,),
            "customer_registered": (translate.CUSTOMER,),
        },
        signed_with="the client secret of the store-level API account",
        order_kinds=("web", "app", "staff", "api", "pos", "marketplace"),
        order_tags=False,
        bundle_parts=False,
        shop_currency=False,
        placeholders={
            "order": ("order_id", "order_number", "order_name", "checkout_token", "customer_id"),
            "checkout": ("checkout_token",),
            "customer": ("customer_id",),
        },
        hidden_webhooks="ignore this if another API account made them: BigCommerce shows an account its own only",
        withheld="the orders name nobody; see that the API account may read orders and customers",
    )
    signature = receive.SIGNATURE
    event_topics = translate.TOPICS
    notice_topics = receive.SCOPES

    def translate(self, webhook: Webhook, store: Store) -> Iterable[Event | Skipped]:
        return translate.translate(webhook, store)

    def notice(self, webhook: Webhook, store: Store) -> Notice | None:
        return receive.notice(webhook, store)

    def order_state(self, webhook: Webhook, store: Store) -> OrderState | None:
        return order_state.order_state(webhook, store)

    def topic_of(self, request: Request) -> str:
        return receive.topic_of(request)

    def shop_of(self, request: Request) -> str:
        return receive.shop_of(request)

    def delivery_of(self, request: Request) -> str:
        return receive.delivery_of(request)

    @property
    def shop_api(self) -> ShopApiModule:
        """The REST API; only `connect` loads its client."""
        from platforms.bigcommerce import shop_api

        return shop_api

    @property
    def samples(self) -> "SamplesModule":
        """Notices, and what the API answers them with."""
        from platforms.bigcommerce import samples

        return samples


platform = BigCommerce()
