"""The effects of a store's settings in plain words, and warnings about probable mistakes."""

from collections.abc import Iterable, Iterator

from connector.config.routes import pixel_words, sent_to, shared_words, unrouted_words
from connector.core.event import Milestone
from connector.core.registry import installed_platforms
from connector.core.store import PLACEHOLDER, EventIdTemplates, OrderSettings, Store
from connector.core.text import either
from connector.core.values import written_duration

# Standard web events of TikTok, the only ones that campaigns can optimise on.
# https://ads.tiktok.com/help/article/supported-standard-events
STANDARD = frozenset({
    "AddPaymentInfo", "AddToCart", "AddToWishlist", "ApplicationApproval", "CompleteRegistration", "Contact",
    "CustomizeProduct", "Download", "FindLocation", "InitiateCheckout", "Lead", "PlaceAnOrder", "Purchase", "Schedule",
    "Search", "StartTrial", "SubmitApplication", "Subscribe", "ViewContent",
})  # fmt: skip
# Old names that TikTok replaces. https://ads.tiktok.com/help/article/how-to-adopt-tiktoks-updated-standard-events
RETIRED = {"CompletePayment": "Purchase", "SubmitForm": "Lead"}
# Names that TikTok reserves and maps to standard events. https://ads.tiktok.com/help/article/reserved-events
RESERVED = {
    "AddBilling": "AddPaymentInfo",
    "Checkout": "PlaceAnOrder",
    "ClickForm": "Lead",
    "Consult": "Contact",
    "Registration": "CompleteRegistration",
    "StartCheckout": "InitiateCheckout",
}

# Pixel codes have letters, ids of offline event sets have not.
_SOURCES = {"web": "the id of an offline event set", "offline": "a pixel code"}
_SUBJECTS: dict[Milestone, str] = {
    "order_placed": "An order",
    "order_paid": "An order",
    "checkout_started": "A checkout",
    "customer_registered": "A registration",
}


def plain_words(store: Store) -> Iterator[str]:
    """Yield the effects of the settings, one sentence a line."""
    registry = installed_platforms()
    for milestone, names in store.events.items():
        if milestone not in registry.facts(store.platform).milestones:
            yield f"{milestone} is not sent: {registry.title(store.platform)} has no webhook for it."
        elif names:
            sent = f"{_SUBJECTS[milestone]} is sent as {_as_all(names)}"
            yield f"{sent} when {_when(milestone, store)}{_value(milestone, store)}."
        else:
            yield f"{milestone} is not sent (events.{milestone} is off)."
    yield from _events_of_kinds(store)
    if store.funnel:
        funnel = [f"{milestone} as {' and as '.join(names)}" for milestone, names in store.funnel.events.items()]
        yield f"Browsers also report {', '.join(funnel) or 'nothing'} (funnel)."
    yield f"Only orders of kind {', '.join(store.orders.include)} are sent (orders.include){_exclusions(store)}."
    yield f"Items are identified by {store.mapping.content_id}; people by external_id {store.external_id or '(off)'}."
    yield _consent(store)
    if store.signals:
        checkouts, orders = (hold.total_seconds() for hold in (store.signals.hold_checkout, store.signals.hold_order))
        yield f"Checkouts wait up to {checkouts:g} s, orders up to {orders:g} s, for the browser's signals (signals)."
    yield from _matching(store)
    if store.browser_pixel != "none":
        chosen = f"browser_pixel = {store.browser_pixel}"
        yield f"The browser also sends orders and checkouts ({chosen}), so they are sent only up to 47 hours old."
    if store.limited_data_use:
        states = ", ".join(store.limited_data_use)
        yield f"Limited Data Use for shoppers in {states}; without a public ip they are skipped."
    yield from map(pixel_words, store.pixels)
    yield from unrouted_words(store)
    yield from (sentence for certain, sentence in shared_words(store) if not certain)


def _events_of_kinds(store: Store) -> Iterator[str]:
    for kind, events in store.events_of_kinds.items():
        named = [
            f"{milestone} is {f'sent as {_as_all(names)}' if names else 'not sent'}"
            for milestone, names in events.items()
        ]
        if named:
            yield f"Of {kind} orders, {', and '.join(named)} (events.{kind})."


def _as_all(names: Iterable[str]) -> str:
    return " and as ".join(names)


def _when(milestone: Milestone, store: Store) -> str:
    orders, facts = store.orders, installed_platforms().facts(store.platform)
    if milestone == "order_placed":
        if orders.placed_statuses:
            return f"its status is {' or '.join(orders.placed_statuses)}, or it is paid"
        return facts.placed_when
    if milestone == "order_paid":
        paid = f"its status is {' or '.join(orders.paid_statuses)}" if orders.paid_statuses else facts.paid_when
        at_once = orders.paid_when_placed
        return paid + (f", or when it is placed with {' or '.join(at_once)}" if at_once else "")
    return "it begins" if milestone == "checkout_started" else "a customer opens an account"


def _value(milestone: Milestone, store: Store) -> str:
    if milestone == "customer_registered":
        return ""
    whole = "its total" if store.mapping.value == "total" else "its items as priced"
    without = f" without {', '.join(store.mapping.value_excludes)}" if store.mapping.value_excludes else ""
    money = "shopper's" if store.mapping.currency == "presentment" else "shop's"
    return f", with value = {whole}{without}, in the {money} currency"


def _exclusions(store: Store) -> str:
    orders = store.orders
    named = (
        ("tagged", orders.exclude_tags),
        ("paid with", orders.exclude_gateways),
        ("with an e-mail at", orders.exclude_email_domains),
    )
    excluded = [f"{word} {' or '.join(chosen)}" for word, chosen in named if chosen]
    excluded += ["worth zero"] if orders.exclude_zero else []
    return f"; not those {', '.join(excluded)}" if excluded else ""


def _consent(store: Store) -> str:
    if store.consent == "not_required":
        return "Consent is not required (consent)."
    whose = "" if store.consent == "required" else " in the EEA, the UK and Switzerland"
    key = store.consent_source.key
    where = f"{key} = {' or '.join(store.consent_source.granted)}" if key else "(no consent_source.key is set)"
    if store.signals:
        where = f"{where}, or the browser's signals" if key else "in the browser's signals"
    return f"Events of shoppers{whose} are sent only with consent: {where}."


def _matching(store: Store) -> Iterator[str]:
    if remembered := store.matching.remember_clicks:
        given = " given with consent" if store.consent != "not_required" else ""
        yield (
            f"A customer's last click{given} is remembered for {written_duration(remembered)} for their later events "
            "without one (matching.remember_clicks)."
        )
    if store.matching.recognize_returning:
        yield (
            "A customer with an earlier order on record is sent as returning, unless the shop says new or returning "
            "(matching.recognize_returning)."
        )


def blockers(store: Store) -> Iterator[str]:
    """Yield a warning for each setting that keeps events from being sent at all."""
    if store.consent == "required" and _has_no_answers(store):
        yield "consent is required, but consent_source.key is not set, so no consent is found and events are skipped"
    for pixel in store.pixels:
        if not any(sent_to(pixel, store)):
            left_out = [kind for kind in pixel.kinds if kind not in store.orders.include]
            reason = f"; orders.include has no {either(left_out)}" if left_out else ""
            yield f"pixels: {pixel.code} receives nothing: no event fits its kinds and milestones{reason}"
    yield from _placeholder_doubts(store)


def warnings(store: Store) -> Iterator[str]:
    """Yield a warning for each setting that is valid but probably not intended, the `blockers` first."""
    yield from blockers(store)
    if store.consent == "required_in_europe" and _has_no_answers(store):
        yield "consent_source.key is not set, so events of shoppers in the EEA, the UK and Switzerland are skipped"
    for path, names in _event_names(store):
        for name in names:
            if doubt := _name_doubt(name):
                yield f"{path}: {doubt}"
        merged = [RETIRED.get(name, RESERVED.get(name, name)) for name in names]
        if len(set(merged)) < len(merged):
            yield f"{path}: TikTok treats {' and '.join(names)} as one event, so it counts twice"
    placed, paid = store.events["order_placed"], store.events["order_paid"]
    if placed and paid and not set(placed) & set(paid):
        yield f"{placed[0]} and {paid[0]} both carry the order's value: never add them up, optimise on one"
    platforms = installed_platforms()
    missing = platforms.facts(store.platform).paid_statuses - set(store.orders.paid_statuses)
    if store.orders.paid_statuses and missing:
        rule = f"{platforms.title(store.platform)}'s own rule"
        yield f"orders.paid_statuses replaces {rule} and leaves out {', '.join(sorted(missing))}"
    yield from (sentence for certain, sentence in shared_words(store) if certain)
    yield from _meaningless(store)
    if not store.country:
        yield "country is not set: phone numbers typed without country code and address are left out"


def _has_no_answers(store: Store) -> bool:
    """Return True if nothing tells the connector which shoppers consent."""
    return not store.consent_source.key and not store.signals


def _event_names(store: Store) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the names of each milestone's events, with the path of their setting."""
    yield from ((f"events.{milestone}", names) for milestone, names in store.events.items())
    for kind, of_kind in store.events_of_kinds.items():
        yield from ((f"events.{kind}.{milestone}", names) for milestone, names in of_kind.items())
    if store.funnel:
        yield from ((f"funnel.{milestone}", names) for milestone, names in store.funnel.events.items())


def _meaningless(store: Store) -> Iterator[str]:
    """Yield a warning for each setting that changes nothing on the store's platform; defaults are not warned of."""
    facts, title = installed_platforms().facts(store.platform), installed_platforms().title(store.platform)
    chosen = [kind for kind in store.orders.include if kind not in OrderSettings().include]
    if absent := [kind for kind in chosen if kind not in facts.order_kinds]:
        yield f"orders.include: {title} has no orders of kind {', '.join(absent)}"
    for kind in store.events_of_kinds:
        if kind not in store.orders.include:
            yield f'events.{kind} has no effect: {kind} orders are skipped unless orders.include has "{kind}"'
    for pixel in store.pixels:
        if pixel.code.isdecimal() != (pixel.source == "offline"):
            yield f"pixels: {pixel.code} looks like {_SOURCES[pixel.source]}; check source"
    if store.orders.exclude_tags and not facts.order_tags:
        yield f"orders.exclude_tags: {title}'s orders have no tags, so none is excluded"
    if store.mapping.bundles == "bundle" and not facts.bundle_parts:
        yield f"mapping.bundles: {title}'s orders name each bundle as one, which is sent in any case"
    if store.mapping.currency == "shop" and not facts.shop_currency:
        yield f"mapping.currency: {title}'s orders have one currency, which is sent in any case"


def _placeholder_doubts(store: Store) -> Iterator[str]:
    """Yield a warning for each placeholder of event_id that has no value on the store's platform."""
    registry = installed_platforms()
    usual = EventIdTemplates.of_store("")
    for kind, known in registry.facts(store.platform).placeholders.items():
        for name in dict.fromkeys(PLACEHOLDER.findall(getattr(store.event_id, kind))):
            any_key, colon, _ = name.partition(":")
            if (f"{any_key}:KEY" if colon else name) not in known:
                subject = f"a {registry.title(store.platform)} {kind}"
                remedy = "".join(f"{{{one}}}" for one in PLACEHOLDER.findall(getattr(usual, kind)))
                yield f"event_id.{kind}: {subject} has no {{{name}}}, so none is sent; use {remedy}"


def _name_doubt(name: str) -> str:
    if name == "PlaceAnOrder":
        return "TikTok ends PlaceAnOrder in 2027; until then it works in full"
    if name in RETIRED or name in RESERVED:
        return (
            f"{name} is an old or reserved name, which TikTok maps to {RETIRED.get(name) or RESERVED[name]}; use that"
        )
    if name in STANDARD:
        return ""
    close = next((standard for standard in STANDARD if standard.lower() == name.lower()), "")
    if close:
        return f"{name} is not {close}: names are case-sensitive, so it becomes a custom event"
    return f"{name} is a custom event: it is reported, but campaigns cannot optimise on it"
