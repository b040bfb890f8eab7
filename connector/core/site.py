"""Sites: hosts that share a registrable domain, and so the cookies set for it."""

from ipaddress import ip_address


def common_domain(one: str, other: str) -> str:
    """Return the labels at the end that two host names share, at least two of them, or "".

    Public suffixes such as "co.uk" are not known here: a browser refuses cookies for them.
    """
    shared: list[str] = []
    for label, same in zip(reversed(one.split(".")), reversed(other.split(".")), strict=False):
        if label != same or not label:
            break
        shared.insert(0, label)
    if len(shared) < 2 or _is_address(one) or _is_address(other):
        return ""
    return ".".join(shared)


def is_same_site(one: str, other: str) -> bool:
    """Return True if two hosts are the same, or under one domain."""
    return bool(one) and (one == other or bool(common_domain(one, other)))


def is_part_of(name: str, domain: str) -> bool:
    """Return True if a host is `domain` or a sub-domain of it, so that the domain's owner speaks for it."""
    return bool(domain) and (name == domain or (name.endswith(f".{domain}") and not _is_address(domain)))


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
