"""A request's client address behind trusted proxies, and the key by which requests are rate-limited."""

from ipaddress import IPv6Address, ip_address


def client_address(peer: str, forwarded: str, hops: int) -> str:
    """The client's address; "" if a proxy that should have recorded it did not.

    `peer` is the connection's address. Each of the `hops` trusted proxies appends the address it was called from to
    X-Forwarded-For (`forwarded`), so the outermost proxy's entry is the client's; a client can write any entries before
    it. https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/X-Forwarded-For
    """
    if hops == 0:
        return peer
    entries = forwarded.split(",")
    return _without_port(entries[-hops].strip()) if len(entries) >= hops else ""


def rate_limit_key(address: str) -> str:
    """The key for counting requests: an IPv4 address, or the /64 network of an IPv6 address.

    A device chooses the lower half of an IPv6 address and can change it at any time: https://www.rfc-editor.org/rfc/rfc8981.
    Anything else is returned unchanged.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    # A dual-stack socket shows an IPv4 client as ::ffff:192.0.2.1.
    return str(parsed.ipv4_mapped) if parsed.ipv4_mapped else f"{IPv6Address(parsed.packed[:8] + bytes(8))}/64"


def _without_port(address: str) -> str:
    """Remove the port that some proxies append: 192.0.2.1:4711, [2001:db8::1]:4711."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address
