"""Whether a shopper must agree and did, and whether an event waits for what the shopper's browser tells."""

import re
from typing import Literal

from msgspec import Struct
from phonenumbers import SUPPORTED_REGIONS

from connector.core.event import Event
from connector.core.store import BROWSER_MILESTONES, Store, first_match
from connector.mapping import hashing

# The European Economic Area with its parts overseas that have country codes of their own, the United Kingdom and
# Switzerland.
EUROPE = frozenset(
    "AT BE BG HR CY CZ DK EE FI FR DE GR HU IE IT LV LT LU MT NL PL PT RO SK SI ES SE IS LI NO GB CH "  # noqa: SIM905
    "AX GF GP MF MQ RE YT".split()
)
NO_CONSENT = "no consent"
CONSENT_DENIED = f"{NO_CONSENT}: the shopper said no (consent)"
CONSENT_MISSING = f"{NO_CONSENT}: nothing says yes (consent)"

# What the shopper said; "" where nobody has to ask.
ConsentAnswer = Literal["", "granted", "denied", "missing"]

# Shopify's are 32 hexadecimal digits. A key of a few characters could be guessed.
# https://shopify.dev/docs/api/checkout-ui-extensions/latest/apis/checkout-token
CHECKOUT_TOKEN = re.compile("[A-Za-z0-9_-]{8,128}")


class BeaconWait(Struct, frozen=True):
    """What an event waits for: a beacon with its checkout's token, at most so many seconds.

    `home_page` is the page.url of an event that knows no better page. `as_of` (Unix seconds) is when the body was
    written, None if the shop does not say.
    """

    token: str
    seconds: float
    consent: ConsentAnswer
    home_page: str
    as_of: float | None


def consent_answer(event: Event, store: Store) -> ConsentAnswer:
    """A "yes" is only what the shop's own key says. Newsletter opt-ins are no consent."""
    if store.consent == "not_required":
        return ""
    # Where nothing tells the country, or not by its code, the stricter law is the safe one.
    country = (event.customer.destination.country or event.customer.address.country or store.country).upper()
    if store.consent == "required_in_europe" and country in SUPPORTED_REGIONS and country not in EUROPE:
        return ""
    key = store.consent_source.key
    said = event.ids.get(f"attribute:{key}") or event.ids.get(f"meta:{key}", "") if key else ""
    if not said:
        return "missing"
    return "granted" if first_match([said], store.consent_source.granted) else "denied"


def why_no_consent(event: Event, store: Store) -> str:
    """Why a shopper's answer keeps an event from being sent, or ""; no answer is a no, unless a browser may yet say."""
    answer = consent_answer(event, store)
    if answer == "denied":
        return CONSENT_DENIED
    if answer != "missing" or expects_beacon(event, store):
        return ""
    return CONSENT_MISSING if store.consent_source.key else f"{NO_CONSENT}: consent_source.key is not set (consent)"


def expects_beacon(event: Event, store: Store) -> bool:
    """Whether a beacon may come for an event: of the store's choice, and of a checkout whose token is known."""
    if store.signals is None or event.milestone not in BROWSER_MILESTONES:
        return False
    return CHECKOUT_TOKEN.fullmatch(event.ids.get("checkout_token", "")) is not None


def beacon_wait(event: Event, store: Store) -> BeaconWait | None:
    """What an event waits for; None: for nothing."""
    if store.signals is None or not expects_beacon(event, store):
        return None
    hold = store.signals.hold_checkout if event.milestone == "checkout_started" else store.signals.hold_order
    return BeaconWait(
        token=event.ids["checkout_token"],
        seconds=hold.total_seconds(),
        consent=consent_answer(event, store),
        home_page=home_page(store),
        as_of=event.changed_at.timestamp() if event.changed_at else None,
    )


def home_page(store: Store) -> str:
    """The page.url of an event that knows no better page."""
    return hashing.page_url(store.url, store.url)
