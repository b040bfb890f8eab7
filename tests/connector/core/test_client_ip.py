"""connector.core.client_ip: whose requests count together."""

from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from connector.core.client_ip import rate_limit_key

HALVES = st.integers(0, 2**64 - 1)
MAPPED = 0xFFFF << 32  # ::ffff:0:0/96 holds the IPv4 addresses


def spelled(upper: int, lower: int) -> str:
    return str(IPv6Address((upper << 64) + lower))


@given(HALVES.filter(bool), HALVES, HALVES)
def test_all_addresses_of_an_ipv6_line_count_together(line: int, one: int, other: int) -> None:
    """However they are written."""
    assert rate_limit_key(spelled(line, one)) == rate_limit_key(spelled(line, other))
    assert rate_limit_key(IPv6Address((line << 64) + one).exploded.upper()) == rate_limit_key(spelled(line, one))


@given(HALVES, HALVES, HALVES)
def test_another_line_is_another_household(one: int, other: int, lower: int) -> None:
    """The upper half tells them apart."""
    assert (rate_limit_key(spelled(one, lower)) == rate_limit_key(spelled(other, lower))) == (one == other)


@given(st.ip_addresses(v=4), st.ip_addresses(v=4))
def test_each_ipv4_address_is_one_also_where_a_socket_shows_it_as_ipv6(one: IPv4Address, other: IPv4Address) -> None:
    """Else everybody who comes by IPv4 would share one half of zeros."""
    assert rate_limit_key(str(one)) == rate_limit_key(spelled(0, MAPPED + int(one))) == str(one)
    assert (rate_limit_key(str(one)) == rate_limit_key(spelled(0, MAPPED + int(other)))) == (one == other)


@given(st.text())
def test_what_is_no_address_is_counted_as_it_is(text: str) -> None:
    """A proxy may write "unknown"."""
    assert rate_limit_key(f"{text}?") == f"{text}?"
