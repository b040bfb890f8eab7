"""Snippet: the code a shop's pages run so that browsers and this server send the same events."""

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

from connector.core.store import Store


class NoSnippet(Exception):
    """There is no snippet for these settings. `reasons` holds one sentence each, with what to do."""

    def __init__(self, reasons: list[str]) -> None:
        self.reasons = reasons
        super().__init__("\n".join(reasons))


class SnippetModule(Protocol):
    """A platform's snippet, as a module. `options` are those of OPTIONS that were chosen."""

    OPTIONS: frozenset[str]  # the options of `connector snippet` that it takes, such as "without_pixel"

    def snippet(self, store: Store, base_url: str = "", options: Collection[str] = ()) -> str:
        """Build the code, ready to paste. `base_url` is where this server is. Raises NoSnippet."""

    def where_to_paste(self, store: Store) -> Sequence[str]:
        """Return lines for the person who has the code in front of them."""

    def snippet_warnings(self, store: Store, options: Collection[str] = ()) -> Iterator[str]:
        """Yield a sentence for each thing that will not be as one might expect."""
