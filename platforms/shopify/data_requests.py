"""What Shopify asks of an app by law, and that a shop has let it go.

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
DEMANDS = frozenset(_SHAPES) | {"app/uninstalled"}


def data_request(webhook: Webhook, body: Json, store: Store) -> DataRequest:
    """What a body of these topics asks for. Raises InvalidPayload.

    The topic is an unsigned header, and what is asked for cannot be undone: a body must have its topic's exact shape,
    nothing less and nothing more, and name this shop. Anything else is for a person to look at.
    """
    topic = webhook.topic
    if topic == "app/uninstalled":
        return _uninstalled(webhook, body, store)
    _require(set(body) == _SHAPES[topic], topic, f"its fields are not exactly {', '.join(sorted(_SHAPES[topic]))}")
    _require(bool(numeric_id(body["shop_id"])), topic, "its shop_id is no id")
    _require(host(body["shop_domain"]) in store.shops, topic, "its shop_domain is another shop's")
    if topic == "shop/redact":
        return DataRequest("erase_store")
    orders = "orders_to_redact" if topic == "customers/redact" else "orders_requested"
    _require(isinstance(body[orders], list), topic, f"its {orders} is no list")
    order_ids = tuple(dict.fromkeys(numeric_id(found) for found in body[orders]))
    _require(all(order_ids), topic, f"its {orders} has something else than ids")
    customer = json_object(body["customer"])
    demand = DataRequest(
        what="erase_person" if topic == "customers/redact" else "export",
        customer_id=numeric_id(customer.get("id")),
        emails=_known(customer.get("email")),
        phones=_known(customer.get("phone")),
        order_ids=order_ids,
    )
    named = (demand.customer_id, demand.emails, demand.phones, order_ids)
    _require(any(named), topic, "it names nobody")
    if demand.what == "export":
        _require(bool(numeric_id(json_object(body["data_request"]).get("id"))), topic, "its data_request has no id")
    return demand


def _uninstalled(webhook: Webhook, body: Json, store: Store) -> DataRequest:
    """The body is the shop itself, whose fields change with every version; Shopify's sample has no domain in it."""
    topic = webhook.topic
    _require(set(body) >= _SHOP, topic, "it is no shop: fields are missing")
    _require(not {"line_items", "shop_domain", "customer"} & set(body), topic, "it is no shop: it is about an order")
    _require(bool(numeric_id(body["id"])), topic, "its id is no id")
    named = host(body["myshopify_domain"]) or webhook.shop
    _require(named in store.shops, topic, "its myshopify_domain is another shop's")
    return DataRequest("uninstalled")


def _known(value: object) -> tuple[str, ...]:
    found = text(value)
    return (found,) if found else ()


def _require(met: bool, topic: str, why: str) -> None:
    if not met:
        raise InvalidPayload(f"the body is not exactly a {topic}: {why}")
