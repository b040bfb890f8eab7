"""A page's report: what is believed of it, and what is kept of others' event_ids."""

import json

from hypothesis import given
from hypothesis import strategies as st

from connector.core.store import Pixel
from connector.meter.report import LONGEST, MAX_COPIES, Report, ReportReader
from tests.support.factories import CODE, OTHER_CODE, a_store
from tests.support.rows import each_row

VERSION = "0123abcd"
OFFLINE = Pixel("7012345678901234567", "t", source="offline", milestones=("order_paid",))
READER = ReportReader(a_store(pixels=(Pixel(CODE, "t"), OFFLINE), meter=True))
COPY = {
    "pixel": CODE,
    "event": "Purchase",
    "event_id": "acme-order-1001",
    "value": 44.5,
    "currency": "USD",
    "ours": True,
    "after": 1500,
}


def read(*copies, **members):
    return READER.read(json.dumps({"version": VERSION, "loaded": True, "copies": copies} | members).encode())


def only(**changes):
    (copy,) = read(COPY | changes).copies
    return copy


def test_a_copy_of_this_code():
    """Under the store's event_id, with the time since it was sent and its value."""
    copy = only()
    assert (copy.pixel, copy.event, copy.event_id, copy.is_foreign) == (CODE, "Purchase", "acme-order-1001", False)
    assert (copy.sender, copy.after, copy.value, copy.currency) == ("snippet", 1.5, 445_000, "USD")
    assert only(ours=False).sender == "other"
    assert only(event="InitiateCheckout", event_id="acme-checkout-0123456789abcdef").is_foreign is False


@each_row("event_id", ["tt_1", "jane@example.com", "acme-order-x", "ACME-order-1", 1001, "x" * 5000])
def test_of_another_event_id_only_a_digest_is_kept(event_id):
    """Nobody knows what other code writes into it; the same one is the same again."""
    copy = only(event_id=event_id)
    assert copy.is_foreign
    assert copy.event_id.startswith("sha256:")
    assert len(copy.event_id) == 39
    assert only(event_id=event_id) == copy
    assert only(event_id=f"{event_id}0").event_id != copy.event_id


@each_row("event_id", [None, "", {}, []])
def test_without_an_event_id_every_copy_counts(event_id):
    """TikTok cannot tell two of them apart."""
    first, second = read(COPY | {"event_id": event_id}, COPY | {"event_id": event_id}).copies
    assert first.event_id != second.event_id
    assert first.is_foreign


@each_row("changes", [{"pixel": OTHER_CODE}, {"pixel": OFFLINE.code}, {"event": "ViewContent"}, {"event": 1}])
def test_what_the_server_does_not_send_is_left_out(changes):
    """Another shop's pixel, an offline set, a step before the order."""
    assert read(COPY | changes).copies == ()


@each_row(
    ("changes", "expected"),
    [
        ({"value": "44.5"}, (None, "USD", 1.5)),
        ({"value": -1}, (None, "USD", 1.5)),
        ({"value": 1e300}, (None, "USD", 1.5)),
        ({"value": True}, (None, "USD", 1.5)),
        ({"currency": "usd"}, (None, "", 1.5)),
        ({"currency": None}, (None, "", 1.5)),
        ({"after": -5}, (445_000, "USD", 0.0)),
        ({"after": 10**12}, (445_000, "USD", LONGEST)),
        ({"after": "soon"}, (445_000, "USD", 0.0)),
    ],
)
def test_a_wrong_value_costs_only_itself(changes, expected):
    """An amount that is none, a currency that TikTok does not list, a time that no page takes."""
    copy = only(**changes)
    assert (copy.value, copy.currency, copy.after) == expected


def test_a_report_has_twenty_copies_at_most():
    """More no page sends."""
    many = [COPY | {"event_id": f"acme-order-{number}"} for number in range(50)]
    assert len(read(*many).copies) == MAX_COPIES


@each_row(
    "body",
    ["", "[]", "null", '{"version": 1}', '{"version": "0123ABCD"}', '{"version": "0123abcd0"}', "{" * 5000, "\ud800"],
)
def test_what_is_no_report_is_dropped(body):
    """One without a version, above all."""
    assert READER.read(body.encode(errors="surrogatepass")) is None


def test_a_report_without_an_order():
    """Most are."""
    assert READER.read(b'{"version": "0123abcd", "loaded": 1, "copies": {}}') == Report(VERSION, loaded=False)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.binary(max_size=200), st.sampled_from([*COPY, "copies"]), JSON)
def test_nothing_breaks_the_reader(body, key, value):
    """Anybody can send any bytes, and any JSON."""
    READER.read(body)
    changed = {"copies": value} if key == "copies" else {"copies": [COPY | {key: value}]}
    READER.read(json.dumps({"version": VERSION} | changed).encode())
