"""Invented shoppers and their purchases, from which platforms build sample webhooks.

Nobody here exists. E-mail addresses are at the example domains of RFC 2606; for phone numbers see `countries.py`.
Randomness and time are parameters: the same seed and time give the same journey.
"""

import base64
import hashlib
import ipaddress
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from connector.core.currencies import minor_digits
from connector.plugin.testing.countries import COUNTRIES, Country, Place

_EMAIL_DOMAINS = ("example.com", "example.org", "example.net")
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_TTCLID_SHARE = 0.6  # share of shoppers who came through an ad
_V6_SHARE = 0.15  # share of shoppers with an IPv6 address
_FREE_SHIPPING_FROM = Decimal("120")  # USD
_SHIPPING = Decimal("5.99")  # USD

# One US dollar in each currency; plausible rates, not current ones.
_RATES = {"USD": "1", "CAD": "1.37", "GBP": "0.79", "EUR": "0.92", "JPY": "150", "BRL": "5.4", "KWD": "0.31"}

# First octets and first /16 blocks of access providers; the rest of an address is random.
_V4_FIRST = (24, 47, 67, 71, 73, 76, 81, 82, 86, 90, 91, 109, 126, 133, 177, 179, 187, 189, 201, 217)
_V6_FIRST = (0x2600, 0x2601, 0x2607, 0x2A00, 0x2A01, 0x2A02, 0x2400, 0x2409, 0x2804)

_IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
_CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0"
_USER_AGENTS = (
    f"{_IPHONE} Version/18.6 Mobile/15E148 Safari/604.1",
    f"{_IPHONE} Mobile/15E148 musical_ly_39.9.0 JsSdk/2.0 NetType/WIFI BytedanceWebview/d8a21c6",  # in TikTok
    f"Mozilla/5.0 (Linux; Android 10; K) {_CHROME} Mobile Safari/537.36",
    f"Mozilla/5.0 (Linux; Android 15; SM-S931B; wv) {_CHROME} Mobile Safari/537.36 trill_390904",
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_CHROME} Safari/537.36",
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_CHROME} Safari/537.36 Edg/142.0.0.0",
    f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_CHROME} Safari/537.36",
)


@dataclass(frozen=True, slots=True)
class Product:
    """A product of the invented shop: `price` in US dollars; platforms derive ids from `number`."""

    number: int
    sku: str
    title: str
    option: str  # the chosen variant, "" for a product without variants
    handle: str
    price: Decimal
    grams: int


CATALOGUE = (
    Product(214, "CUP-ENM-BLU", "Enamel Camp Cup", "Blue", "enamel-camp-cup", Decimal("18.50"), 190),
    Product(231, "BLK-NRD-01", "“Nordlys” Wool Blanket", "", "nordlys-wool-blanket", Decimal("89.00"), 1400),
    Product(247, "CND-CRB-220", "Crème Brûlée Candle", "220 g", "creme-brulee-candle", Decimal("24.95"), 410),
    Product(258, "SET-TOTE-P", "Tote & Pouch Set", "", "tote-pouch-set", Decimal("32.99"), 350),
    Product(263, "BNE-MRN-M", "Merino Beanie", "M", "merino-beanie", Decimal("27.30"), 95),
)


def rounded(amount: Decimal, currency: str) -> Decimal:
    """Round an amount to the smallest unit of this currency: whole yen, thousandths of a dinar, else hundredths."""
    return amount.quantize(Decimal(1).scaleb(-minor_digits(currency)), rounding=ROUND_HALF_UP)


def shop_currency(country: str) -> str:
    """Return the currency of a shop in this country; US dollars for a country not in COUNTRIES."""
    return next((known.currency for known in COUNTRIES if known.code == country), "USD")


@dataclass(frozen=True, slots=True)
class Line:
    """One product in the basket. `total` is price times quantity, before `tax`."""

    product: Product
    quantity: int
    price: Decimal
    total: Decimal
    tax: Decimal


@dataclass(frozen=True, slots=True)
class Basket:
    """The journey's products, priced in one currency. `total` is exactly `subtotal` + `tax` + `shipping`."""

    currency: str
    lines: tuple[Line, ...]
    shipping: Decimal

    @property
    def subtotal(self) -> Decimal:
        """The sum of the lines before tax and shipping."""
        return sum((line.total for line in self.lines), Decimal(0))

    @property
    def tax(self) -> Decimal:
        """The tax on the products; this shop does not tax shipping."""
        return sum((line.tax for line in self.lines), Decimal(0))

    @property
    def total(self) -> Decimal:
        """The amount that the shopper pays."""
        return self.subtotal + self.tax + self.shipping

    @property
    def grams(self) -> int:
        """The weight of all products in grams."""
        return sum(line.product.grams * line.quantity for line in self.lines)


@dataclass(frozen=True, slots=True)
class Shopper:
    """A shopper: name, contact data and address. `phone` is in the format that people there enter."""

    first_name: str
    last_name: str
    email: str
    phone: str
    street: str
    place: Place
    country: Country


@dataclass(frozen=True, slots=True)
class Journey:
    """One shopper's visit to one shop; all webhooks built from one journey have the same ids."""

    now: datetime
    checkout_at: datetime
    order_at: datetime
    paid_at: datetime
    checkout_token: str
    cart_token: str
    order_id: int
    order_number: int
    customer_id: int
    person: Shopper
    picks: tuple[tuple[Product, int], ...]
    ip: str
    user_agent: str
    ttclid: str  # "" for a shopper who came without an ad
    ttp: str

    @classmethod
    def random(cls, rng: random.Random, now: datetime) -> "Journey":
        """Return a new journey that ends at `now`. Raises ValueError if `now` has no time zone."""
        if now.tzinfo is None:
            raise ValueError("a journey needs an aware time")
        # Platforms write whole seconds; rounded down so that no time is in the future.
        end = now.replace(microsecond=0)
        order_at = end - timedelta(seconds=rng.randint(4, 20))
        return cls(
            now=end,
            checkout_at=order_at - timedelta(seconds=rng.randint(45, 600)),
            order_at=order_at,
            paid_at=order_at + timedelta(seconds=rng.randint(1, 3)),
            checkout_token=f"{rng.getrandbits(128):032x}",
            cart_token=base64.urlsafe_b64encode(f"gcp-us-east1:{_ulid(rng, end)}".encode()).decode(),
            # Large and random, so that a second simulation does not repeat event ids.
            order_id=rng.randint(5_100_000_000_000, 8_999_999_999_999),
            order_number=rng.randint(1_002, 99_999),
            customer_id=rng.randint(6_100_000_000_000, 9_899_999_999_999),
            person=_person(rng),
            picks=tuple((product, rng.randint(1, 3)) for product in rng.sample(CATALOGUE, rng.randint(1, 3))),
            ip=_public_ip(rng),
            user_agent=rng.choice(_USER_AGENTS),
            ttclid=_ttclid(rng) if rng.random() < _TTCLID_SHARE else "",
            ttp=f"{_ulid(rng, end)}_.tt.1",
        )

    @property
    def currency(self) -> str:
        """The currency that the shopper sees and pays in."""
        return self.person.country.currency

    @property
    def landing_query(self) -> str:
        """The query string of the landing page: an ad's parameters, or ""."""
        if not self.ttclid:
            return ""
        return f"utm_source=tiktok&utm_medium=paid&utm_campaign=autumn_looks&ttclid={self.ttclid}"

    def basket(self, currency: str) -> Basket:
        """Return the products priced in this currency; each amount is rounded before the sum, as shops do."""
        rate, lines = Decimal(_RATES[currency]), []
        for product, quantity in self.picks:
            price = rounded(product.price * rate, currency)
            tax = rounded(price * quantity * self.person.country.tax_rate, currency)
            lines.append(Line(product, quantity, price, price * quantity, tax))
        in_dollars = sum(product.price * quantity for product, quantity in self.picks)
        shipping = Decimal(0) if in_dollars >= _FREE_SHIPPING_FROM else _SHIPPING
        return Basket(currency, tuple(lines), rounded(shipping * rate, currency))

    def code(self, label: str, length: int = 32) -> str:
        """Return a hexadecimal code of at most 64 characters, the same for this journey and label."""
        return hashlib.sha256(f"{self.checkout_token} {label}".encode()).hexdigest()[:length]

    def number(self, label: str) -> int:
        """Return a 14-digit id, the same for this journey and label."""
        return 10_000_000_000_000 + int(self.code(label), 16) % 90_000_000_000_000


def _person(rng: random.Random) -> Shopper:
    # Half of the shoppers are from the first country; for the others, the shop's and the shopper's currencies differ.
    country = rng.choices(COUNTRIES, weights=[len(COUNTRIES) - 1] + [1] * (len(COUNTRIES) - 1))[0]
    first, _, first_ascii = rng.choice(country.first_names).partition("|")
    last, _, last_ascii = rng.choice(country.last_names).partition("|")
    mailbox = f"{first_ascii or first}.{last_ascii or last}{rng.randint(10, 99_999)}".lower()
    phone = "".join(str(rng.randint(0, 9)) if sign == "#" else sign for sign in rng.choice(country.phones))
    return Shopper(
        first_name=first,
        last_name=last,
        email=f"{mailbox}@{rng.choice(_EMAIL_DOMAINS)}",
        phone=phone,
        street=rng.choice(country.streets).format(n=rng.randint(1, 240)),
        place=rng.choice(country.places),
        country=country,
    )


def _public_ip(rng: random.Random) -> str:
    """Return a public address, because TikTok ignores private and reserved ones."""
    while True:
        if rng.random() < _V6_SHARE:
            address: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.IPv6Address(
                rng.choice(_V6_FIRST) << 112 | rng.getrandbits(112)
            )
        else:
            address = ipaddress.IPv4Address(rng.choice(_V4_FIRST) << 24 | rng.getrandbits(24))
        if address.is_global and not address.is_multicast:
            return str(address)


def _ttclid(rng: random.Random) -> str:
    """Return a click id: url-safe and, like real ones, sometimes longer than 300 characters."""
    size = rng.randint(230, 330) if rng.random() < 0.25 else rng.randint(48, 190)
    return "E.C.P." + base64.urlsafe_b64encode(rng.randbytes(size)).decode().rstrip("=")


def _ulid(rng: random.Random, at: datetime) -> str:
    value = int(at.timestamp() * 1000) << 80 | rng.getrandbits(80)
    return "".join(_CROCKFORD[value >> shift & 31] for shift in range(125, -1, -5))
