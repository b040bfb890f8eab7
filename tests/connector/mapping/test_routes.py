"""connector.mapping.routes: which pixels an event goes to, for any order and any conditions."""

import dataclasses
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from connector.core.event import MILESTONES, ORDER_KINDS, Address, Customer, Event, Skipped
from connector.core.store import OrderSettings, Pixel, Store
from connector.mapping.routes import NO_PIXEL, browsing_pixels
from connector.mapping.tiktok_event import OutboundEvent, map_events
from tests.support.factories import a_store
from tests.support.rows import each_row

NOW = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
COUNTRIES, CURRENCIES, KINDS = ("DE", "AT", "FR", "US"), ("EUR", "USD"), ("web", "pos", "renewal")
ORDER = Event(
    milestone="order_paid",
    occurred_at=NOW - timedelta(minutes=1),
    ids={"order_id": "1001", "customer_id": "7", "checkout_token": "0123456789abcdef"},
    customer=Customer(id="7", emails=("ann@example.com",), destination=Address(country="DE")),
    currency="EUR",
    total=Decimal("44.50"),
)


def pixel(number, **conditions):
    return Pixel(f"CPIXEL{number:014}", f"token-{number}", **conditions)


def a_shop(*pixels, **changes) -> Store:
    settings = {"pixels": pixels, "country": "DE", "orders": OrderSettings(include=ORDER_KINDS)}
    return a_store(**(settings | changes))


def mapped(event: Event, store: Store):
    return list(map_events([event], store, NOW, NOW - timedelta(days=1)))


def sent(event: Event, store: Store) -> list[tuple[str, str]]:
    """Pixel code and name of each event."""
    return [(item.pixel.code, item.event) for item in mapped(event, store) if isinstance(item, OutboundEvent)]


def reasons(event: Event, store: Store) -> list[str]:
    return [item.reason for item in mapped(event, store) if isinstance(item, Skipped)]


def order(country="DE", **changes) -> Event:
    return replace(ORDER, customer=replace(ORDER.customer, destination=Address(country=country)), **changes)


def some(values):
    return st.lists(st.sampled_from(values), unique=True, max_size=len(values)).map(tuple)


CONDITIONS = st.fixed_dictionaries(
    {
        "countries": some(COUNTRIES),
        "currencies": some(CURRENCIES),
        "kinds": some(KINDS),
        "milestones": some(MILESTONES),
    }
)
ORDERS = st.builds(
    lambda destination, billing, **fields: replace(
        ORDER,
        customer=replace(ORDER.customer, destination=Address(country=destination), address=Address(country=billing)),
        **fields,
    ),
    destination=st.sampled_from(["", "de", *COUNTRIES, "GB", "Germany"]),
    billing=st.sampled_from(["", *COUNTRIES]),
    currency=st.sampled_from(["", *CURRENCIES, "GBP"]),
    kind=st.sampled_from(KINDS),
    milestone=st.sampled_from(MILESTONES),
)


@given(ORDERS, st.lists(CONDITIONS, min_size=1, max_size=4), st.sampled_from(["", "US"]), st.booleans())
def test_an_event_goes_to_exactly_the_pixels_whose_conditions_hold(event, conditions, country, renamed):
    """For any order and any conditions: once to each of these pixels, to no other, and with a reason if to none."""
    of_kinds = {"renewal": {"order_paid": ("Subscribe",)}} if renamed else {}
    pixels = [pixel(number, **wanted) for number, wanted in enumerate(conditions)]
    store = a_shop(*pixels, country=country, events_of_kinds=of_kinds)
    where = (event.customer.destination.country or event.customer.address.country or country).upper()
    expected = Counter(
        code
        for code, wanted in zip((one.code for one in pixels), conditions, strict=True)
        if where in (wanted["countries"] or [where])
        and event.currency in (wanted["currencies"] or [event.currency])
        and event.kind in (wanted["kinds"] or [event.kind])
        and event.milestone in (wanted["milestones"] or [event.milestone])
    )
    found = mapped(event, store)
    assert Counter(item.pixel.code for item in found if isinstance(item, OutboundEvent)) == expected
    skipped = [item.reason for item in found if isinstance(item, Skipped)]
    assert [reason.startswith(NO_PIXEL) for reason in skipped] == ([] if expected else [True])
    subscribed = renamed and (event.kind, event.milestone) == ("renewal", "order_paid")
    assert {item.event == "Subscribe" for item in found if isinstance(item, OutboundEvent)} <= {subscribed}


@given(ORDERS, ORDERS, st.lists(CONDITIONS, min_size=1, max_size=4))
def test_an_order_that_has_changed_knows_its_former_routes(before, after, conditions):
    """Whatever changes about an order, a new route of its milestone is one that the former state names as another."""
    store = a_shop(*(pixel(number, **wanted) for number, wanted in enumerate(conditions)))
    after = replace(after, milestone=before.milestone)
    was = {(item.pixel.code, item.event) for item in mapped(before, store) if isinstance(item, OutboundEvent)}
    for item in mapped(after, store):
        if isinstance(item, OutboundEvent):
            moved = was - {
                (one.pixel.code, one.event) for one in mapped(after, store) if isinstance(one, OutboundEvent)
            }
            assert moved <= item.other_routes
            assert (item.pixel.code, item.event) not in item.other_routes


@each_row(
    ("conditions", "event", "reason"),
    [
        ({"milestones": ("order_placed",)}, order(), "no pixel takes order_paid (pixels.milestones)"),
        ({"kinds": ("web",)}, order(kind="pos"), "no pixel takes order_paid of pos orders (pixels.kinds)"),
        ({"countries": ("DE", "AT")}, order("FR"), "no pixel takes order_paid of web orders to FR (pixels.countries)"),
        (
            {"countries": ("DE",)},
            order("x@y.example"),
            "no pixel takes order_paid of web orders without a country (pixels.countries)",
        ),
        ({"currencies": ("USD",)}, order(), "no pixel takes order_paid of web orders to DE in EUR (pixels.currencies)"),
        (
            {"currencies": ("USD",)},
            order(currency="ann@example.com"),
            "no pixel takes order_paid of web orders to DE in (not shown) (pixels.currencies)",
        ),
        (
            {"currencies": ("EUR",)},
            order(currency="", milestone="customer_registered"),
            "no pixel takes customer_registered to DE without a currency (pixels.currencies)",
        ),
    ],
)
def test_an_order_that_no_pixel_wants_is_skipped_with_the_reason(conditions, event, reason):
    """The reason names the condition, and nothing that a stranger wrote."""
    assert reasons(event, a_shop(pixel(1, **conditions))) == [reason]


def test_the_reason_is_the_condition_that_left_the_last_pixel_out():
    store = a_shop(pixel(1, kinds=("pos",), countries=("FR",)), pixel(2, kinds=("web",), countries=("AT",)))
    assert reasons(order("FR"), store) == ["no pixel takes order_paid of web orders to FR (pixels.countries)"]


def test_a_pixel_for_each_market():
    store = a_shop(pixel(1, countries=("DE", "AT")), pixel(2, countries=("US",), currencies=("USD",)))
    assert sent(order("AT"), store) == [(pixel(1).code, "Purchase")]
    assert sent(order("US", currency="USD"), store) == [(pixel(2).code, "Purchase")]
    assert sent(order("US", currency="EUR"), store) == []
    # without an address it is the store's country
    assert sent(order(""), store) == [(pixel(1).code, "Purchase")]
    registered = order("", milestone="customer_registered", currency="")
    assert sent(registered, store) == [(pixel(1).code, "CompleteRegistration")]


def test_the_destination_decides_then_billing_then_the_store():
    pixels = [pixel(number, countries=(country,)) for number, country in enumerate(("AT", "FR", "US"))]
    store = a_shop(*pixels, country="US")
    at, fr = Address(country="at"), Address(country="fr")
    for destination, billing, code in ((at, fr, 0), (Address(), fr, 1), (Address(), Address(), 2)):
        customer = replace(ORDER.customer, destination=destination, address=billing)
        assert sent(replace(ORDER, customer=customer), store) == [(pixels[code].code, "Purchase")]


def test_names_by_kind():
    """A renewal is a Subscribe, and a placed renewal nothing; other kinds keep their names."""
    store = a_shop(pixel(1), events_of_kinds={"renewal": {"order_paid": ("Subscribe", "Renewal"), "order_placed": ()}})
    renewal = order(kind="renewal")
    assert [name for _, name in sent(renewal, store)] == ["Subscribe", "Renewal"]
    assert [name for _, name in sent(order(), store)] == ["Purchase"]
    placed = replace(renewal, milestone="order_placed")
    assert reasons(placed, store) == ["events.renewal.order_placed is off"]
    assert [name for _, name in sent(replace(placed, milestone="checkout_started"), store)] == ["InitiateCheckout"]
    off = dataclasses.replace(store, events=store.events | {"order_placed": ()}, events_of_kinds={})
    assert reasons(placed, off) == ["events.order_placed is off"]


def test_a_kind_can_be_on_where_the_others_are_off():
    store = a_shop(pixel(1), events_of_kinds={"pos": {"order_paid": ("Purchase",)}})
    store = dataclasses.replace(store, events=store.events | {"order_paid": ()})
    assert sent(order(), store) == []
    assert sent(order(kind="pos"), store) == [(pixel(1).code, "Purchase")]
    assert "order_paid" in store.sent_milestones  # so its webhooks are needed


def test_a_name_of_any_kind_is_as_old_as_the_browser_allows():
    """Only a name that no order has is the server's alone."""
    store = a_shop(
        pixel(1), browser_pixel="own", events_of_kinds={"renewal": {"order_paid": ("CompleteRegistration",)}}
    )
    assert store.age_limit("CompleteRegistration", pixel(1)) == timedelta(hours=47)
    plain = dataclasses.replace(store, events_of_kinds={})
    assert plain.age_limit("CompleteRegistration", pixel(1)) == timedelta(days=7)


def test_without_conditions_nothing_is_looked_for():
    """Stores without routes have no other route, whatever their orders are."""
    for kind, milestone in product(KINDS, MILESTONES):
        for item in mapped(order(kind=kind, milestone=milestone), a_shop(pixel(1), pixel(2))):
            assert isinstance(item, OutboundEvent)
            assert item.keys == [(item.pixel.code, item.event, item.event_id)]
            assert json.loads(item.payload)["page"]["url"]


@each_row(
    ("conditions", "currency", "takes"),
    [
        ({}, "EUR", True),
        ({"countries": ("FR",)}, "EUR", True),  # a visitor's country is not known
        ({"currencies": ("USD",)}, "EUR", False),
        ({"currencies": ("USD",)}, "", True),
        ({"kinds": ("web", "pos")}, "EUR", True),
        ({"kinds": ("pos",)}, "EUR", False),
        ({"milestones": ("order_paid",)}, "EUR", False),
        ({"source": "offline"}, "EUR", False),
    ],
)
def test_what_happens_before_an_order_goes_to_each_market(conditions, currency, takes):
    found = pixel(1, **conditions)
    assert browsing_pixels(a_shop(found), currency) == ((found,) if takes else ())
