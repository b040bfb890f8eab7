"""The installed platforms and their samples by name, and one with another shop API: for tests on all platforms."""

from typing import Any

from connector.core.platform import Platform
from connector.core.registry import PlatformRegistry, installed_platforms


def left_out(registry: PlatformRegistry) -> dict[str, str]:
    """Why each platform that cannot be tested is left out, so that a half-written one fails no other's tests."""
    reasons = {
        name: registry.fault(name) or _thin(registry[name]) or _without_samples(registry[name]) for name in registry
    }
    return {name: reason for name, reason in reasons.items() if reason}


def _thin(platform: Platform) -> str:
    """These tests send whole orders."""
    about = (
        f"platform {platform.name} only names orders: tests/platforms/{platform.name} and the conformance kit test it"
    )
    return about if platform.notice_topics else ""


def _without_samples(platform: Platform) -> str:
    try:
        return "" if platform.samples else f"platform {platform.name} has no samples, which the tests send"
    except Exception as error:
        return f"the samples of platform {platform.name} cannot be loaded: {type(error).__name__}: {error}"


LEFT_OUT = left_out(installed_platforms())
PLATFORMS = {name: installed_platforms()[name] for name in installed_platforms() if name not in LEFT_OUT}
SAMPLES: dict[str, Any] = {name: platform.samples for name, platform in PLATFORMS.items()}


def with_shop_api(name: str, shop_api: Any) -> Platform:
    """The platform of this name, its shop API replaced."""
    found = type(PLATFORMS[name])

    class Replaced(found):
        @property
        def shop_api(self) -> Any:
            return shop_api

    return Replaced()
