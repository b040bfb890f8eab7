"""The shop system Example, invented: a template for a platform of your own.

Its webhooks are an envelope, {"event": …, "shop": …, "data": …}, signed by HMAC-SHA256 over the raw body, in hex.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from connector.plugin import BodySignature, Event, Platform, PlatformFacts, Request, Skipped, Store, Webhook, body_text
from connector.plugin import host

from connector_example import translate

if TYPE_CHECKING:
    from connector.plugin.testing.samples import SamplesModule


class Example(Platform):
    """Link the vendor's page about webhooks here."""

    name = "example"  # as in `platform = "example"`, and in the entry point
    title = "Example"
    signature = BodySignature("X-Example-Signature", ("hex",), prefix="sha256=")
    facts = PlatformFacts(
        content_id="sku",
        lost_deliveries="webhooks that Example cannot deliver in 5 attempts within an hour are lost",
        placed_when="it is placed, paid or not",
        paid_when="it has a date of payment",
        order_kinds=("web", "staff"),
        order_tags=False,
        bundle_parts=False,
        shop_currency=False,
        placeholders={
            "order": ("order_id", "order_number", "order_name", "checkout_token", "customer_id"),
            "checkout": ("checkout_token", "customer_id"),
            "customer": ("customer_id",),
        },
    )
    event_topics = translate.TOPICS

    def translate(self, webhook: Webhook, store: Store) -> Iterator[Event | Skipped]:
        """Translate a verified webhook."""
        return translate.translate(webhook, store)

    def topic_of(self, request: Request) -> str:
        """Return the topic, which is in the signed body."""
        return body_text(request.body, "event")

    def shop_of(self, request: Request) -> str:
        """Return the shop's host, in the signed body, too."""
        return host(body_text(request.body, "shop"))

    @property
    def samples(self) -> "SamplesModule":
        """Loaded by `simulate`, `demo` and the conformance kit only."""
        from connector_example import samples  # noqa: PLC0415

        return samples

    @property
    def recordings(self) -> Path:
        """Read by the conformance kit only."""
        return Path(__file__).parent / "recordings"


platform = Example()
