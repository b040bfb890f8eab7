"""Privacy webhooks that Shopify requires of every app, and the removal of the app.

https://shopify.dev/docs/apps/build/compliance/privacy-law-compliance
https://shopify.dev/docs/api/admin-rest/latest/resources/shop (the body of app/uninstalled)
"""

from connector.plugin import (
    DataRequest,
    InvalidPayload,
    Json,
    Store,
    Webhook,
    host,
    json_object,
    numeric_id,
    text,
)

_SHAPES: dict[str, frozenset[str]] = {
    "customers/data_request": frozenset({"shop_id", "shop_domain", "customer", "orders_requested", "data_request"}),
    "customers/redact": frozenset({"shop_id", "shop_domain", "customer", "orders_to_redact"}),
    "shop/redact": frozenset({"shop_id", "shop_domain"}),
}
_SHOP = frozenset({"id", "name", "email", "domain", "myshopify_domain"})
DATA_REQUEST_TOPICS = frozenset(_SHAPES) | {"app/uninstalled"}


def data_request(webhook: Webhook, body: Json, store: Store) -> DataRequest:
    """Read the data request in a body of one of DATA_REQUEST_TOPICS. Raises InvalidPayload.

    The topic is an unsigned header and an erasure cannot be undone, so a body must have exactly its topic's fields and
    name this shop. Any other body is parked for a person to check.
    """
    topic = webhook.topic
    if topic == "app/uninstalled":
        return _uninstalled(webhook, body, store)
    _require(set(body) == _SHAPES[topic], topic, f"its fields are not exactly {', '.join(sorted(_SHAPES[topic]))}")
    _require(bool(numeric_id(body["shop_id"])), topic, "its shop_id is not an id")
    _require(host(body["shop_domain"]) in store.shops, topic, "its shop_domain is another shop's")
    if topic == "shop/redact":
        return DataRequest("erase_store")
    orders = "orders_to_redact" if topic == "customers/redact" else "orders_requested"
    _require(isinstance(body[orders], list), topic, f"its {orders} is not a list")
    order_ids = tuple(dict.fromkeys(numeric_id(found) for found in body[orders]))
    _require(all(order_ids), topic, f"its {orders} contains a value that is not an id")
    customer = json_object(body["customer"])
    request = DataRequest(
        what="erase_person" if topic == "customers/redact" else "export",
        customer_id=numeric_id(customer.get("id")),
        emails=_optional(customer.get("email")),
        phones=_optional(customer.get("phone")),
        order_ids=order_ids,
    )
    named = (request.customer_id, request.emails, request.phones, order_ids)
    _require(any(named), topic, "it names no person")
    if request.what == "export":
        _require(bool(numeric_id(json_object(body["data_request"]).get("id"))), topic, "its data_request has no id")
    return request


def _uninstalled(webhook: Webhook, body: Json, store: Store) -> DataRequest:
    """Read an app/uninstalled body: the shop itself. Its fields vary by version; Shopify's sample lacks the domain."""
    topic = webhook.topic
    _require(set(body) >= _SHOP, topic, "it is not a shop: fields are missing")
    _require(
        not {"line_items", "shop_domain", "customer"} & set(body), topic, "it is not a shop: it has fields of an order"
    )
    _require(bool(numeric_id(body["id"])), topic, "its id is not an id")
    named = host(body["myshopify_domain"]) or webhook.shop
    _require(named in store.shops, topic, "its myshopify_domain is another shop's")
    return DataRequest("uninstalled")


def _optional(value: object) -> tuple[str, ...]:
    found = text(value)
    return (found,) if found else ()


def _require(condition: bool, topic: str, why: str) -> None:
    if not condition:
        raise InvalidPayload(f"expected a {topic} body: {why}")
