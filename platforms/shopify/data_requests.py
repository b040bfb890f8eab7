"""Privacy webhooks that Shopify requires of every app, and the removal of the app.

https://shopify.dev/docs/apps/build/compliance/privacy-law-compliance
https://shopify.dev/docs/api/admin-rest/latest/resources/shop (the body of app/uninstalled)
"""

from connector.plugin import DataRequest, DataRequestKind, Json, Store, Webhook, host, json_object, numeric_id
from connector.plugin.privacy_topics import person_request, require, require_fields, require_shop

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
    require_fields(body, topic, _SHAPES[topic])
    require(bool(numeric_id(body["shop_id"])), topic, "its shop_id is not an id")
    require_shop(body, topic, "shop_domain", store)
    if topic == "shop/redact":
        return DataRequest("erase_store")
    orders = "orders_to_redact" if topic == "customers/redact" else "orders_requested"
    require(isinstance(body[orders], list), topic, f"its {orders} is not a list")
    order_ids = tuple(dict.fromkeys(numeric_id(found) for found in body[orders]))
    require(all(order_ids), topic, f"its {orders} contains a value that is not an id")
    customer_id = numeric_id(json_object(body["customer"]).get("id"))
    what: DataRequestKind = "erase_person" if topic == "customers/redact" else "export"
    request = person_request(what, topic, body["customer"], customer_id, order_ids)
    if what == "export":
        require(bool(numeric_id(json_object(body["data_request"]).get("id"))), topic, "its data_request has no id")
    return request


def _uninstalled(webhook: Webhook, body: Json, store: Store) -> DataRequest:
    """Read an app/uninstalled body: the shop itself. Its fields vary by version; Shopify's sample lacks the domain."""
    topic = webhook.topic
    require(set(body) >= _SHOP, topic, "it is not a shop: fields are missing")
    require(
        not {"line_items", "shop_domain", "customer"} & set(body), topic, "it is not a shop: it has fields of an order"
    )
    require(bool(numeric_id(body["id"])), topic, "its id is not an id")
    named = host(body["myshopify_domain"]) or webhook.shop
    require(named in store.shops, topic, "its myshopify_domain is another shop's")
    return DataRequest("uninstalled")
