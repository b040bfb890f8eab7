"""Pixels with conditions, names by kind and offline sets in the stores file: read, refused, said and doubted."""

import json
from dataclasses import replace

import pytest

from connector.config.routes import shared_words
from connector.config.summary import plain_words, warnings
from connector.core.event import ORDER_KINDS
from connector.core.store import KIND_MILESTONES, KindEvents, MilestoneEvents, OrderSettings, Pixel
from tests.support.factories import a_store
from tests.support.rows import each_row
from tests.support.stores_file import CODE, OTHER_CODE, loaded, only_problem, problems, store

SET = "7012345678901234567"
ONE, OTHER = Pixel(CODE, "token"), Pixel(OTHER_CODE, "token")


def with_pixels(*rows, more=""):
    written = "".join(f"[[stores.acme.pixels]]\n{row}\n" for row in rows)
    return store(pixel=None, access_token=None, more=f"{more}\n{written}")


def row(code=CODE, **keys):
    listed = "\n".join(f"{key} = {json.dumps(value)}" for key, value in keys.items())
    return f'pixel = "{code}"\naccess_token = "t"\n{listed}'


def test_conditions_are_read():
    rows = (
        row(countries=["de", "AT"], currencies=["eur"], kinds=["web"], milestones=["order_paid"]),
        row(SET, source="offline", milestones=["order_paid"]),
    )
    first, second = loaded(with_pixels(*rows)).stores["acme"].pixels
    conditions = {"countries": ("DE", "AT"), "currencies": ("EUR",), "kinds": ("web",), "milestones": ("order_paid",)}
    assert first == Pixel(CODE, "t", **conditions)
    assert (first.source, second.source, second.has_conditions) == ("web", "offline", True)


@each_row(
    ("key", "value", "wrong"),
    [
        ("countries", ["UK"], "must be a two-letter ISO 3166 country code"),
        ("countries", "DE", "must be a list"),
        ("currencies", ["EURO"], "must be a three-letter ISO 4217 currency code"),
        ("kinds", ["shop"], '"marketplace"'),
        ("milestones", ["Purchase"], '"order_paid"'),
        ("source", "crm", 'must be one of "web", "offline"'),
        ("country", ["DE"], "did you mean countries?"),
    ],
)
def test_a_bad_condition_is_named(key, value, wrong):
    line = only_problem(with_pixels(row(**{key: value})))
    assert line.startswith(f"stores.acme.pixels[0].{key}: ")
    assert wrong in line


def test_a_condition_outside_of_pixels_says_where_it_belongs():
    assert only_problem(store(more='countries = ["DE"]')) == (
        "stores.acme.countries: a choice of one of several pixels; write it in a table [[stores.NAME.pixels]]"
    )


def test_names_of_a_kind_inherit_key_by_key():
    """From [defaults], from the store, and from the names of all kinds."""
    defaults = '[defaults.events.renewal]\norder_paid = "Subscribe"\n'
    more = '[stores.acme.events]\norder_placed = ""\n[stores.acme.events.renewal]\ncheckout_started = ["A", "B"]'
    found = loaded(defaults + store(more=more)).stores["acme"]
    assert found.events_of_kinds == {"renewal": {"order_paid": ("Subscribe",), "checkout_started": ("A", "B")}}
    assert found.event_names("order_placed", "renewal") == ()
    assert found.event_names("order_paid", "renewal") == ("Subscribe",)
    assert found.event_names("order_paid", "web") == ("Purchase",)
    assert found.all_event_names("order_paid") == ("Purchase", "Subscribe")


@pytest.mark.parametrize(
    ("table", "path", "wrong"),
    [
        ("events.renewl", "events.renewl", "did you mean renewal?"),
        ("events.renewal", "events.renewal.customer_registered", "unknown key; known here: checkout_started"),
    ],
)
def test_an_unknown_kind_or_milestone_is_named(table, path, wrong):
    line = only_problem(store(more=f'[stores.acme.{table}]\ncustomer_registered = "X"'))
    assert line.startswith(f"stores.acme.{path}: ")
    assert wrong in line


def test_every_kind_of_order_can_have_names_of_its_own():
    assert set(MilestoneEvents.__annotations__) >= set(ORDER_KINDS)
    assert tuple(KindEvents.__annotations__) == KIND_MILESTONES


# --- offline event sets ---------------------------------------------------------------------------------------


def test_an_offline_set_takes_standard_names_only():
    """The problem says which milestones are left, or which names to change."""
    assert only_problem(with_pixels(row(SET, source="offline"))) == (
        "stores.acme.pixels[0]: offline event sets take TikTok's current standard names only, not PlaceAnOrder "
        '(order_placed); set milestones = ["order_paid", "checkout_started", "customer_registered"] here'
    )
    kind = '[stores.acme.orders]\ninclude = ["renewal"]\n[stores.acme.events.renewal]\norder_paid = "Renewal"'
    offline = row(SET, source="offline", kinds=["renewal"], milestones=["order_paid"])
    line = only_problem(with_pixels(offline, more=kind))
    assert line.endswith("not Renewal (order_paid); choose others in events")
    assert loaded(with_pixels(offline, more=kind.replace('"Renewal"', '"Subscribe"')))


def test_tiktok_s_own_app_does_not_send_to_an_offline_set():
    """What only such a set receives may be on beside the app."""
    sales = '[stores.acme.orders]\ninclude = ["web", "pos"]\n[stores.acme.events.pos]\norder_paid = "Purchase"'
    more = 'browser_pixel = "official"\n[stores.acme.events]\norder_paid = ""\ncheckout_started = ""\n' + sales
    offline = row(SET, source="offline", kinds=["pos"], milestones=["order_paid"])
    assert loaded(with_pixels(row(kinds=["web"]), offline, more=more))
    (line,) = problems(with_pixels(row(), offline, more=more))
    assert line.startswith("stores.acme.events.pos.order_paid: TikTok's own app sends this too")


# --- plain words and doubts -----------------------------------------------------------------------------------


def the_store(*pixels, include=("web", "pos", "renewal"), **changes):
    return a_store(pixels=pixels, country="DE", orders=OrderSettings(include=include), **changes)


def said(found):
    """The sentences about kinds and pixels."""
    return [one for one in plain_words(found) if "ixel" in one or "ffline" in one or "renewal orders," in one]


def doubts(found):
    return [one for one in warnings(found) if one.startswith(("pixels", "events.renewal"))]


def test_routes_are_said_in_plain_words():
    till = Pixel(SET, "other", source="offline", kinds=("pos",), milestones=("order_paid",))
    home = replace(ONE, countries=("DE", "AT"), kinds=("web", "renewal"))
    abroad = replace(OTHER, countries=("US",), currencies=("USD",), kinds=("web",), test_event_code="TEST1")
    found = the_store(
        home, abroad, till, events_of_kinds={"renewal": {"order_placed": (), "order_paid": ("Subscribe",)}}
    )
    assert said(found) == [
        "Of renewal orders, order_placed is not sent, and order_paid is sent as Subscribe (events.renewal).",
        f"Pixel {CODE}: live, only events of web or renewal orders to DE or AT.",
        f"Pixel {OTHER_CODE}: Test Events only (TEST1), only events of web orders to US in USD.",
        (
            f"Offline event set {SET}: live, only order_paid of pos orders; with e-mail and phone, without anything of "
            "a browser."
        ),
        "No pixel takes order_placed or checkout_started of pos orders (pixels).",
    ]
    assert doubts(found) == []


def test_what_no_pixel_takes_is_said():
    found = the_store(replace(ONE, countries=("DE",)), replace(OTHER, countries=("FR", "DE"), currencies=("EUR",)))
    assert said(found)[2] == "No pixel takes events of other countries than DE, FR (pixels.countries)."
    both = the_store(replace(ONE, currencies=("EUR",)))
    assert said(both)[1:] == [
        "No pixel takes customer_registered (pixels).",
        "No pixel takes events of other currencies than EUR (pixels.currencies).",
    ]


def test_orders_that_two_pixels_of_one_advertiser_count_are_found():
    """One token is one advertiser. Other tokens may be, so that is a remark."""
    first = replace(ONE, countries=("DE", "AT"), milestones=("order_placed", "order_paid"))
    second = replace(OTHER, countries=("CH", "AT"), currencies=("EUR",), kinds=("web", "renewal"))
    shared = f"{CODE} and {OTHER_CODE} both count order_placed, order_paid of web or renewal orders to AT in EUR"
    found = the_store(first, second)
    assert doubts(found) == [
        (
            f"pixels: {shared}, and are of one advertiser, as they share an access_token; give them conditions of "
            "which only one holds (countries, currencies, kinds, milestones)"
        )
    ]
    other = the_store(first, replace(second, access_token="another"))
    assert doubts(other) == []
    assert f"Pixels {shared}: right for two advertisers, twice for one (pixels)." in said(other)


@each_row(
    ("first", "second"),
    [
        ({"countries": ("DE",)}, {"countries": ("AT",)}),
        ({"currencies": ("EUR",)}, {"currencies": ("USD",)}),
        ({"kinds": ("web",)}, {"kinds": ("pos",), "milestones": ("order_paid",)}),
        ({"milestones": ("order_paid",)}, {"milestones": ("checkout_started",)}),
        ({"kinds": ("exchange",)}, {"kinds": ("exchange",)}),  # which are not sent at all
        ({"test_event_code": "TEST1"}, {}),  # which no report counts
    ],
)
def test_pixels_that_never_meet_are_not_doubted(first, second):
    found = the_store(replace(ONE, **first), replace(OTHER, **second))
    assert not [doubt for doubt in doubts(found) if "both count" in doubt]
    assert list(shared_words(found)) == []


def test_two_stores_of_one_shop_are_compared():
    one, other = the_store(replace(ONE, countries=("DE",))), the_store(OTHER, name="beta")
    assert [certain for certain, _ in shared_words(one, other)] == [True]
    assert "to DE" in next(shared_words(one, other))[1]
    assert list(shared_words(one, the_store(replace(OTHER, countries=("FR",)), name="beta"))) == []


def test_what_has_no_effect_is_doubted():
    found = the_store(ONE, replace(OTHER, kinds=("pos",)), include=("web",), events_of_kinds={"renewal": {}})
    assert doubts(found) == [
        f"pixels: {OTHER_CODE} receives nothing: no event fits its kinds and milestones; orders.include has no pos",
        'events.renewal has no effect: renewal orders are skipped unless orders.include has "renewal"',
    ]


def test_names_of_a_kind_are_doubted_like_others():
    found = the_store(ONE, events_of_kinds={"renewal": {"order_paid": ("subscribe",)}})
    assert doubts(found) == [
        "events.renewal.order_paid: subscribe is not Subscribe: names are case-sensitive, so it becomes a custom event"
    ]


@pytest.mark.parametrize(
    ("pixel", "looks"),
    [
        (Pixel(SET, "t"), "the id of an offline event set"),
        (Pixel(CODE, "t", source="offline", milestones=("order_paid",)), "a pixel code"),
    ],
)
def test_a_code_of_the_other_source_is_doubted(pixel, looks):
    """TikTok would refuse every event."""
    assert doubts(the_store(pixel)) == [f"pixels: {pixel.code} looks like {looks}; check source"]
