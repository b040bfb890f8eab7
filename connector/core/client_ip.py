"""Whom a request comes from, when proxies of ours stand between, and whose requests count together."""

from ipaddress import IPv6Address, ip_address


def client_address(peer: str, forwarded: str, hops: int) -> str:
    """The address, whatever it is; "" if a proxy that should have noted it did not.

    `peer` is the connection's. Each of the `hops` trusted proxies adds the address it was called from to
    X-Forwarded-For (`forwarded`), so the farthest one's entry is the client's; what stands before it anybody may have
    written. https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/X-Forwarded-For
    """
    if hops == 0:
        return peer
    entries = forwarded.split(",")
    return _bare(entries[-hops].strip()) if len(entries) >= hops else ""


def rate_limit_key(address: str) -> str:
    """What requests are counted by: an IPv4 address, or the half of an IPv6 one that a line has (its /64).

    The other half a device makes up, and changes at will: https://www.rfc-editor.org/rfc/rfc8981. What is no address is
    returned as it is.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return str(found)
    # As a socket that takes both kinds shows an IPv4 caller.
    return str(found.ipv4_mapped) if found.ipv4_mapped else f"{IPv6Address(found.packed[:8] + bytes(8))}/64"


def _bare(address: str) -> str:
    """Some proxies write a port behind it: 192.0.2.1:4711, [2001:db8::1]:4711."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address
