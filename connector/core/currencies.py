"""Currencies: those of the Events API, how many decimals each has, and how the database stores amounts."""

from decimal import Decimal

# The 62 that TikTok lists; what it does with others is undocumented.
# https://business-api.tiktok.com/portal/docs?id=1771101151059969
TIKTOK_CURRENCIES = frozenset(
    "AED ARS AUD BDT BHD BIF BOB BRL CAD CHF CLP CNY COP CRC CZK DKK DZD EGP EUR GBP GTQ HKD HNL HUF IDR ILS INR "  # noqa: SIM905
    "ISK JPY KES KHR KRW KWD KZT MAD MOP MXN MYR NGN NIO NOK NZD OMR PEN PHP PKR PLN PYG QAR RON RUB SAR SEK SGD "
    "THB TRY TWD UAH USD VES VND ZAR".split()
)

# ISO 4217: the currencies whose smallest unit is not a hundredth. https://www.iso.org/iso-4217-currency-codes.html
_WITHOUT_DECIMALS = frozenset("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split())  # noqa: SIM905
_WITH_THREE = frozenset("BHD IQD JOD KWD LYD OMR TND".split())  # noqa: SIM905

STORED_DECIMALS = 4  # amounts are stored as whole ten-thousandths of a major unit, so that the database can add them
MAX_STORED = 10**15  # of one amount; sums of larger ones could overflow


def minor_digits(currency: str) -> int:
    """Return the number of decimals of a currency; 2 for one that is not known."""
    return 0 if currency in _WITHOUT_DECIMALS else 3 if currency in _WITH_THREE else 2


def stored_amount(amount: Decimal | None) -> int | None:
    """Return an amount in ten-thousandths; None if it is unknown or absurd."""
    if amount is None or not amount.is_finite() or amount.adjusted() > 11:
        return None
    found = round(amount.scaleb(STORED_DECIMALS))
    return found if abs(found) <= MAX_STORED else None


def exact_amount(stored: int) -> Decimal:
    """Return ten-thousandths in major units, with four decimals."""
    return Decimal(int(stored)).scaleb(-STORED_DECIMALS)
