"""The installed platforms: found by name, and loaded when a store, a request or a command uses one.

A package provides a platform by an entry point of the group `connector.platforms`. The built-in platforms are found
even if the connector is not installed, as on a PaaS that only installs requirements.txt: each package inside the
top-level package `platforms` is one, under its own name.
"""

import pkgutil
from collections.abc import Callable, Iterator, Mapping, Set
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import TypeVar

from connector.core.platform import Platform, PlatformFacts
from connector.core.text import type_and_place

T = TypeVar("T")

GROUP = "connector.platforms"
BUILT_IN = "platforms"  # the package whose sub-packages are the built-in platforms
ATTRIBUTE = "platform"  # the name of the object in each of them


class BrokenPlatform(Exception):
    """A platform is installed but cannot be loaded. The message names it, its package and the error in one sentence."""


class PlatformRegistry(Mapping[str, Platform]):
    """Platforms by name. `[name]` imports that platform; iterating and testing names imports nothing."""

    def __init__(self, references: Mapping[str, tuple[str, ...]]) -> None:
        """`references` lists the objects that claim each name, as `module:attribute`; more than one is a fault."""
        self._references = references
        self._loaded: dict[str, Platform | BrokenPlatform] = {}

    def __getitem__(self, name: str) -> Platform:
        """Return a platform, loaded on first use. Raises KeyError for an unknown name, and BrokenPlatform."""
        found = self._loaded.get(name) or self._loaded.setdefault(name, _load(name, self._references[name]))
        if isinstance(found, BrokenPlatform):
            raise found
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._references)

    def __len__(self) -> int:
        return len(self._references)

    def __contains__(self, name: object) -> bool:
        return name in self._references

    def facts(self, name: str) -> PlatformFacts:
        """Return a platform's facts, or the defaults if it is unknown or broken."""
        try:
            return self[name].facts
        except (KeyError, BrokenPlatform):
            return PlatformFacts()

    def title(self, name: str) -> str:
        """Return a platform's name as people write it, or `name` if it is unknown or broken."""
        return name if self.fault(name) else self[name].title

    def fault(self, name: str) -> str:
        """Return why a platform cannot be used, or ""."""
        try:
            _ = self[name]
        except BrokenPlatform as broken:
            return str(broken)
        except KeyError:
            return f"platform {name} is not installed; installed are {', '.join(self)}"
        return ""


def part(platform: Platform, read: Callable[[Platform], T]) -> T:
    """Return `read(platform)`: its shop API, snippet or samples, which are loaded then. Raises BrokenPlatform."""
    try:
        return read(platform)
    except (Exception, SystemExit) as error:
        raise BrokenPlatform(
            f"a part of platform {platform.name} cannot be loaded: {type(error).__name__}: {error}"
        ) from error


def failed(platform: Platform, error: Exception) -> BrokenPlatform:
    """Return the exception for a platform whose own code raised `error`, without its message: it may quote a body."""
    return BrokenPlatform(f"platform {platform.name} has a fault: {type_and_place(error)}")


@cache
def installed_platforms() -> PlatformRegistry:
    """Return the installed platforms, without importing any."""
    return PlatformRegistry(find_platforms())


def find_platforms() -> dict[str, tuple[str, ...]]:
    """Find platforms by name, in alphabetical order, with the references of all objects that claim the name."""
    found: dict[str, dict[str, None]] = {}
    for name, reference in (*_built_in(), *((entry.name, entry.value) for entry in entry_points(group=GROUP))):
        found.setdefault(name, {})[reference] = None
    return {name: tuple(found[name]) for name in sorted(found)}


def _built_in() -> Iterator[tuple[str, str]]:
    spec = find_spec(BUILT_IN)  # finds a top-level package without importing it
    for module in pkgutil.iter_modules(spec.submodule_search_locations if spec else []):
        if module.ispkg:
            yield module.name, f"{BUILT_IN}.{module.name}:{ATTRIBUTE}"


def _load(name: str, references: tuple[str, ...]) -> Platform | BrokenPlatform:
    """Import the object. An exception of the package's own code is returned, so that other platforms still work."""
    if len(references) > 1:
        return BrokenPlatform(f"platform {name} is provided by {' and by '.join(references)}; uninstall all but one")
    try:
        found = EntryPoint(name, references[0], GROUP).load()
    except (Exception, SystemExit) as error:
        return BrokenPlatform(f"platform {name} ({references[0]}) cannot be loaded: {type(error).__name__}: {error}")
    if not isinstance(found, Platform) or getattr(found, "name", "") != name:
        return BrokenPlatform(f"platform {name} ({references[0]}) is not a Platform object of that name")
    if wrong := _wrong_attribute(found):
        return BrokenPlatform(f"platform {name} ({references[0]}) has a fault: {wrong}")
    return found


def _wrong_attribute(platform: Platform) -> str:
    """Return which attribute of a platform is missing or of the wrong type, or ""; Python itself checks neither."""
    title = getattr(platform, "title", None)
    if not (isinstance(title, str) and title.strip()):
        return "title must be a text"
    for attribute in ("event_topics", "recorded_topics", "notice_topics"):
        topics = getattr(platform, attribute, None)
        if not (isinstance(topics, Set) and all(isinstance(topic, str) for topic in topics)):
            return f"{attribute} must be a set of texts"
    return "" if isinstance(platform.facts, PlatformFacts) else "facts must be PlatformFacts"
