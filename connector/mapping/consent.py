"""Consent: the rules that require it, the shopper's answer, and the wait for the browser's beacon."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Literal

from msgspec import Struct
from phonenumbers import SUPPORTED_REGIONS

from connector.core.event import Event, Milestone
from connector.core.store import BROWSER_MILESTONES, Store
from connector.core.text import first_match
from connector.mapping import hashing
from connector.mapping.routes import country_of

# The European Economic Area, including overseas territories with their own country codes, the United Kingdom and
# Switzerland.
EUROPE = frozenset(
    "AT BE BG HR CY CZ DK EE FI FR DE GR HU IE IT LV LT LU MT NL PL PT RO SK SI ES SE IS LI NO GB CH "  # noqa: SIM905
    "AX GF GP MF MQ RE YT".split()
)
NO_CONSENT = "no consent"
CONSENT_DENIED = f"{NO_CONSENT}: the shopper said no (consent)"
CONSENT_MISSING = f"{NO_CONSENT}: no answer was given (consent)"

# The shopper's answer; "" where consent is not required.
ConsentAnswer = Literal["", "granted", "denied", "missing"]

# Real tokens have 32 hexadecimal digits or similar. A token of a few characters could be guessed.
CHECKOUT_TOKEN = re.compile("[A-Za-z0-9_-]{8,128}")


class BeaconWait(Struct, frozen=True):
    """The wait of an event for a beacon with its checkout's token, at most `seconds`.

    `home_page` is the page.url of an event without a page of its own. `as_of` (Unix seconds) is when the body was
    written; None if the shop does not say.
    """

    checkout_token: str
    seconds: float
    consent: ConsentAnswer
    home_page: str
    as_of: float | None


def consent_answer(event: Event, store: Store) -> ConsentAnswer:
    """Return the shopper's answer where the store requires one. Newsletter opt-ins are not consent."""
    if not needs_consent(country_of(event, store), store):
        return ""
    return stated_answer(event, store) or "missing"


def stated_answer(event: Event, store: Store) -> Literal["", "granted", "denied"]:
    """Return the shopper's answer under the store's consent_source.key, wherever they are; "" if there is none."""
    key = store.consent_source.key
    answer = event.ids.get(f"attribute:{key}") or event.ids.get(f"meta:{key}", "") if key else ""
    if not answer:
        return ""
    return "granted" if first_match([answer], store.consent_source.granted) else "denied"


def needs_consent(country: str, store: Store) -> bool:
    """Return True if the store requires consent of a shopper in this country; "" stands for the store's own."""
    if store.consent != "required_in_europe":
        return store.consent == "required"
    country = (country or store.country).upper()
    # Without a valid country code the stricter law applies.
    return country not in SUPPORTED_REGIONS or country in EUROPE


def why_no_consent(event: Event, store: Store) -> str:
    """Return why consent keeps an event from being sent, or "". No answer means no, unless a beacon may bring one."""
    answer = consent_answer(event, store)
    if answer == "denied":
        return CONSENT_DENIED
    if answer != "missing" or _longest_wait(event, store) is not None:
        return ""
    return CONSENT_MISSING if store.consent_source.key else f"{NO_CONSENT}: consent_source.key is not set (consent)"


def beacon_wait(event: Event, store: Store) -> BeaconWait | None:
    """Return the wait of an event for its beacon, or None if it is sent at once."""
    hold = _longest_wait(event, store)
    if hold is None:
        return None
    return BeaconWait(
        checkout_token=event.ids["checkout_token"],
        seconds=hold.total_seconds(),
        consent=consent_answer(event, store),
        home_page=home_page(store),
        as_of=event.changed_at.timestamp() if event.changed_at else None,
    )


def _longest_wait(event: Event, store: Store) -> timedelta | None:
    """Return how long a beacon may take, or None if none can come: signals are off, or the checkout has no token."""
    if store.signals is None or event.milestone not in BROWSER_MILESTONES:
        return None
    if not CHECKOUT_TOKEN.fullmatch(event.ids.get("checkout_token", "")):
        return None
    return store.signals.hold_checkout if event.milestone == "checkout_started" else store.signals.hold_order


def order_checkout(milestone: Milestone, ids: Mapping[str, str], store: Store) -> str:
    """Return the token of an order's checkout, if its browser may send beacons; "" otherwise."""
    token = ids.get("checkout_token", "")
    expected = store.signals is not None and milestone in ("order_placed", "order_paid")
    return token if expected and CHECKOUT_TOKEN.fullmatch(token) else ""


def home_page(store: Store) -> str:
    """Return the page.url of an event without a page of its own."""
    return hashing.page_url(store.url, store.url)
