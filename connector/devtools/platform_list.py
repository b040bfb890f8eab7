"""`connector platforms`: the installed platforms, the package of each, what each can do, and what is wrong with it."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version

from connector import __version__
from connector.core.platform import Platform
from connector.core.public_keys import DetachedJws
from connector.core.registry import BUILT_IN, BrokenPlatform, PlatformRegistry, part


@dataclass(frozen=True, slots=True)
class PlatformSummary:
    """One platform. `can` has one short text for each thing it can do; `fault` says why it cannot be used, or ""."""

    name: str
    title: str
    package: str
    can: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


def summaries(registry: PlatformRegistry) -> Iterator[PlatformSummary]:
    """Yield all installed platforms in alphabetical order; loads each of them, and its parts."""
    for name in registry:
        if why := registry.fault(name):
            yield PlatformSummary(name, name, "", faults=(why,))
            continue
        platform = registry[name]
        can, faults = [*_receives(platform)], []
        for text, read in (
            ("shop API: webhooks, backfill, reconcile", lambda one: one.shop_api),
            ("snippet", lambda one: one.snippet),
            ("samples: simulate, demo, conformance", lambda one: one.samples),
        ):
            try:
                can += [text] if part(platform, read) else []
            except BrokenPlatform as error:
                faults.append(str(error))
        yield PlatformSummary(name, platform.title, _package(platform), tuple(can), tuple(faults))


def _receives(platform: Platform) -> Iterator[str]:
    facts = platform.facts
    yield f"sends {', '.join(facts.milestones)}"
    yield f"signed by {type(platform.signature).__name__} in {platform.signature.header}"
    if platform.notice_topics:
        yield "thin webhooks: orders are fetched by the shop API"
    if facts.key_address or isinstance(platform.signature, DetachedJws):
        yield "public keys are fetched"
    if facts.shared_url:
        yield f"one address for several shops: /webhooks/{platform.name}"
    if facts.signals:
        yield "browser signals"


def _package(platform: Platform) -> str:
    """Return the distribution that the platform comes from and its version, or its module if no metadata names one."""
    module = type(platform).__module__
    top = module.partition(".")[0]
    if top == BUILT_IN:
        return f"built in, {__version__}"
    found = packages_distributions().get(top)
    return f"{found[0]} {version(found[0])}" if found else module
