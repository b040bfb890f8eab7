"""Beacons: what is believed of them, what is not, and how many are too many. No database here."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.store import SignalSettings
from connector.signals.collector import (
    ADDRESS_BURST,
    MAX_AGENT,
    MAX_TTP,
    STORE_BURST,
    STORE_RATE,
    BeaconRequest,
    Collector,
    client_ip,
    parse_beacon,
)
from connector.signals.merge import Signal
from tests.support.factories import a_store
from tests.support.rows import each_row

TOKEN = "84ad78572dae52a8cbea7d55371afe89"
AGENT = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X)"
IP = "198.51.99.7"
GOOD = {
    "checkout_token": TOKEN,
    "ttclid": "E.C.P.v1-_x",
    "ttp": "01JCM5Y2WQF6ZT3B8K9A7D4XSE_.tt.1",
    "url": "https://acme.example/products/shirt?ttclid=E.C.P.other&key=secret",
    "referrer": "https://www.tiktok.com/?q=1",
    "user_agent": AGENT,
    "consent": "granted",
}
SHOP = a_store(signals=SignalSettings())


def told(user_agent="Header/1.0", ip=IP, **changes):
    members = {name: value for name, value in (GOOD | changes).items() if value is not None}
    return parse_beacon(json.dumps(members).encode(), user_agent, ip)


def test_a_good_beacon():
    """Every member is taken; of addresses only what is no secret."""
    assert told() == (
        TOKEN,
        Signal(
            ttclid="E.C.P.v1-_x",
            ttp=GOOD["ttp"],
            ip=IP,
            user_agent=AGENT,
            url="https://acme.example/products/shirt?ttclid=E.C.P.other",
            referrer="https://www.tiktok.com/",
            consent="granted",
        ),
    )


def test_the_token_is_enough():
    """Whatever a browser does not know it leaves out; the user agent is then the request's own."""
    assert parse_beacon(b'{"checkout_token": "%s"}' % TOKEN.encode(), AGENT, "") == (TOKEN, Signal(user_agent=AGENT))


def test_the_click_id_may_be_in_the_address_only():
    """As on the page an ad leads to."""
    assert told(ttclid=None)[1].ttclid == "E.C.P.other"


@each_row("token", [None, "", "short", "x" * 129, "with space in it", "naïve-token", "a/b/c/d/e", 12345678, [TOKEN]])
def test_without_a_plausible_token_it_is_no_beacon(token):
    """The token is the only key, so one that could be guessed, or is none, opens nothing."""
    assert told(checkout_token=token) is None


@pytest.mark.parametrize("token", ["x" * 8, "x" * 128, "Z2NwLXVz-ZWFzdDE_6MDFK"])
def test_plausible_tokens(token):
    """Shopify's have 32 digits; other lengths and forms are left open."""
    assert told(checkout_token=token)[0] == token


@each_row("wrong", [17, None, True, [], {}, 1.5, "", "\ud800"])
@each_row("member", sorted(set(GOOD) - {"checkout_token"}))
def test_a_wrong_member_costs_that_member_only(member, wrong):
    """The rest of the beacon is as good as before."""
    body = json.dumps(GOOD | {member: wrong, "new_member": wrong}).encode()
    _, signal = parse_beacon(body, "", IP)
    _, whole = told()
    fallen = {"ttclid": "E.C.P.other"} if member == "ttclid" else {}
    for name in Signal.__struct_fields__:
        expected = fallen.get(name, "") if name == member else getattr(whole, name)
        assert getattr(signal, name) == expected


@each_row(
    ("member", "value"),
    [
        ("ttclid", "E.C P"),
        ("ttclid", "E.C.é"),
        ("ttclid", "x" * 5000),
        ("ttp", "t" * (MAX_TTP + 1)),
        ("ttp", "a\tb"),
        ("url", "javascript:alert(1)"),
        ("url", "//"),
        ("referrer", "ftp://example.com/"),
        ("consent", "GRANTED"),
        ("consent", "yes"),
    ],
)
def test_a_member_beyond_what_a_browser_says_is_left_out(member, value):
    """Each is bounded and checked by itself."""
    _, signal = told(**{"url": None, member: value})
    assert getattr(signal, member) == ""


def test_a_user_agent_of_excessive_length_is_left_out():
    """The request's own stands in, unless it is as long."""
    for member in ("x" * (MAX_AGENT + 1), None):
        body = json.dumps(GOOD | {"user_agent": member}).encode()
        assert parse_beacon(body, "Header/1.0", IP)[1].user_agent == "Header/1.0"
    assert parse_beacon(b'{"checkout_token": "%s"}' % TOKEN.encode(), "x" * (MAX_AGENT + 1), "")[1].user_agent == ""


def test_of_a_denied_beacon_only_the_answer_is_kept():
    """Whoever says no has told us nothing else."""
    assert told(consent="denied") == (TOKEN, Signal(consent="denied"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*GOOD, "x"]), inner, max_size=6),
    max_leaves=12,
)


@given(st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode()), st.text(max_size=40))
def test_any_bytes_are_a_beacon_or_none(body, agent):
    """Never an exception, and nothing in a signal that a database or a payload could not take."""
    found = parse_beacon(body, agent, IP)
    if found is not None:
        for name in Signal.__struct_fields__:
            value = getattr(found[1], name)
            assert isinstance(value, str)
            value.encode()
            assert "\0" not in value


@given(JSON)
def test_any_members_beside_a_good_token_are_a_beacon(value):
    """No member of any type makes a beacon with a token junk."""
    body = json.dumps({**dict.fromkeys(GOOD, value), "checkout_token": TOKEN}).encode()
    assert parse_beacon(body, AGENT, IP)[0] == TOKEN


@each_row("body", [b"", b"null", b"[]", b'"text"', b"{", b'{"checkout_token":', b"[" * 8000, b"{}", b"\xff"])
def test_junk_is_no_beacon(body):
    """Whatever it is."""
    assert parse_beacon(body, AGENT, IP) is None


# Whose address


@each_row(
    ("peer", "forwarded", "hops", "ip"),
    [
        (IP, "", 0, IP),
        (IP, "8.8.8.8", 0, IP),  # anybody may write the header
        ("10.0.0.7", "8.8.8.8", 0, ""),
        ("10.0.0.7", IP, 1, IP),
        ("10.0.0.7", f"8.8.8.8, {IP}", 1, IP),
        ("10.0.0.7", f"8.8.8.8,{IP} , 192.0.2.9", 2, IP),
        ("10.0.0.7", f"{IP}", 2, ""),  # came another way than the operator says
        (IP, "", 1, ""),
        ("10.0.0.7", f"{IP}:4711", 1, IP),
        ("10.0.0.7", "[2606:4700::7]:4711", 1, "2606:4700::7"),
        ("10.0.0.7", "2606:4700::7", 1, "2606:4700::7"),
        ("10.0.0.7", "192.168.1.4", 1, ""),
        ("10.0.0.7", "unknown", 1, ""),
        ("10.0.0.7", "::ffff:198.51.99.7", 1, IP),
        ("::1", "", 0, ""),
        ("", "", 0, ""),
    ],
)
def test_the_client_is_whom_the_farthest_trusted_proxy_saw(peer, forwarded, hops, ip):
    """What stands before it in X-Forwarded-For anybody may have written; an address that is not public is none."""
    assert client_ip(peer, forwarded, hops) == ip


@given(st.text(max_size=30), st.text(max_size=60), st.integers(0, 4))
def test_any_header_gives_an_address_or_none(peer, forwarded, hops):
    """Hostile headers included."""
    assert isinstance(client_ip(peer, forwarded, hops), str)


# How many


class Clock:
    """Seconds that pass only when told to."""

    now = 0.0

    def __call__(self):
        return self.now


def collector(hops=0, **stores):
    clock = Clock()
    return clock, Collector({"acme": SHOP} | stores, hops, elapsed=clock)


def test_one_address_may_send_so_many():
    """And another one as many; an IPv6 address is as good as any other of its line."""
    _, taker = collector()
    for peer in ("198.51.99.7", "198.51.99.8"):
        assert (
            sum(taker.take_permit(SHOP, BeaconRequest(peer, "", "")) for _ in range(ADDRESS_BURST + 5)) == ADDRESS_BURST
        )
    line = [BeaconRequest(f"2606:4700:0:1::{number:x}", "", "") for number in range(1, ADDRESS_BURST + 6)]
    assert sum(taker.take_permit(SHOP, post) for post in line) == ADDRESS_BURST
    assert taker.take_permit(SHOP, BeaconRequest("2606:4700:0:2::1", "", ""))


def test_behind_a_proxy_nobody_is_taken_for_everybody():
    """If all we see is a proxy's private address, only the store's own limit is left."""
    _, taker = collector()
    assert all(taker.take_permit(SHOP, BeaconRequest("10.0.0.1", "", "")) for _ in range(ADDRESS_BURST + 50))


def test_one_store_may_get_so_many():
    """From however many addresses; then so many a second."""
    clock, taker = collector()
    flood = [BeaconRequest(f"198.51.{number % 90}.{number // 90}", "", "") for number in range(STORE_BURST + 100)]
    assert sum(taker.take_permit(SHOP, post) for post in flood) == STORE_BURST
    clock.now = 1.0
    assert sum(taker.take_permit(SHOP, post) for post in flood) == STORE_RATE
