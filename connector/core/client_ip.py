"""A request's client address behind trusted proxies, and the key by which requests are rate-limited."""

from ipaddress import IPv6Address, ip_address


def client_address(peer: str, forwarded: str, hops: int) -> str:
    """The client's address; "" if a proxy that should have recorded it did not.

    `peer` is the connection's address. Each of the `hops` trusted proxies appends the address it was called from to
    X-Forwarded-For (`forwarded`), so the farthest proxy's entry is the client's; anybody may have written what precedes
    it. https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/X-Forwarded-For
    """
    if hops == 0:
        return peer
    entries = forwarded.split(",")
    return _bare(entries[-hops].strip()) if len(entries) >= hops else ""


def rate_limit_key(address: str) -> str:
    """The key for counting requests: an IPv4 address, or the /64 network of an IPv6 address.

    A device chooses the other half of an IPv6 address and changes it at will: https://www.rfc-editor.org/rfc/rfc8981.
    Anything else is returned unchanged.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return str(found)
    # A socket that accepts both kinds shows an IPv4 caller as ::ffff:192.0.2.1.
    return str(found.ipv4_mapped) if found.ipv4_mapped else f"{IPv6Address(found.packed[:8] + bytes(8))}/64"


def _bare(address: str) -> str:
    """An address without the port that some proxies append: 192.0.2.1:4711, [2001:db8::1]:4711."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address
