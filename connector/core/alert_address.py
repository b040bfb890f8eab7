"""Addresses that alerts and digests are sent to: web hooks by https, and the services of Apprise by other schemes.

An address is a secret: who knows it can post, and many contain a password. Only its scheme is ever shown.
"""

import re
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from connector.core.values import Value, refuse, text, web_url

ALERT_ADDRESS = (
    "be an address: https://… for a Slack-compatible incoming webhook (http only for this machine), or that of a "
    "service of Apprise, like slack://…, mailtos://… or tgram://… (https://appriseit.com/services/)"
)
_BETWEEN = re.compile(r"[\s,]+(?=[A-Za-z][A-Za-z0-9+.-]*://)|\s+")
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://\S+")


def addresses_in(value: str) -> list[str]:
    """Return the addresses of a text in which spaces, line breaks or commas separate them, each of them once."""
    return [*dict.fromkeys(address.rstrip(",") for address in _BETWEEN.split(value.strip()) if address)]


def is_address(address: str) -> bool:
    """Return True if alerts can be sent to an address, as far as its form shows without loading Apprise."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
        return False
    return _is_safe_web_address(address) if match[1].lower() in ("http", "https") else True


def service_of(address: str) -> str:
    """Return what may be shown of an address: its scheme, "webhook" for a plain one."""
    scheme = address.partition("://")[0].lower()
    return "webhook" if scheme in ("http", "https") else scheme


def _is_safe_web_address(address: str) -> bool:
    """Require https, except on this machine."""
    if not web_url(address.rstrip("/")):
        return False
    parts = urlsplit(address)
    try:
        is_local = parts.hostname == "localhost" or ip_address(parts.hostname or "").is_loopback
    except ValueError:
        is_local = False
    return parts.scheme == "https" or is_local


def _addresses(value: object) -> str:
    found = addresses_in(text(re.sub(r"[\r\n\t]+", " ", value) if isinstance(value, str) else value))
    wrong = [place for place, address in enumerate(found, 1) if not is_address(address)]
    if wrong:
        refuse(f"must {ALERT_ADDRESS}" + (f"; address {wrong[0]} of {len(found)} is not" if len(found) > 1 else ""))
    return " ".join(found)


def _address(value: object) -> str:
    found = text(value)
    return found if is_address(found) else refuse(f"must {ALERT_ADDRESS}")


AlertAddresses = Annotated[str, Value(_addresses, f"{ALERT_ADDRESS}; several are separated by spaces")]
AlertAddress = Annotated[str, Value(_address, ALERT_ADDRESS)]
