"""Stores, their orders, and the text of a stores file: what most tests begin with, and change where it matters."""

import json
import random
from collections.abc import Mapping
from typing import Any

from connector.core.store import EventIdTemplates, MappingSettings, Pixel, Store
from connector.setup.samples import webhooks

SECRET = "whsec_example_0123456789"
CODE, OTHER_CODE = "CABCDEFGHIJKLMNOPQR0", "CABCDEFGHIJKLMNOPQR1"
PLAIN_EVENT_IDS = EventIdTemplates("{order_id}", "{checkout_token}", "{customer_id}")
OF_PLATFORM: Mapping[str, dict[str, Any]] = {
    "bigcommerce": {"domain": "{name}", "content_id": "product_id", "placed": "store/order/created"},
    "shopify": {"domain": "{name}.myshopify.com", "content_id": "variant_id", "placed": "orders/create"},
    "saleor": {"domain": "api.{name}.example", "content_id": "sku", "placed": "order_created"},
    "shopline": {"domain": "{name}.myshopline.com", "content_id": "variant_id", "placed": "orders/create"},
    "signed": {"domain": "{name}.example", "content_id": "sku", "placed": "order_placed"},
    "woocommerce": {"domain": "{name}.example", "content_id": "sku", "placed": "order.created"},
}


def event_ids(name: str) -> EventIdTemplates:
    """The templates that the settings give a store of this name."""
    return EventIdTemplates(
        f"{name}-order-{{order_id}}", f"{name}-checkout-{{checkout_token}}", f"{name}-customer-{{customer_id}}"
    )


def a_store(platform: str = "shopify", name: str = "acme", **changes: Any) -> Store:
    """A store with one pixel that asks for no consent; `changes` are fields of `Store`."""
    facts = OF_PLATFORM[platform]
    values: dict[str, Any] = {
        "name": name,
        "platform": platform,
        "url": f"https://{name}.example",
        "shops": (facts["domain"].format(name=name),),
        "webhook_secrets": (SECRET,),
        "pixels": (Pixel(CODE, "token"),),
        "consent": "not_required",
        "event_id": event_ids(name),
        "mapping": MappingSettings(content_id=facts["content_id"]),
    }
    return Store(**(values | changes))


def an_order(store: Store, topic: str = "", seed: int = 1) -> tuple[bytes, dict[str, str]]:
    """Body and headers of the signed webhook of a new order, or of another topic."""
    return next(webhooks(store, [topic or OF_PLATFORM[store.platform]["placed"]], 1, random.Random(seed)))


def a_stores_file(*stores: str, **defaults: Any) -> str:
    """The text of a stores file: sections of `a_section`, by default a Shopify store `acme` and a WooCommerce `beans`.

    `defaults` are keys of [defaults]; a value is text, or anything that reads the same in Python and TOML.
    """
    values = {
        "consent": "not_required",
        "country": "US",
        "webhook_secrets": [SECRET],
        "access_token": "token-example",
    } | defaults
    chosen = stores or (a_section(), a_section("woocommerce", "beans"))
    return "\n".join([f"[defaults]\n{_lines(values)}", *chosen])


def a_section(platform: str = "shopify", name: str = "acme", **changes: Any) -> str:
    """A store's section of a stores file; a key whose value is None is left out."""
    values = {
        "platform": platform,
        "url": f"https://{name}.example",
        "shop": OF_PLATFORM[platform]["domain"].format(name=name),
        "pixel": a_pixel_code(name),
    } | changes
    return f"[stores.{name}]\n{_lines(values)}"


def a_pixel_code(name: str) -> str:
    """Twenty characters, as TikTok's pixel codes have."""
    return f"C{name.upper()}".ljust(20, "0")


def _lines(values: Mapping[str, Any]) -> str:
    written = {key: _toml(value) for key, value in values.items() if value is not None}
    return "".join(f"{key} = {text}\n" for key, text in written.items())


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)  # a string of JSON is one of TOML
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(member)}" for key, member in value.items()) + " }"
    return f"[{', '.join(map(_toml, value))}]" if isinstance(value, list) else str(value)
