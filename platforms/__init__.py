"""One folder per shop system: verify and translate its webhooks, and ask its API."""

from connector.core.registry import installed_platforms

PLATFORMS = installed_platforms()
