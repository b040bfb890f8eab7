"""Snippet: code for a shop's pages, with which browsers send the same events as this server."""

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

from connector.core.store import Store


class NoSnippet(Exception):
    """There is no snippet for these settings. Each of `reasons` is a sentence with the remedy."""

    def __init__(self, reasons: list[str]) -> None:
        self.reasons = reasons
        super().__init__("\n".join(reasons))


class SnippetModule(Protocol):
    """A platform's snippet, as a module. `options` are the chosen ones of OPTIONS."""

    OPTIONS: frozenset[str]  # options of `connector snippet` that it supports, such as "without_pixel"

    def snippet(self, store: Store, base_url: str = "", options: Collection[str] = ()) -> str:
        """Build the code, ready to paste. `base_url` is the address of this server. Raises NoSnippet."""

    def where_to_paste(self, store: Store) -> Sequence[str]:
        """Return lines that tell the reader of the code where to paste it."""

    def snippet_warnings(self, store: Store, options: Collection[str] = ()) -> Iterator[str]:
        """Yield a sentence for each unexpected effect of the settings."""
