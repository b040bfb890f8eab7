"""The routes of a store's events in plain words: which pixel receives what, what none receives, what two receive."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, product

from connector.core.event import Milestone, OrderKind
from connector.core.registry import installed_platforms
from connector.core.store import KIND_MILESTONES, Pixel, Store
from connector.core.text import either

Sent = tuple[Milestone, OrderKind, str]  # the last is TikTok's name


def sent_to(pixel: Pixel, store: Store) -> Iterator[Sent]:
    """Yield what a pixel can receive. What has no kind, such as a registration, counts as web."""
    possible = installed_platforms().facts(store.platform).milestones
    for milestone in store.events:
        kinds = store.orders.include if milestone in KIND_MILESTONES else ("web",)
        if pixel.currencies and milestone == "customer_registered":  # which has no currency
            continue
        for kind in kinds:
            if milestone in possible and pixel.takes(milestone, kind):
                for name in store.event_names(milestone, kind):
                    yield milestone, kind, name


def pixel_words(pixel: Pixel) -> str:
    """Describe a pixel and the conditions of its events in a sentence."""
    where = f"Test Events only ({pixel.test_event_code})" if pixel.test_event_code else "live"
    only = f", only {' and '.join(pixel.milestones) or 'events'}" if pixel.has_conditions else ""
    only += f" of {either(pixel.kinds)} orders" if pixel.kinds else ""
    only += f" to {either(pixel.countries)}" if pixel.countries else ""
    only += f" in {either(pixel.currencies)}" if pixel.currencies else ""
    if pixel.source == "offline":
        return f"Offline event set {pixel.code}: {where}{only}; with e-mail and phone, without anything of a browser."
    return f"Pixel {pixel.code}: {where}{only}."


def unrouted_words(store: Store) -> Iterator[str]:
    """Yield a sentence for each group of events that no pixel takes."""
    if not store.has_routes:
        return
    sent = {one[:2] for pixel in store.pixels for one in sent_to(pixel, store)}
    unsent: dict[str, dict[str, None]] = {}
    for milestone, kind, _ in sent_to(Pixel("", ""), store):
        if (milestone, kind) not in sent:
            subject = f" of {kind} orders" if milestone in KIND_MILESTONES else ""
            unsent.setdefault(subject, {})[milestone] = None
    for subject, milestones in unsent.items():
        yield f"No pixel takes {either([*milestones])}{subject} (pixels)."
    for condition in ("countries", "currencies"):
        allowed = [getattr(pixel, condition) for pixel in store.pixels]
        if all(allowed):
            listed = ", ".join(dict.fromkeys(value for values in allowed for value in values))
            yield f"No pixel takes events of other {condition} than {listed} (pixels.{condition})."


def shared_words(store: Store, other_store: Store | None = None) -> Iterator[tuple[bool, str]]:
    """Yield a sentence for each two pixels that both count an order, and if they certainly are of one advertiser.

    That is known if they have one access token; other tokens can be of one advertiser, too. With `other_store`, a store
    of the same shop, the pixels of the one are compared with those of the other.
    """
    pairs = product(store.pixels, other_store.pixels) if other_store else combinations(store.pixels, 2)
    for pixel, other in pairs:
        if pixel.code == other.code or pixel.test_event_code or other.test_event_code:
            continue
        if shared := _shared(pixel, store, other, other_store or store):
            subject = f"{pixel.code} and {other.code} both count {shared}"
            if pixel.access_token == other.access_token:
                remedy = "give them conditions of which only one holds (countries, currencies, kinds, milestones)"
                yield True, f"pixels: {subject}, and are of one advertiser, as they share an access_token; {remedy}"
            else:
                yield False, f"Pixels {subject}: right for two advertisers, twice for one (pixels)."


def shared_by_stores(stores: Iterable[Store]) -> Iterator[tuple[bool, str]]:
    """Yield like `shared_words` for each two stores of one shop."""
    for store, other in combinations(stores, 2):
        if set(store.shops) & set(other.shops):
            for certain, sentence in shared_words(store, other):
                yield certain, f"stores {store.name} and {other.name}: {sentence}"


def _shared(pixel: Pixel, store: Store, other: Pixel, other_store: Store) -> str:
    """Return the orders and other events that both receive, in words; "" if there are none."""
    first, second = ({one[:2] for one in sent_to(*place)} for place in ((pixel, store), (other, other_store)))
    both = [one for one in dict.fromkeys(row[:2] for row in sent_to(pixel, store)) if one in first & second]
    countries = _common(pixel.countries, other.countries)
    currencies = _common(pixel.currencies, other.currencies)
    if not both or countries is None or currencies is None:
        return ""
    kinds = dict.fromkeys(kind for milestone, kind in both if milestone in KIND_MILESTONES)
    words = ", ".join(dict.fromkeys(milestone for milestone, _ in both))
    words += f" of {either([*kinds])} orders" if kinds else ""
    words += f" to {either(countries)}" if countries else ""
    return words + (f" in {either(currencies)}" if currencies else "")


def _common(one: Sequence[str], other: Sequence[str]) -> list[str] | None:
    """Return the values that two conditions allow: [] if both allow all, None if they have none in common."""
    if not one or not other:
        return [*(one or other)]
    return [value for value in one if value in other] or None
