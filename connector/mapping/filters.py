"""Rules that keep an event from being sent: exclusions, consent, nothing to match on, age.

Each rule returns the reason for the merchant, with the setting to change in brackets, or "" if the event passes.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from connector.core.event import Event
from connector.core.store import Pixel, Store
from connector.core.text import duration_setting, first_match
from connector.mapping import hashing
from connector.mapping.consent import why_no_consent
from connector.mapping.event_id import event_id_template

NOTHING_TO_MATCH = "nothing to match on: no e-mail, phone, id, click id, nor ip with user agent"
PUBLIC_IP_MISSING = "limited_data_use applies and TikTok honours it only with a public ip, which is missing"


def why_filtered(event: Event, event_id: str, store: Store) -> str:
    """Return why the event is not sent by rules that precede its mapping, or "": off, excluded, no consent, no id."""
    if not store.event_names(event.milestone, event.kind):
        of_kind = event.milestone in store.events_of_kinds.get(event.kind, ())
        return f"events.{f'{event.kind}.' if of_kind else ''}{event.milestone} is off"
    if reason := _why_excluded(event, store) or why_no_consent(event, store):
        return reason
    return "" if event_id else f"event_id template {event_id_template(event.milestone, store)!r} has no value here"


def _why_excluded(event: Event, store: Store) -> str:
    """Return why the event is not sent by the store's exclusions, or "". Of a registration only the e-mail counts."""
    orders = store.orders
    if domain := _excluded_domain(event.customer.emails, orders.exclude_email_domains):
        return f"excluded e-mail domain {domain} (orders.exclude_email_domains)"
    if event.milestone == "customer_registered":
        return ""
    if event.kind not in orders.include:
        return f"{event.kind} orders are not relayed (orders.include)"
    if tag := first_match(event.tags, orders.exclude_tags):
        return f"excluded tag {tag} (orders.exclude_tags)"
    if gateway := first_match(event.gateways, orders.exclude_gateways):
        return f"excluded gateway {gateway} (orders.exclude_gateways)"
    if orders.exclude_zero and event.total == 0:
        return "the total is zero (orders.exclude_zero)"
    return ""


def _excluded_domain(emails: Iterable[str], excluded: Sequence[str]) -> str:
    """Return the first excluded domain of any of the addresses, subdomains included, or ""."""
    if not excluded:
        return ""
    domains = [email.rpartition("@")[2].strip().lower() for email in emails]
    barred = [domain.strip().lower().lstrip("@") for domain in excluded]
    return next((end for domain in domains for end in barred if domain == end or domain.endswith(f".{end}")), "")


def why_user_unusable(user: Mapping[str, Any], limited: bool) -> str:
    """Return why TikTok cannot use an item's `user`, or "".

    It needs something to match on and, if Limited Data Use applies (`limited`), a public ip.
    """
    single = any(key in user for key in ("email", "phone", "external_id", "ttclid", "ttp"))
    if not single and not ("ip" in user and "user_agent" in user):
        return NOTHING_TO_MATCH
    return PUBLIC_IP_MISSING if limited and "ip" not in user else ""


def data_use_is_limited(event: Event, store: Store) -> bool:
    """Return True if TikTok's Limited Data Use applies, by US state.

    https://business-api.tiktok.com/portal/docs?id=1771101204435970
    """
    where = event.customer.destination if event.customer.destination.country else event.customer.address
    country = (where.country or store.country).upper()
    if not store.limited_data_use or country != "US":
        return False
    state = hashing.state(where.state, country)
    # An unknown state may be one of them; a checkout has no state yet, and often no country.
    return not state or bool(first_match([state], store.limited_data_use))


def why_not_to_pixel(
    event: Event,
    name: str,
    occurred_at: datetime,
    store: Store,
    pixel: Pixel,
    now: datetime,
    go_live: datetime | None,
) -> str:
    """Keep test orders and old orders from a pixel without a test_event_code: only Test Events take them.

    `name` is TikTok's event name. With `go_live` None, no age limit applies.
    """
    if pixel.test_event_code:
        return ""
    if event.test:
        return "a test order of the shop (relayed only with a test_event_code)"
    if go_live is None:
        return ""
    age, limit = now - occurred_at, store.age_limit(name, pixel)
    if age > store.max_event_age:
        return f"older than max_event_age ({duration_setting(store.max_event_age)})"
    if age > limit:
        return f"older than {duration_setting(limit)}, and the browser sends {name} too (browser_pixel)"
    if occurred_at < go_live:
        return f"older than go_live ({go_live:%Y-%m-%d %H:%M} UTC)"
    return ""
