"""Lists in pages, the next of which is named by a cursor (page_info) in the header Link: for platforms' APIs."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import parse_qs

import msgspec

from connector.core.shop_api import ShopApiError

_LINK = re.compile(r'<([^<>]*)>\s*;\s*rel="?(\w+)"?')

Query = Mapping[str, str | int]


class ListPage(NamedTuple):
    """A page as received: its JSON, and its header Link or ""."""

    body: bytes
    link: str


def cursor_pages(
    ask: Callable[[Query], ListPage], name: str, query: Query, limit: int, broken: Callable[[], ShopApiError]
) -> Iterator[list[bytes]]:
    """Yield the resources under `name` of each page that has some, in pages of `limit`. Raises what `ask` raises.

    Later pages are asked for with the cursor alone, as filters beside it are refused or ignored. A cursor that was
    there before raises `broken()`: such a list never ends.
    """
    query, seen = {**query, "limit": limit}, {""}
    while True:
        page = ask(query)
        if found := resources(page.body, name, broken):
            yield found
        cursor = next_cursor(page.link)
        if not cursor:
            return
        if cursor in seen:
            raise broken()
        seen.add(cursor)
        query = {"limit": limit, "page_info": cursor}


def resources(body: bytes, name: str, broken: Callable[[], ShopApiError]) -> list[bytes]:
    """Return each resource as the bytes received: decoding and encoding would lose digits of numbers."""
    try:
        return [bytes(raw) for raw in msgspec.json.decode(body, type=dict[str, list[msgspec.Raw]])[name]]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError):
        raise broken() from None


def next_cursor(link: str) -> str:
    """Return the cursor of the next page, or "". The URL in the header is not followed; it could lead anywhere."""
    for url, rel in _LINK.findall(link):
        if rel == "next":
            return next(iter(parse_qs(url.partition("?")[2]).get("page_info", [])), "")
    return ""
