"""The address that webhooks are delivered to, for platforms whose shops deliver to public https hosts only."""

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

RESERVED = ("localhost", "local", "localdomain", "internal", "lan", "home", "test", "invalid")


def why_not_public(url: str, title: str, own_hosts: tuple[str, ...] = ()) -> str:
    """Return why the platform called `title` would not deliver to this URL, with the remedy, or "".

    `own_hosts` are endings of its own hosts, such as ".myshop.example".
    """
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        _ = parts.port  # raises ValueError if it is not a port
    except ValueError:
        return "it is not a URL; give the public https address of this server"
    if parts.scheme != "https":
        return f"{title} delivers to https only; give the https address of this server"
    if parts.username is not None or parts.password is not None:
        return "it contains a user name or password; leave both out"
    if not _is_public(host):
        return f"{title} cannot reach its host from outside; give this server's public host name (or a tunnel's)"
    if own_hosts and host.endswith(own_hosts):
        return f"{title} does not deliver to its own hosts; give the address of this server, not the shop's"
    return ""


def _is_public(host: str) -> bool:
    try:
        address = ip_address(host)
        return address.is_global and not address.is_multicast
    except ValueError:
        pass
    labels = host.split(".")
    if len(labels) < 2 or not all(re.fullmatch(r"[\w-]{1,63}", label) for label in labels):
        return False
    if labels[-1] in RESERVED:
        return False
    return not re.fullmatch(r"\d+|0x[0-9a-f]*", labels[-1])  # such as 127.1, a loopback address
