"""Stripe Checkout and Payment Links: the checkout of a site without a shop system.

An example of a package outside the connector, written from docs/adding-a-platform.md and the template.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from connector.plugin import Event, Platform, PlatformFacts, Request, Skipped, Store, TimedSignature, Webhook, body_text
from connector_stripe import translate

if TYPE_CHECKING:
    from connector.plugin.testing.samples import SamplesModule


class Stripe(Platform):
    """Stripe's webhook events of the type checkout.session. https://docs.stripe.com/webhooks"""

    name = "stripe"
    title = "Stripe Checkout"
    # The key is the whole text of the secret, "whsec_" included: https://docs.stripe.com/webhooks/signature
    signature = TimedSignature("Stripe-Signature")
    facts = PlatformFacts(
        content_id="sku",
        shop_id="[a-z0-9_-]+",
        shop_error="must be the account, acct_…, or any word: only events of Connect name an account",
        lost_deliveries="events that Stripe cannot deliver within 3 days are lost",
        placed_when="the checkout is completed, paid or not",
        paid_when="the checkout is completed and paid, or a later payment has succeeded",
        milestones=("order_placed", "order_paid"),
        order_kinds=("web", "app", "renewal"),
        order_tags=False,
        bundle_parts=False,
        shop_currency=False,
        placeholders={"order": ("order_id", "order_number", "order_name", "checkout_token", "customer_id", "meta:KEY")},
    )
    event_topics = translate.TOPICS

    def translate(self, webhook: Webhook, store: Store) -> Iterable[Event | Skipped]:
        """Translate a verified event."""
        return translate.translate(webhook, store)

    def topic_of(self, request: Request) -> str:
        """Return the event's type, which is in the signed body."""
        return body_text(request.body, "type")

    def shop_of(self, request: Request) -> str:
        """Return the connected account, which only events of Connect name."""
        return body_text(request.body, "account").lower()

    def delivery_of(self, request: Request) -> str:
        """Return the event's id, which a repeated delivery keeps."""
        return body_text(request.body, "id")

    @property
    def samples(self) -> "SamplesModule":
        """Events of completed sessions."""
        from connector_stripe import samples  # noqa: PLC0415

        return samples

    @property
    def recordings(self) -> Path:
        """Events of the documented forms, signed by the documented rule; none comes from a real account."""
        return Path(__file__).parent / "recordings"


platform = Stripe()
