"""Whom a request comes from, when proxies of ours stand between."""


def origin(peer: str, forwarded: str, hops: int) -> str:
    """The address, whatever it is; "" if a proxy that should have noted it did not.

    `peer` is the connection's. Each of the `hops` trusted proxies adds the address it was called from to
    X-Forwarded-For (`forwarded`), so the farthest one's entry is the client's; what stands before it anybody may have
    written. https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/X-Forwarded-For
    """
    if hops == 0:
        return peer
    entries = forwarded.split(",")
    return _bare(entries[-hops].strip()) if len(entries) >= hops else ""


def _bare(address: str) -> str:
    """Some proxies write a port behind it: 192.0.2.1:4711, [2001:db8::1]:4711."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address
