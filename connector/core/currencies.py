"""Currencies of the Events API."""

# The 62 that TikTok lists; what it does with others is undocumented.
# https://business-api.tiktok.com/portal/docs?id=1771101151059969
TIKTOK_CURRENCIES = frozenset(
    "AED ARS AUD BDT BHD BIF BOB BRL CAD CHF CLP CNY COP CRC CZK DKK DZD EGP EUR GBP GTQ HKD HNL HUF IDR ILS INR "  # noqa: SIM905
    "ISK JPY KES KHR KRW KWD KZT MAD MOP MXN MYR NGN NIO NOK NZD OMR PEN PHP PKR PLN PYG QAR RON RUB SAR SEK SGD "
    "THB TRY TWD UAH USD VES VND ZAR".split()
)
