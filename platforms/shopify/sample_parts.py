"""Parts that Shopify's sample webhooks have in common: money, products, people, addresses, times."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal

from connector.plugin import Store
from connector.plugin.testing.shoppers import Basket, Journey, Line, rounded, shop_currency

GID = "gid://shopify"

# Shopify writes times with the shop's UTC offset; this shop is in New York, in winter.
_SHOP_TIME = timezone(timedelta(hours=-5))

Body = dict[str, object]


@dataclass(frozen=True, slots=True)
class CurrencyPair:
    """The basket in two currencies: the shop's and the one that the shopper sees."""

    shop: Basket
    shown: Basket

    def money(self, pick: Callable[[Basket], Decimal]) -> Body:
        """Return an amount as Shopify's `…_set`."""
        return {
            name: {"amount": amount_text(pick(basket), basket.currency), "currency_code": basket.currency}
            for name, basket in (("shop_money", self.shop), ("presentment_money", self.shown))
        }

    def text(self, pick: Callable[[Basket], Decimal]) -> str:
        """Return an amount in the shop's currency, as in the fields without `_set`."""
        return amount_text(pick(self.shop), self.shop.currency)

    def both(self, name: str, pick: Callable[[Basket], Decimal]) -> Body:
        """Return the field and its `_set`."""
        return {name: self.text(pick), f"{name}_set": self.money(pick)}


def price_basket(journey: Journey, store: Store) -> CurrencyPair:
    """Return the journey's basket in the store's currency and in the shopper's."""
    return CurrencyPair(journey.basket(shop_currency(store.country)), journey.basket(journey.currency))


def zero(basket: Basket) -> Decimal:
    """Return 0: the amount of what this order does not have."""
    return Decimal(0)


def amount_text(amount: Decimal, currency: str) -> str:
    """Format an amount as Shopify does: "12.50", but "1250" for yen."""
    return str(rounded(amount, currency))


def shop_time(moment: datetime) -> str:
    """Format a time in whole seconds with the shop's UTC offset."""
    return moment.astimezone(_SHOP_TIME).isoformat(timespec="seconds")


def product_fields(line: Line) -> Body:
    """Return the fields that identify a product, the same in orders and checkouts."""
    return {
        "product_id": 8_140_000_000_000 + line.product.number,
        "variant_id": 44_370_000_000_000 + line.product.number,
        "sku": line.product.sku,
        "title": line.product.title,
        "variant_title": line.product.option or None,
        "vendor": "Fjord & Fern",
    }


def tax_lines(journey: Journey, baskets: CurrencyPair, pick: Callable[[Basket], Decimal]) -> list[Body]:
    """Return the tax of the shopper's country as the only line, or no line."""
    country = journey.person.country
    if not country.tax_rate:
        return []
    rate = {"rate": float(country.tax_rate), "title": country.tax_name, "channel_liable": False}
    return [{"price": baskets.text(pick), "price_set": baskets.money(pick), **rate}]


def address(journey: Journey) -> Body:
    """Return an address as orders and checkouts contain it."""
    person = journey.person
    return {
        "first_name": person.first_name,
        "address1": person.street,
        "phone": person.phone,
        "city": person.place.city,
        "zip": person.place.zip,
        "province": person.place.region or None,
        "country": person.country.name,
        "last_name": person.last_name,
        "address2": None,
        "company": None,
        "latitude": None,
        "longitude": None,
        "name": f"{person.first_name} {person.last_name}",
        "country_code": person.country.code,
        "province_code": person.place.region_code or None,
    }


def saved_address(journey: Journey) -> Body:
    """Return the same address as the customer's account contains it."""
    person, place = journey.person, journey.person.place
    return {
        "id": journey.number("address"),
        "customer_id": journey.customer_id,
        "first_name": person.first_name,
        "last_name": person.last_name,
        "company": None,
        "address1": person.street,
        "address2": None,
        "city": place.city,
        "province": place.region or None,
        "country": person.country.name,
        "zip": place.zip,
        "phone": person.phone,
        "name": f"{person.first_name} {person.last_name}",
        "province_code": place.region_code or None,
        "country_code": person.country.code,
        "country_name": person.country.name,
        "default": True,
    }


def customer(journey: Journey, store: Store) -> Body:
    """Return a customer as orders and checkouts contain it, with an account opened at the end of the journey."""
    person = journey.person
    return {
        "id": journey.customer_id,
        "created_at": shop_time(journey.now),
        "updated_at": shop_time(journey.now),
        "first_name": person.first_name,
        "last_name": person.last_name,
        "state": "enabled",
        "note": None,
        "verified_email": True,
        "multipass_identifier": None,
        "tax_exempt": False,
        "email": person.email,
        "phone": None,
        "currency": shop_currency(store.country),
        "tax_exemptions": [],
        "admin_graphql_api_id": f"{GID}/Customer/{journey.customer_id}",
        "default_address": saved_address(journey),
    }


def origin(journey: Journey) -> Body:
    """Return the landing page, as a path without the host, and the referring site."""
    path = f"/products/{journey.picks[0][0].handle}"
    return {
        "landing_site": f"{path}?{journey.landing_query}" if journey.ttclid else path,
        "referring_site": "https://www.tiktok.com/" if journey.ttclid else "",
    }


def note_attributes(journey: Journey, store: Store) -> list[Body]:
    """Return what a theme's script stores in the cart: click id, cookie and, if the store reads it, consent."""
    attributes = {"ttclid": journey.ttclid, "_ttp": journey.ttp}
    for granted in store.consent_source.granted[:1] if store.consent_source.key else ():
        attributes[store.consent_source.key] = granted
    return [{"name": name, "value": value} for name, value in attributes.items() if value]


def shop_id(store: Store) -> int:
    """Return an id derived from this shop's domain."""
    return 50_000_000_000 + int(hashlib.sha256(store.shops[0].encode()).hexdigest(), 16) % 40_000_000_000


def shop(journey: Journey, store: Store) -> Body:
    """Return the body of app/uninstalled, the shop. Its domains can be null, so only the header names it."""
    currency = shop_currency(store.country)
    money = f"{{{{amount}}}} {currency}"
    null_fields = (
        *("address2", "auto_configure_tax_inclusivity", "county_taxes", "created_at", "domain"),
        *("google_apps_domain", "google_apps_login_enabled", "iana_timezone", "latitude", "longitude"),
        *("myshopify_domain", "password_enabled", "source", "tax_shipping", "taxes_included", "updated_at"),
    )
    return {
        "id": shop_id(store),
        "name": "Fjord & Fern",
        "email": "shop@example.com",
        "customer_email": "shop@example.com",
        "shop_owner": "Fern Fjordsen",
        "phone": "",
        "address1": "1 Quince Street",
        "city": "Boston",
        "zip": "02118",
        "province": "Massachusetts",
        "province_code": "MA",
        "country": "US",
        "country_code": "US",
        "country_name": "United States",
        "currency": currency,
        "enabled_presentment_currencies": [currency],
        **dict.fromkeys(("money_format", "money_in_emails_format"), "{{amount}}"),
        **dict.fromkeys(("money_with_currency_format", "money_with_currency_in_emails_format"), money),
        "plan_name": "basic",
        "plan_display_name": "Basic",
        "primary_locale": "en",
        "primary_location_id": shop_id(store) + 1,
        "timezone": "(GMT-05:00) Eastern Time (US & Canada)",
        "weight_unit": "kg",
        **dict.fromkeys(("checkout_api_supported", "eligible_for_payments", "finances"), True),
        **dict.fromkeys(("has_storefront", "has_gift_cards", "multi_location_enabled"), True),
        **dict.fromkeys(("has_discounts", "marketing_sms_consent_enabled_at_checkout"), False),
        **dict.fromkeys(("pre_launch_enabled", "requires_extra_payments_agreement"), False),
        **dict.fromkeys(("setup_required", "transactional_sms_disabled"), False),
        **dict.fromkeys(null_fields),
    }
