"""The public interface for platform packages: this module, `connector.plugin.snippet` and `connector.plugin.testing`.

A platform imports nothing else of the connector. Every platform loads this module, so it imports no web framework, no
database and no HTTP client.
"""

from connector.core.currencies import TIKTOK_CURRENCIES
from connector.core.event import (
    PERSONAL_DATA_WITHHELD,
    Address,
    Bundle,
    Customer,
    DataRequest,
    Event,
    Item,
    OrderKind,
    Skipped,
    TimeSource,
    TotalBreakdown,
)
from connector.core.json_fields import (
    Json,
    host,
    identifier,
    json_object,
    json_objects,
    money,
    numeric_id,
    parse_time,
    present,
    query_parameter,
    safe_to_quote,
    scalar_text,
    text,
    texts,
    whole_quantity,
)
from connector.core.platform import Platform, PlatformFacts
from connector.core.shop_api import ApiCheck, Page, ShopApi, ShopApiError, ShopApiModule, Subscription
from connector.core.signature import sign, verify
from connector.core.snippet import SnippetModule
from connector.core.store import ApiKeys, MappingSettings, Store
from connector.core.webhook import BrokenWebhook, InvalidPayload, InvalidSignature, Request, Webhook

__all__ = [
    "PERSONAL_DATA_WITHHELD",
    "TIKTOK_CURRENCIES",
    "Address",
    "ApiCheck",
    "ApiKeys",
    "BrokenWebhook",
    "Bundle",
    "Customer",
    "DataRequest",
    "Event",
    "InvalidPayload",
    "InvalidSignature",
    "Item",
    "Json",
    "MappingSettings",
    "OrderKind",
    "Page",
    "Platform",
    "PlatformFacts",
    "Request",
    "ShopApi",
    "ShopApiError",
    "ShopApiModule",
    "Skipped",
    "SnippetModule",
    "Store",
    "Subscription",
    "TimeSource",
    "TotalBreakdown",
    "Webhook",
    "host",
    "identifier",
    "json_object",
    "json_objects",
    "money",
    "numeric_id",
    "parse_time",
    "present",
    "query_parameter",
    "safe_to_quote",
    "scalar_text",
    "sign",
    "text",
    "texts",
    "verify",
    "whole_quantity",
]
