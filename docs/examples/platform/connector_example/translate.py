"""Translation of Example's webhooks into events. Link the vendor's page about the bodies here."""

from collections.abc import Iterator

from connector.plugin import Address, Customer, Event, InvalidPayload, Item, Json, Skipped, Store, Webhook, identifier
from connector.plugin import json_object, json_objects, minor_units, parse_time, phone_number, present, text
from connector.plugin import whole_quantity
from msgspec.structs import replace

ORDER_TOPICS = frozenset({"order.placed", "order.paid"})
TOPICS = ORDER_TOPICS | {"checkout.started", "customer.registered"}


def translate(webhook: Webhook, store: Store) -> Iterator[Event | Skipped]:
    """Translate a body by its topic. Raises InvalidPayload if it is not what the topic promises: it is parked."""
    data = json_object(json_object(webhook.data).get("data"))
    if webhook.topic in ORDER_TOPICS:
        yield from _order(webhook, data, store)
    elif webhook.topic == "checkout.started":
        yield _checkout(data)
    else:
        yield _registration(data)


def _order(webhook: Webhook, order: Json, store: Store) -> Iterator[Event | Skipped]:
    order_id, placed_at = identifier(order.get("id")), parse_time(order.get("placed_at"))
    if not order_id or placed_at is None:
        raise InvalidPayload(f"expected an order body for topic {webhook.topic}")
    number, customer = identifier(order.get("number")), _customer(order)
    ids = present(
        order_id=order_id,
        order_number=number,
        order_name=number,
        checkout_token=identifier(order.get("checkout")),
        customer_id=customer.id,
    )
    if order.get("cancelled") is True:
        yield Skipped("order_placed", "the order was already cancelled when first seen", ids)
        return
    gateway = text(order.get("payment_method"))
    placed = Event(
        milestone="order_placed",
        occurred_at=placed_at,
        ids=ids,
        customer=customer,
        kind="staff" if order.get("by_staff") is True else "web",
        gateways=(gateway,) if gateway else (),
        **_money(order),
    )
    yield placed
    # An order can come in any state and sequence: each webhook of a paid one says both. The outbox keeps each once.
    paid_at = parse_time(order.get("paid_at"))
    if paid_at or store.orders.counts_as_paid(placed.gateways):
        yield replace(placed, milestone="order_paid", occurred_at=paid_at or placed_at)


def _checkout(checkout: Json) -> Event:
    token, began = identifier(checkout.get("token")), parse_time(checkout.get("began_at"))
    if not token or began is None:
        raise InvalidPayload("expected a checkout body: token or began_at is missing")
    customer = _customer(checkout)
    ids = present(checkout_token=token, customer_id=customer.id)
    return Event("checkout_started", began, ids, customer, **_money(checkout))


def _registration(account: Json) -> Event:
    customer = _customer({"customer": account})
    registered = parse_time(account.get("registered_at"))
    if not customer.id or registered is None:
        raise InvalidPayload("expected a customer body: id or registered_at is missing")
    return Event("customer_registered", registered, {"customer_id": customer.id}, customer)


def _money(body: Json) -> dict[str, object]:
    """Return currency, total and items. Example writes amounts in the smallest unit: 4450 is 44.50 EUR."""
    currency = text(body.get("currency")).upper()
    items = (
        Item(
            sku=text(row.get("sku")),
            name=text(row.get("title")),
            quantity=whole_quantity(row.get("count")),
            price=minor_units(row.get("unit_price"), currency),
        )
        for row in json_objects(body.get("lines"))
    )
    return {"currency": currency, "total": minor_units(body.get("total"), currency), "items": tuple(items)}


def _customer(body: Json) -> Customer:
    person, browser = json_object(body.get("customer")), json_object(body.get("browser"))
    where, country = json_object(person.get("address")), text(json_object(person.get("address")).get("country"))
    email, phone = text(person.get("email")), phone_number(person.get("phone_code"), person.get("phone"))
    address = Address(city=text(where.get("city")), postcode=text(where.get("zip")), country=country)
    return Customer(
        id=identifier(person.get("id")),
        emails=(email,) if email else (),
        phones=((phone, country),) if phone else (),
        first_name=text(person.get("first_name")),
        last_name=text(person.get("last_name")),
        address=address,
        destination=address,
        ip=text(browser.get("ip")),
        user_agent=text(browser.get("user_agent")),
        ttclid=text(browser.get("ttclid")),
        ttp=text(browser.get("ttp")),
    )
