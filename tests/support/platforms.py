"""The installed platforms and their samples by name, and one with another shop API: for tests on all platforms."""

from typing import Any

from connector.core.platform import Platform
from connector.core.registry import installed_platforms

PLATFORMS = installed_platforms()
SAMPLES: dict[str, Any] = {name: platform.samples for name, platform in PLATFORMS.items()}


def with_shop_api(name: str, shop_api: Any) -> Platform:
    """The platform of this name, its shop API replaced."""
    found = type(PLATFORMS[name])

    class Replaced(found):
        @property
        def shop_api(self) -> Any:
            return shop_api

    return Replaced()
