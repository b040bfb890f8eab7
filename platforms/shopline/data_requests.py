"""Privacy webhooks, which SHOPLINE sends to the address in an app's settings, and the removal of the app.

https://developer.shopline.com/docs/apps/api-instructions-for-use/webhooks/gdpr-webhook
https://developer.shopline.com/docs/webhook/customers/delete-customer-data-gdpr-specification
"""

from connector.plugin import DataRequest, Json, Store, Webhook, identifier, json_object, text
from connector.plugin.privacy_topics import person_request, require, require_fields, require_shop
from platforms.shopline import contact

ERASE_CUSTOMER, ERASE_SHOP, INSTALLED = "customers/redact", "merchants/redact", "apps/installed_uninstalled"
DATA_REQUEST_TOPICS = frozenset({ERASE_CUSTOMER, ERASE_SHOP, INSTALLED})
_CUSTOMER = frozenset({"shop_id", "shop_domain", "customer", "orders_to_redact"})
_SHOP = frozenset({"store_id", "store_domain"})
_TIME = frozenset({"update_time"})
_INSTALLED = frozenset({"appkey", "handle", "operate", "store_id"})


def data_requests(webhook: Webhook, body: Json, store: Store) -> tuple[DataRequest, ...]:
    """Read a body of one of DATA_REQUEST_TOPICS; () for an app that was installed. Raises InvalidPayload."""
    topic = webhook.topic
    if topic == INSTALLED:
        return _installed(body, topic, store)
    if topic == ERASE_SHOP:
        require_fields(body, topic, _SHOP, _TIME)
        require(bool(identifier(body["store_id"])), topic, "its store_id is not an id")
        require_shop(body, topic, "store_domain", store)
        return (DataRequest("erase_store"),)
    require_fields(body, topic, _CUSTOMER, _TIME)
    require(bool(identifier(body["shop_id"])), topic, "its shop_id is not an id")
    require_shop(body, topic, "shop_domain", store)
    # orders_to_redact has numbers as the merchant writes them (#72348), not ids: the person's orders are found by the
    # customer's id, e-mail and phone.
    require(isinstance(body["orders_to_redact"], list), topic, "its orders_to_redact is not a list")
    customer = json_object(body["customer"])
    known = {"email": contact.email(customer.get("email")), "phone": contact.phone(customer.get("phone"))}
    return (person_request("erase_person", topic, known, identifier(customer.get("id"))),)


def _installed(body: Json, topic: str, store: Store) -> tuple[DataRequest, ...]:
    require(body.keys() >= _INSTALLED, topic, "fields are missing")
    require(f"{text(body['handle'])}.myshopline.com".lower() in store.shops, topic, "its handle is another shop's")
    operation = text(body["operate"]).upper()
    require(operation in ("INSTALL", "UNINSTALL"), topic, "its operate is neither INSTALL nor UNINSTALL")
    return (DataRequest("uninstalled"),) if operation == "UNINSTALL" else ()
