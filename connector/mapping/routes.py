"""Routes: the pixels that receive an event, by the conditions of the store's pixels."""

from phonenumbers import SUPPORTED_REGIONS

from connector.core.event import MILESTONES, Event, Milestone
from connector.core.json_fields import safe_to_quote
from connector.core.store import Pixel, Store

NO_PIXEL = "no pixel takes"  # the beginning of every reason

Route = tuple[str, str]  # pixel code, event name


def country_of(event: Event, store: Store) -> str:
    """Return the event's country: of the order's destination, else of billing, else the store's; "" if unknown."""
    return (event.customer.country or store.country).upper()


def pixels_for(event: Event, store: Store) -> tuple[Pixel, ...]:
    """Return the pixels that receive an event: those whose conditions all hold."""
    return _pixels_taking(event.milestone, event, store) if store.has_routes else store.pixels


def browsing_pixels(store: Store, currency: str = "") -> tuple[Pixel, ...]:
    """Return the pixels that receive what a visitor does before an order; `currency` may be unknown, "".

    No condition on the country applies: a visitor's is not known, so each market's pixel learns who looks. A pixel with
    `milestones` lists none of these steps, and no browser sends to an offline event set.
    """
    return tuple(
        pixel
        for pixel in store.pixels
        if pixel.source == "web"
        and not pixel.milestones
        and _holds(pixel, "kinds", "web")
        and (not currency or _holds(pixel, "currencies", currency))
    )


def why_no_pixel(event: Event, store: Store) -> str:
    """Return why `pixels_for` finds none for an event; the condition in brackets leaves out the last pixels."""
    registered = event.milestone == "customer_registered"
    subject = event.milestone if registered else f"{event.milestone} of {event.kind} orders"
    country, currency = country_of(event, store), safe_to_quote(event.currency)
    described = {
        "milestones": event.milestone,
        "kinds": subject,
        "countries": f"{subject} {f'to {country}' if country in SUPPORTED_REGIONS else 'without a country'}",
        "currencies": f"{subject} to {country} {f'in {currency}' if currency else 'without a currency'}",
    }
    left = store.pixels
    for condition, value in _values(event.milestone, event, store).items():
        left = tuple(pixel for pixel in left if _holds(pixel, condition, value))
        if not left:
            return f"{NO_PIXEL} {described[condition]} (pixels.{condition})"
    return ""


def other_routes(event: Event, store: Store) -> frozenset[Route]:
    """Return the routes that this milestone would take if the order had another country, currency or kind.

    An order can change after its event was stored: its address is edited, or an app tags it as a renewal. An event that
    was stored under one of these routes must not be stored under another one, or the order counts twice.
    """
    if not (store.has_routes or store.events_of_kinds):
        return frozenset()
    possible = {(pixel.code, name) for pixel in store.pixels for name in store.all_event_names(event.milestone)}
    present = {
        (pixel.code, name)
        for milestone in MILESTONES
        for pixel in _pixels_taking(milestone, event, store)
        for name in store.event_names(milestone, event.kind)
    }
    return frozenset(possible - present)


def _pixels_taking(milestone: Milestone, event: Event, store: Store) -> tuple[Pixel, ...]:
    values = _values(milestone, event, store)
    return tuple(
        pixel for pixel in store.pixels if all(_holds(pixel, condition, value) for condition, value in values.items())
    )


def _values(milestone: Milestone, event: Event, store: Store) -> dict[str, str]:
    """Return an event's value for each condition of a pixel."""
    return {
        "milestones": milestone,
        "kinds": event.kind,
        "countries": country_of(event, store),
        "currencies": event.currency,
    }


def _holds(pixel: Pixel, condition: str, value: str) -> bool:
    allowed = getattr(pixel, condition)
    return not allowed or value in allowed
