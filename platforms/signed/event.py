"""The event that a shop of one's own sends, field by field: the source of docs/signed-event.schema.json.

`translate` reads each field by itself, so a wrong type in one that is not required costs only that field.
"""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

Text = Annotated[str, Meta(max_length=4096)]
Id = Annotated[str, Meta(min_length=1, max_length=255)]
Amount = Annotated[
    str,
    Meta(pattern=r"^-?[0-9]{1,12}(\.[0-9]{1,6})?$", description='In major units, as a text: "23.80", or "500" in JPY.'),
]
OptionalText = Text | UnsetType
OptionalId = Id | UnsetType
OptionalAmount = Amount | UnsetType


class Part(Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A table of the event. Fields that are not required are left out if they have no value."""


class Order(Part):
    """The order."""

    id: Annotated[str, Meta(min_length=1, max_length=255, description="The shop's id of the order. Required.")]
    number: Annotated[OptionalId, Meta(description="The number that the shopper knows; `events show` finds it.")] = (
        UNSET
    )
    kind: Annotated[
        Literal["web", "app", "b2b", "pos", "draft", "staff", "api", "renewal", "marketplace", "exchange"] | UnsetType,
        Meta(description='Where it comes from; "web" by default. orders.include says which are sent.'),
    ] = UNSET
    test: Annotated[bool | UnsetType, Meta(description="True for an order that tries the shop.")] = UNSET
    tags: Annotated[list[Text] | UnsetType, Meta(description="For orders.exclude_tags.")] = UNSET
    payment_methods: Annotated[
        list[Text] | UnsetType,
        Meta(description="Ids or names, for orders.exclude_gateways and orders.paid_when_placed."),
    ] = UNSET
    refunded: Annotated[
        OptionalAmount, Meta(description="What of the total was given back so far, in all. For stores with books.")
    ] = UNSET
    cancelled: Annotated[
        bool | UnsetType, Meta(description="True if nothing of the order is left. For stores with books.")
    ] = UNSET


class Checkout(Part):
    """The checkout that began, or that became the order."""

    token: Annotated[
        str, Meta(min_length=1, max_length=255, description="The shop's id of the checkout, hard to guess. Required.")
    ]


class Address(Part):
    """A postal address."""

    first_name: OptionalText = UNSET
    last_name: OptionalText = UNSET
    city: OptionalText = UNSET
    state: OptionalText = UNSET
    postcode: OptionalText = UNSET
    country: Annotated[
        Annotated[str, Meta(pattern="^[A-Za-z]{2}$")] | UnsetType, Meta(description="ISO 3166, such as DE.")
    ] = UNSET


class Customer(Part):
    """The shopper, in plain text; the connector hashes what TikTok wants hashed."""

    id: Annotated[OptionalId, Meta(description="The shop's id of the account. Required for customer_registered.")] = (
        UNSET
    )
    email: OptionalText = UNSET
    phone: Annotated[OptionalText, Meta(description="As typed, or better with the country's code: +49…")] = UNSET
    first_name: OptionalText = UNSET
    last_name: OptionalText = UNSET
    locale: Annotated[OptionalText, Meta(description="Language of the shop's page, such as de-DE.")] = UNSET
    address: Annotated[Address | UnsetType, Meta(description="The billing address.")] = UNSET
    shipping_address: Annotated[
        Address | UnsetType, Meta(description="Where the order goes; its country decides which privacy law applies.")
    ] = UNSET


class Item(Part):
    """One line of the order or cart."""

    product_id: OptionalId = UNSET
    variant_id: OptionalId = UNSET
    sku: Annotated[OptionalText, Meta(description="mapping.content_id says which of the three is sent.")] = UNSET
    name: OptionalText = UNSET
    brand: OptionalText = UNSET
    category: OptionalText = UNSET
    quantity: Annotated[Annotated[int, Meta(ge=1, le=1_000_000)] | UnsetType, Meta(description="1 by default.")] = UNSET
    price: Annotated[OptionalAmount, Meta(description="Of one unit, as paid.")] = UNSET


class Breakdown(Part):
    """The parts of the total, for mapping.value and mapping.value_excludes: after discounts and without tax."""

    goods: OptionalAmount = UNSET
    goods_tax: OptionalAmount = UNSET
    gift_cards: Annotated[OptionalAmount, Meta(description="Bought, not paid with.")] = UNSET
    shipping: OptionalAmount = UNSET
    shipping_tax: OptionalAmount = UNSET
    fees: OptionalAmount = UNSET
    fees_tax: OptionalAmount = UNSET
    tips: OptionalAmount = UNSET
    duties: OptionalAmount = UNSET
    priced_with_tax: Annotated[bool | UnsetType, Meta(description="True if items.price includes tax.")] = UNSET


class Browser(Part):
    """The shopper's browser, as the shop knows it: the request in which the order was placed, and its cookies."""

    ip: OptionalText = UNSET
    user_agent: OptionalText = UNSET
    ttclid: Annotated[OptionalText, Meta(description="The click id of the landing page's address.")] = UNSET
    ttp: Annotated[OptionalText, Meta(description="The cookie _ttp.")] = UNSET
    url: Annotated[OptionalText, Meta(description="The page: where it happened, or where the visit began.")] = UNSET
    referrer: OptionalText = UNSET
    consent: Annotated[
        bool | UnsetType, Meta(description="The shopper's answer to advertising; leave it out if nobody has asked.")
    ] = UNSET


class SignedEvent(Part):
    """An event of platform = "signed". One request carries one event."""

    type: Annotated[
        Literal["order_placed", "order_paid", "order_updated", "checkout_started", "customer_registered"],
        Meta(
            description="What happened. An order is sent twice: when it is placed, and when it is paid. Later changes "
            "of it, order_updated, are for stores with books; TikTok does not get them."
        ),
    ]
    occurred_at: Annotated[
        datetime, Meta(tz=True, description="When it happened: 2026-11-24T10:00:00Z. Not when it is sent.")
    ]
    shop: Annotated[OptionalText, Meta(description="The shop's host; an event of another shop is parked.")] = UNSET
    order: Annotated[Order | UnsetType, Meta(description="Required for events of orders.")] = UNSET
    checkout: Annotated[Checkout | UnsetType, Meta(description="Required for checkout_started.")] = UNSET
    customer: Customer | UnsetType = UNSET
    currency: Annotated[
        Annotated[str, Meta(pattern="^[A-Za-z]{3}$")] | UnsetType, Meta(description="ISO 4217, such as EUR.")
    ] = UNSET
    total: Annotated[
        OptionalAmount, Meta(description="What the shopper pays, with tax and shipping, before refunds.")
    ] = UNSET
    breakdown: Breakdown | UnsetType = UNSET
    items: list[Item] | UnsetType = UNSET
    browser: Browser | UnsetType = UNSET
    meta: Annotated[
        dict[str, str] | UnsetType,
        Meta(description="Values for {meta:KEY} in event_id and external_id, and for consent_source.key."),
    ] = UNSET


def schema() -> bytes:
    """Return the JSON Schema of the event, as docs/signed-event.schema.json has it."""
    found = msgspec.json.schema(SignedEvent)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": 'Event of platform = "signed"'}
    return msgspec.json.format(msgspec.json.encode(head | found), indent=2) + b"\n"
