"""Translation of Stripe's completed checkout sessions. https://docs.stripe.com/api/checkout/sessions/object"""

from collections.abc import Iterator, Mapping
from decimal import Decimal

from connector.plugin import (
    Address,
    Customer,
    Event,
    InvalidPayload,
    Json,
    Skipped,
    Store,
    TotalBreakdown,
    Webhook,
    identifier,
    json_object,
    minor_units,
    present,
    query_parameter,
    scalar_text,
    text,
    texts,
    unix_time,
)
from msgspec.structs import replace

COMPLETED = "checkout.session.completed"
PAID_LATER = "checkout.session.async_payment_succeeded"
TOPICS = frozenset({COMPLETED, PAID_LATER})

# Stripe writes amounts of these two with two decimals that are always 00, and MGA without any.
# https://docs.stripe.com/currencies#special-cases https://docs.stripe.com/currencies#zero-decimal
_AS_HUNDREDTHS = frozenset({"ISK", "UGX"})
_AS_UNITS = frozenset({"MGA"})


def translate(webhook: Webhook, store: Store) -> Iterator[Event | Skipped]:
    """Translate a session. Raises InvalidPayload for anything else, "thin" events of API v2 among it."""
    body = json_object(webhook.data)
    session = json_object(json_object(body.get("data")).get("object"))
    created, session_id = unix_time(body.get("created")), identifier(session.get("id"))
    if text(session.get("object")) != "checkout.session" or not session_id or created is None:
        raise InvalidPayload("expected a snapshot event with a checkout session (not a thin event of API v2)")
    if text(session.get("mode")) == "setup":
        return  # a card is stored, nothing is bought
    person, meta = json_object(session.get("customer_details")), _metadata(session)
    reference = identifier(session.get("client_reference_id"))
    ids = present(
        order_id=session_id,
        order_number=reference,
        order_name=reference,
        checkout_token=reference or session_id,
        customer_id=_reference(session.get("customer")),
        **store.placeholder_values("meta", lambda key: meta.get(key, "")),
    )
    status = text(session.get("payment_status"))
    if status == "no_payment_required" and session.get("amount_total") is None:
        yield Skipped("order_placed", "nothing was bought (no_payment_required, without a total)", ids)
        return
    placed = Event(
        milestone="order_placed",
        occurred_at=created,
        ids=ids,
        customer=_customer(person, session, meta),
        kind="app" if text(session.get("origin_context")) == "mobile_app" else "web",
        gateways=texts(session.get("payment_method_types")),
        test=session.get("livemode") is False,
        page_url=meta.get("landing_page", ""),
        **_money(session, store),
    )
    if webhook.topic == COMPLETED:
        yield placed
    if webhook.topic == PAID_LATER or status == "paid" or store.orders.counts_as_paid(placed.gateways):
        yield replace(placed, milestone="order_paid")


def _money(session: Json, store: Store) -> dict[str, object]:
    """Return currency and total. A session's items are never in the webhook: https://docs.stripe.com/api/expanding_objects"""
    currency = text(session.get("currency")).upper()
    details, shipping = json_object(session.get("total_details")), json_object(session.get("shipping_cost"))

    def amount(value: object) -> Decimal | None:
        return minor_units(value, "JPY" if currency in _AS_UNITS else "EUR" if currency in _AS_HUNDREDTHS else currency)

    found: dict[str, object] = {"currency": currency, "total": amount(session.get("amount_total"))}
    if store.mapping.needs_breakdown:
        subtotal, discount = amount(session.get("amount_subtotal")), amount(details.get("amount_discount"))
        found["breakdown"] = TotalBreakdown(
            goods=None if subtotal is None or discount is None else subtotal - discount,
            tax=amount(details.get("amount_tax")),
            shipping=amount(shipping.get("amount_subtotal")) if shipping else Decimal(0),
            shipping_tax=amount(shipping.get("amount_tax")) if shipping else Decimal(0),
            gift_cards=Decimal(0),
            fees=Decimal(0),
            fees_tax=Decimal(0),
            tips=Decimal(0),
            duties=Decimal(0),
        )
    return found


def _customer(person: Json, session: Json, meta: Mapping[str, str]) -> Customer:
    address = _address(person.get("address"), person.get("name"))
    collected = json_object(json_object(session.get("collected_information")).get("shipping_details"))
    sent_to = collected or json_object(session.get("shipping_details"))  # the name of it before 2025-03-31
    destination = _address(sent_to.get("address"), sent_to.get("name"))
    email, phone = text(person.get("email")) or text(session.get("customer_email")), text(person.get("phone"))
    return Customer(
        id=_reference(session.get("customer")),
        emails=(email,) if email else (),
        phones=((phone, address.country),) if phone else (),
        first_name=address.first_name,
        last_name=address.last_name,
        address=address,
        destination=destination if destination.country else address,
        ip=meta.get("ip", ""),
        user_agent=meta.get("user_agent", ""),
        ttclid=meta.get("ttclid", "") or query_parameter(meta.get("landing_page", ""), "ttclid"),
        ttp=meta.get("ttp", ""),
    )


def _address(value: object, name: object) -> Address:
    fields = json_object(value)
    first, _, last = text(name).rpartition(" ")
    return Address(
        first_name=first,
        last_name=last,
        city=text(fields.get("city")),
        state=text(fields.get("state")),
        postcode=text(fields.get("postal_code")),
        country=text(fields.get("country")),
    )


def _metadata(session: Json) -> dict[str, str]:
    """Return what the site wrote when it made the session: ttclid, ttp, ip, user_agent, landing_page, consent."""
    return {key: found for key, value in json_object(session.get("metadata")).items() if (found := scalar_text(value))}


def _reference(value: object) -> str:
    """Return the id of an object that may be expanded."""
    return identifier(value) or identifier(json_object(value).get("id"))
