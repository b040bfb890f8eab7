"""Orders, customers and notices in the shape of BigCommerce's documents, of invented shoppers."""

import json
from email.utils import format_datetime
from typing import Any

from connector.core.webhook import Request
from platforms.bigcommerce import platform
from tests.support.factories import SECRET


def an_order(number: int = 250, **changes: Any) -> dict[str, Any]:
    """An order as GET /v2/orders/{id} with its consignments returns it."""
    order: dict[str, Any] = {
        "id": number,
        "customer_id": 32,
        "date_created": "Mon, 23 Nov 2026 14:56:00 +0000",
        "date_modified": "Mon, 23 Nov 2026 14:56:40 +0000",
        "date_shipped": "",
        "status_id": 11,
        "status": "Awaiting Fulfillment",
        "custom_status": "Awaiting Fulfillment",
        "subtotal_ex_tax": "40.0000",
        "subtotal_inc_tax": "43.3000",
        "total_ex_tax": "45.0000",
        "total_inc_tax": "48.3000",
        "total_tax": "3.3000",
        "shipping_cost_ex_tax": "5.0000",
        "shipping_cost_tax": "0.0000",
        "handling_cost_ex_tax": "0.0000",
        "handling_cost_tax": "0.0000",
        "wrapping_cost_ex_tax": "0.0000",
        "wrapping_cost_tax": "0.0000",
        "is_tax_inclusive_pricing": False,
        "payment_method": "Credit Card",
        "payment_provider_id": "authorizenet",
        "payment_status": "captured",
        "refunded_amount": "0.0000",
        "ip_address": "203.0.113.9",
        "ip_address_v6": "",
        "currency_code": "USD",
        "default_currency_code": "USD",
        "cart_id": "a8458391-ef68-4fe5-9ec1-442e6a767364",
        "billing_address": {
            "first_name": "Ada",
            "last_name": "Byron",
            "company": "",
            "street_1": "455 Main Street",
            "city": "Austin",
            "state": "Texas",
            "zip": "78751",
            "country": "United States",
            "country_iso2": "US",
            "phone": "512-555-0123",
            "email": "ada@example.com",
        },
        "order_source": "www",
        "channel_id": 1,
        "external_source": None,
        "customer_locale": "en",
        "is_deleted": False,
        "consignments": {
            "pickups": [],
            "shipping": [
                {
                    "id": 99,
                    "first_name": "Ada",
                    "last_name": "Byron",
                    "city": "Austin",
                    "state": "Texas",
                    "zip": "78751",
                    "country_iso2": "US",
                    "phone": "512-555-0123",
                    "email": "ada@example.com",
                    "line_items": [a_line(65, 77, "TOWEL"), a_line(66, 78, "SOAP", 2, "10.0000", "10.8250")],
                }
            ],
            "downloads": [],
            "email": {"gift_certificates": []},
        },
    }
    return order | changes


def a_line(
    number: int,
    product: int,
    sku: str,
    quantity: int = 1,
    price: str = "20.0000",
    with_tax: str = "21.6500",
    **changes: Any,
) -> dict[str, Any]:
    """A line of an order; prices are of one unit."""
    line = {
        "id": number,
        "product_id": product,
        "variant_id": product + 1000,
        "sku": sku,
        "name": sku.title(),
        "type": "physical",
        "quantity": quantity,
        "price_ex_tax": price,
        "price_inc_tax": with_tax,
        "total_ex_tax": f"{float(price) * quantity:.4f}",
        "total_inc_tax": f"{float(with_tax) * quantity:.4f}",
        "discounted_total_inc_tax": f"{float(with_tax) * quantity:.4f}",
        "parent_order_product_id": None,
        "brand": "Fog",
    }
    return line | changes


def a_customer(number: int = 32, **changes: Any) -> dict[str, Any]:
    """A customer as GET /v3/customers with its addresses returns it."""
    customer = {
        "id": number,
        "email": "ada@example.com",
        "first_name": "Ada",
        "last_name": "Byron",
        "phone": "512-555-0123",
        "registration_ip_address": "203.0.113.9",
        "date_created": "2026-11-23T14:50:00Z",
        "addresses": [{"city": "Austin", "country_code": "US", "postal_code": "78751", "phone": "512-555-0123"}],
    }
    return customer | changes


def a_cart(ident: str = "a8458391-ef68-4fe5-9ec1-442e6a767364", **changes: Any) -> dict[str, Any]:
    """A guest's cart as GET /v3/carts/{id} returns it, with the e-mail address of the guest checkout."""
    towel = {"id": "1", "parent_id": None, "product_id": 77, "variant_id": 1077, "sku": "TOWEL", "name": "Towel"}
    cart = {
        "id": ident,
        "customer_id": 0,
        "email": "ada@example.com",
        "currency": {"code": "USD"},
        "tax_included": False,
        "base_amount": 40,
        "discount_amount": 0,
        "cart_amount": 36.5,
        "line_items": {
            "physical_items": [
                {**towel, "quantity": 2, "list_price": 20, "sale_price": 18.25, "extended_sale_price": 36.5},
            ],
            "digital_items": [],
            "gift_certificates": [],
            "custom_items": [],
        },
        "created_time": "2026-11-23T14:50:00+00:00",
        "updated_time": "2026-11-23T14:52:10+00:00",
        "locale": "en-US",
    }
    return cart | changes


def a_notice(scope: str = "store/order/created", number: Any = 250, **changes: Any) -> bytes:
    """The body of a webhook."""
    kind = scope.split("/")[1]
    body = {
        "producer": "stores/acme",
        "hash": "b12d7bd71915765f5c32d59039a8e57f0cc08cea",
        "created_at": 1795412160,
        "store_id": "1025646",
        "scope": scope,
        "data": {"type": kind, "id": number},
    }
    return json.dumps(body | changes).encode()


def a_request(body: bytes, at: Any, secret: str = SECRET) -> Request:
    """The signed request of a body."""
    return Request(platform.signed_headers(body, secret, at), body, at)


def mail_time(at: Any) -> str:
    """A time as v2 writes it."""
    return format_datetime(at)
