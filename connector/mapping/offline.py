"""Items for offline event sets (`source = "offline"`): the fields that TikTok documents for that source.

They have neither page nor browser, e-mail and phone as the only match keys, and standard event names.
https://business-api.tiktok.com/portal/docs?id=1771101151059969 (parameters, by event source)
"""

import msgspec
from msgspec import Raw

from connector.core.json_fields import present

ITEM_FIELDS = ("event", "event_time", "event_id", "user", "properties")
USER_FIELDS = ("email", "phone")
WEB_PROPERTIES = ("customer_type",)  # for the sources web and app only
NOTHING_TO_MATCH_OFFLINE = "nothing to match on: no e-mail nor phone, which an offline event set needs"
LIMITED_DATA_USE = "limited_data_use applies, which offline event sets do not know"

_FIELDS = msgspec.json.Decoder(dict[str, Raw])


def offline_item(item: bytes) -> bytes:
    """Return an item without the fields that the source "offline" does not take. An offline item stays as it is."""
    found = _FIELDS.decode(item)
    user = {name: value for name, value in _fields(found, "user").items() if name in USER_FIELDS}
    properties = {name: value for name, value in _fields(found, "properties").items() if name not in WEB_PROPERTIES}
    kept = {name: value for name, value in found.items() if name in ITEM_FIELDS}
    return msgspec.json.encode(present(**kept | {"user": user, "properties": properties}))


def _fields(item: dict[str, Raw], name: str) -> dict[str, Raw]:
    return _FIELDS.decode(item[name]) if name in item else {}
