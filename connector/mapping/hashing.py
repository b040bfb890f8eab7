"""Normalise and hash personal data as TikTok requires for matching.

SHA-256 in lower-case hex of the normalised UTF-8 text; city, state and country are not hashed. A value that cannot be
normalised becomes "" and is left out of the item: the hash of "" is never sent.
https://business-api.tiktok.com/portal/docs?id=1771101151059969 (parameters of the Events API)
"""

import hashlib
import ipaddress
import re
import unicodedata
from functools import lru_cache
from urllib.parse import parse_qsl, urlencode, urlsplit

import phonenumbers

_HASHED = re.compile(r"[0-9a-fA-F]{64}")
_LOCALE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8}){0,3}")
_NO_LETTER = re.compile("[^a-z0-9]+")  # of an ASCII text
_US_STATES = {
    "alabama": "al", "alaska": "ak", "arizona": "az", "arkansas": "ar", "california": "ca", "colorado": "co",
    "connecticut": "ct", "delaware": "de", "districtofcolumbia": "dc", "florida": "fl", "georgia": "ga", "hawaii": "hi",
    "idaho": "id", "illinois": "il", "indiana": "in", "iowa": "ia", "kansas": "ks", "kentucky": "ky", "louisiana": "la",
    "maine": "me", "maryland": "md", "massachusetts": "ma", "michigan": "mi", "minnesota": "mn", "mississippi": "ms",
    "missouri": "mo", "montana": "mt", "nebraska": "ne", "nevada": "nv", "newhampshire": "nh", "newjersey": "nj",
    "newmexico": "nm", "newyork": "ny", "northcarolina": "nc", "northdakota": "nd", "ohio": "oh", "oklahoma": "ok",
    "oregon": "or", "pennsylvania": "pa", "rhodeisland": "ri", "southcarolina": "sc", "southdakota": "sd",
    "tennessee": "tn", "texas": "tx", "utah": "ut", "vermont": "vt", "virginia": "va", "washington": "wa",
    "westvirginia": "wv", "wisconsin": "wi", "wyoming": "wy",
}  # fmt: skip
_KEPT = frozenset({"ttclid", "utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content", "utm_id"})
_CLEAN = re.compile(r"([a-z_]+=([A-Za-z0-9_.~+-]++|%(?!40)[0-9A-Fa-f]{2})+(&|$))+")  # needs no encoding, contains no @
MAX_PARAMETERS = 200  # parameters that are read of a query
# Path segments followed by an id or a key.
_PRIVATE = frozenset({
    "checkouts", "orders", "order-received", "order-pay", "view-order", "cn", "c", "account", "activate", "reset",
    "gift_cards", "unsubscribe", "authenticate", "invitations",
})  # fmt: skip
# A segment that looks like a key. The lookbehind lets a match start only at the beginning of a run of letters;
# without it, a long run would take quadratic time, and anyone can send one.
_KEY = re.compile(r"(?<![0-9A-Za-z])(?=[0-9A-Za-z]*\d)[0-9A-Za-z]{16,}|^(?=.*\d)[0-9A-Za-z_=%]{24,}$|^eyJ|@|%40")


def sha256(normalised: str) -> str:
    """Return the SHA-256 in lower-case hex. A value that is already such a digest is not hashed again; "" stays ""."""
    if not normalised:
        return ""
    if _is_hash(normalised):
        return normalised.lower()
    return hashlib.sha256(normalised.encode()).hexdigest()


def _is_hash(value: str) -> bool:
    return len(value) == 64 and _HASHED.fullmatch(value) is not None


def email(raw: str) -> str:
    """Return the hash of the trimmed, lower-case address, or "" if it is not an address."""
    address = raw.strip().lower()
    if _is_hash(address):
        return address
    name, at, domain = address.rpartition("@")
    return sha256(address) if name and at and "." in domain and len(address.split()) == 1 else ""


def phone(raw: str, country: str) -> str:
    """Return the hash of the number in E.164 (with "+"), or "" if it is not possible by libphonenumber.

    `country` (ISO alpha-2) applies to a number without a country code; with "" such numbers are left out.
    """
    if _is_hash(raw.strip()):
        return raw.strip().lower()
    return sha256(_e164(raw, country.upper()))


@lru_cache(maxsize=4096)
def _e164(raw: str, country: str) -> str:
    try:
        number = phonenumbers.parse(raw, country or None)
    except phonenumbers.NumberParseException:
        return ""
    if not phonenumbers.is_possible_number(number):
        return ""
    number.extension = None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def external_id(raw: str) -> str:
    """Return the hash of the trimmed id in its original case, as in TikTok's own example."""
    return sha256(raw.strip())


def name(raw: str) -> str:
    """Return the hash of a first or last name: lower-case, accents kept, without punctuation and white space."""
    return sha256(_letters(raw))


def zip_code(raw: str, country: str) -> str:
    """Return the hash of a postcode: lower-case, without spaces and hyphens; in the US its first five digits."""
    code = "".join(raw.lower().split()).replace("-", "")
    return sha256(code[:5] if country.upper() == "US" and not _is_hash(code) else code)


def place(raw: str) -> str:
    """Return a city, not hashed: lower-case letters and digits of any script."""
    return _letters(raw)


def state(raw: str, country: str) -> str:
    """Return a state, not hashed, normalised like a city; a US state in any spelling as its two letters.

    An ISO 3166-2 code loses its country: "DE-BE" is "be" in Germany, "JP-13" is "13" in Japan.
    """
    before, hyphen, code = raw.partition("-")
    found = _letters(code if hyphen and before.strip().upper() == country.upper() else raw) or _letters(raw)
    if country.upper() != "US":
        return found
    return _US_STATES.get(found) or (found.removeprefix("us") if len(found) == 4 else found)


def country_code(raw: str) -> str:
    """Return a country, not hashed: ISO-3166 alpha-2 in lower case, or "" for anything else."""
    code = raw.strip().lower()
    return code if len(code) == 2 and code.isascii() and code.isalpha() else ""


def _letters(raw: str) -> str:
    lowered = raw.lower()
    if lowered.isascii():
        return lowered if lowered.isalnum() else _NO_LETTER.sub("", lowered)
    return "".join(c for c in unicodedata.normalize("NFC", lowered) if unicodedata.category(c)[0] in "LNM")


@lru_cache(maxsize=4096)  # the webhooks of one shopper arrive close together
def public_ip(raw: str) -> str:
    """Return the IP address if it is public, else "" (private, reserved, invalid)."""
    try:
        address = ipaddress.ip_address(raw.strip())
    except ValueError:
        return ""
    if getattr(address, "scope_id", None):  # "%eth0": a link-local address
        return ""
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    return str(address) if address.is_global and not address.is_multicast else ""


def locale(raw: str) -> str:
    """Return a BCP-47 tag ("en-US"), or ""."""
    return raw.replace("_", "-") if _LOCALE.fullmatch(raw) else ""


def page_url(raw: str, base: str) -> str:
    """Return a page's address without secrets: scheme, host, path, and of the query only `ttclid` and `utm_*`.

    `raw` can be a path relative to `base`, the shop's address. Paths of order and checkout pages are cut, because they
    contain order and recovery keys.
    """
    address, _, query = raw.partition("#")[0].partition("?")
    page, query = _public_page(address, base), _public_query(query)
    return f"{page}?{query}" if page and query else page


@lru_cache(maxsize=4096)  # shoppers land on a few pages
def _public_page(raw: str, base: str) -> str:
    try:
        url = urlsplit(raw)
        if not url.scheme and not url.netloc:
            url = urlsplit(base.rstrip("/") + "/" + raw.lstrip("/"))
        if url.scheme not in ("http", "https") or not url.hostname:
            return ""
        address = url.hostname if url.port is None else f"{url.hostname}:{url.port}"
    except ValueError:
        return ""
    return f"{url.scheme}://{address}{_public_path(url.path)}"


def _public_query(query: str) -> str:
    if not query:
        return ""
    kept = "&".join(
        pair for pair in query.split("&", MAX_PARAMETERS)[:MAX_PARAMETERS] if pair.partition("=")[0] in _KEPT
    )
    if not kept or _CLEAN.fullmatch(kept):
        return kept
    return urlencode([(key, value) for key, value in parse_qsl(kept) if "@" not in value])


def _public_path(path: str) -> str:
    """Cut a path at the first segment that looks like a key or an e-mail address, or follows a private page's name."""
    kept: list[str] = []
    for segment in path.split("/"):
        if (kept and kept[-1] in _PRIVATE) or _KEY.search(segment):
            break
        kept.append(segment)
    return "/".join(kept) or "/"
