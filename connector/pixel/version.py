"""The version of a printed snippet: a short hash of its code, by which one that was pasted before a change is noticed.

The code consists of this release's files and of the settings that influence it. The address of this server is not part
of the hash, as `connector snippet --base-url` may give another one than PUBLIC_URL.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator
from itertools import combinations

from connector.core.registry import BrokenPlatform, installed_platforms, part
from connector.core.snippet import NoSnippet, SnippetModule
from connector.core.store import Store
from connector.pixel import plain
from connector.pixel.snippet import VERSION_MARK

_ANYWHERE = "https://connector.invalid"


def printed(module: SnippetModule, store: Store, base_url: str = "", options: Collection[str] = ()) -> str:
    """Return the code with its version, ready to paste. Raises NoSnippet."""
    code = module.snippet(store, base_url, options)
    return code.replace(VERSION_MARK, version(module, store, options))


def version(module: SnippetModule, store: Store, options: Collection[str] = ()) -> str:
    """Return the version of the code as it would be printed now: eight hexadecimal digits. Raises NoSnippet."""
    return hashlib.sha256(module.snippet(store, _ANYWHERE, options).encode()).hexdigest()[:8]


def current_versions(store: Store) -> frozenset[str]:
    """Return the versions of all code that can be printed for a store now: any options, and the plain snippet."""
    return frozenset(_versions(store))


def _versions(store: Store) -> Iterator[str]:
    for module in _modules(store):
        for options in _subsets(module.OPTIONS):
            try:
                yield version(module, store, options)
            except NoSnippet:
                continue


def _modules(store: Store) -> Iterator[SnippetModule]:
    yield plain
    registry = installed_platforms()
    try:
        module = part(registry[store.platform], lambda platform: platform.snippet)
    except (BrokenPlatform, KeyError):
        return
    if module is not None:
        yield module


def _subsets(options: Iterable[str]) -> Iterator[tuple[str, ...]]:
    names = sorted(options)
    for number in range(len(names) + 1):
        yield from combinations(names, number)
