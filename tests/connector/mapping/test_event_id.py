"""connector.mapping.event_id: templates are filled, and an event_id says what it is of, as far as its template does."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from connector.core.store import EventIdTemplates
from connector.mapping.event_id import EventSubject, fill_template, object_key, subjects_of
from tests.support.factories import a_store
from tests.support.rows import each_row

ACME = a_store()
BEANS = replace(
    ACME, name="beans", event_id=EventIdTemplates("b{order_number}", "bc-{checkout_token}", "bu-{customer_id}")
)
TOKEN = "84ad78572dae52a8cbea7d55371afe89"


@each_row(
    ("event_id", "named"),
    [
        ("acme-order-7317710292920", [EventSubject("acme", "order", "order:7317710292920")]),
        (f"acme-checkout-{TOKEN}", [EventSubject("acme", "checkout", f"checkout:{TOKEN}")]),
        ("acme-customer-8", [EventSubject("acme", "customer", "customer:8")]),
        ("bSO-1001", [EventSubject("beans", "order", "SO-1001")]),
        (
            f"bc-{TOKEN}",
            [EventSubject("beans", "order", f"c-{TOKEN}"), EventSubject("beans", "checkout", f"checkout:{TOKEN}")],
        ),
        ("acme-order-7317710292920x", []),
        ("acme-order-", []),
        ("", []),
    ],
)
def test_by_the_templates_of_every_store(event_id: str, named: list[EventSubject]) -> None:
    """All that fit, for one id may fit two."""
    assert list(subjects_of(event_id, [ACME, BEANS])) == named


@each_row("template", ["x-{cart_token}", "x-{meta:_key}", "x-{attribute:id}", "x-{checkout_token}"])
def test_what_the_ledger_does_not_know_is_no_key(template: str) -> None:
    """That it is an order is known all the same."""
    (named,) = subjects_of(
        f"x-{TOKEN}", [replace(ACME, event_id=EventIdTemplates(template, "{cart_token}!", "{customer_id}?"))]
    )
    assert (named.key, str(named)) == ("", "an order of acme")


@given(
    st.lists(st.sampled_from(["{order_id}", "{order_name}", "a.b-", "+(", "_"]), min_size=1).filter(
        lambda parts: "{order_id}" in parts
    ),
    st.integers(1, 10**19).map(str),
    st.text(min_size=1),
)
def test_the_order_that_filled_the_template_is_among_what_it_names(parts: list[str], number: str, name: str) -> None:
    """Whatever the template is made of; where ids run into each other more than one reading may be right."""
    template = "".join(f"{part}|" for part in parts)
    event_id = fill_template(template, {"order_id": number, "order_name": name})
    store = replace(ACME, event_id=EventIdTemplates(template, "!{checkout_token}", "!{customer_id}"))
    (named,) = subjects_of(event_id, [store])
    assert named.key.removeprefix("order:") in event_id
    if parts.count("{order_name}") == 0:
        assert named == EventSubject("acme", "order", f"order:{number}")


def test_it_is_told_in_words() -> None:
    """As it is looked for in the shop."""
    assert str(EventSubject("acme", "order", "order:5")) == "order 5 of acme"
    assert str(EventSubject("acme", "order", "SO-5")) == "order SO-5 of acme"
    assert str(EventSubject("acme", "checkout", "")) == "a checkout of acme"


def test_fill() -> None:
    assert fill_template("a-{x}-{attribute:My key}", {"x": "1", "attribute:My key": "{x}"}) == "a-1-{x}"
    assert fill_template("{x}", {}) == fill_template("{x}", {"x": ""}) == ""
    assert fill_template("plain", {}) == "plain"
    assert len(fill_template("{x}", {"x": "y" * 400})) == 400  # cut short, two long tokens could become one event


def test_object_key() -> None:
    assert object_key("order_paid", {"order_id": "1"}) == "order:1"
    assert object_key("customer_registered", {"customer_id": "2"}) == "customer:2"
    assert object_key("checkout_started", {"order_id": "1"}) == ""
