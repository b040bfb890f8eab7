"""Registration of a shop's webhooks: compares those it has with those it needs, and creates or deletes them."""

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from connector.core.platform import Platform
from connector.core.registry import installed_platforms, part
from connector.core.shop_api import Pause, ShopApi, ShopApiError, ShopApiModule, Subscription
from connector.core.store import Store

Action = Literal["list", "register", "delete", "sync"]
State = Literal["in place", "missing", "switched off", "broken", "double", "old address", "not needed"]
Change = Literal["", "created", "deleted"]

# The changes that register all webhooks without touching those of another connector, such as a staging server.
_REGISTER: dict[State, Change] = {"missing": "created"}
_REGISTER |= dict.fromkeys(("switched off", "broken", "double"), "deleted")
_CHANGES: dict[Action, dict[State, Change]] = {
    "list": {},
    "register": _REGISTER,
    "sync": {**_REGISTER, "old address": "deleted", "not needed": "deleted"},
    "delete": dict.fromkeys(("in place", "switched off", "broken", "double", "old address", "not needed"), "deleted"),
}
BY_HAND = "create the webhooks by hand, which needs no keys: see the quickstart of your platform in docs/"


class CannotRegister(Exception):
    """The settings do not allow registration; nothing was changed. The message says what to do."""


@dataclass(frozen=True, slots=True)
class PlannedWebhook:
    """One webhook of the connector: its state, and the change to make. `subscription` is None if the shop lacks it."""

    topic: str
    url: str
    state: State
    change: Change = ""
    subscription: Subscription | None = None


@dataclass(frozen=True, slots=True)
class RegistrationPlan:
    """All webhooks of the connector, the needed ones first; `others` is the number of webhooks created by others."""

    lines: tuple[PlannedWebhook, ...]
    others: int


def plan(
    store: Store,
    topics: Sequence[str],
    existing: Sequence[Subscription],
    base: str,
    action: Action,
    broken: Collection[str] = (),
) -> RegistrationPlan:
    """Return what `action` changes if the shop has the webhooks `existing` and this server is at the URL `base`.

    Webhooks of the topics in `broken` are known to deliver errors.
    """
    base = base.rstrip("/")
    wanted = f"{base}/webhooks/{store.name}"
    # An app in several shops can use the address that they share; the store's own address is preferred.
    shared = installed_platforms().facts(store.platform).shared_url
    addresses = [wanted, f"{base}/webhooks/{store.platform}"] if shared else [wanted]
    own = [webhook for webhook in existing if _is_own(webhook.url, store, addresses)]
    own.sort(key=lambda webhook: _rank(webhook.url, addresses))
    in_place: set[str] = set()
    found: list[PlannedWebhook] = []
    for webhook in own:
        state = _state(webhook, topics, addresses, in_place)
        if state in ("in place", "double") and webhook.topic in broken:
            state = "broken"
        if state == "in place":
            in_place.add(webhook.topic)
        found.append(PlannedWebhook(webhook.topic, webhook.url, state, subscription=webhook))
    lacking = [PlannedWebhook(topic, wanted, "missing") for topic in topics if topic not in in_place]
    lines = [_with_change(line, action) for line in (*lacking, *found)]
    lines.sort(key=lambda line: line.state not in ("in place", "missing"))
    return RegistrationPlan(tuple(lines), len(existing) - len(own))


def _with_change(line: PlannedWebhook, action: Action) -> PlannedWebhook:
    return replace(line, change=_CHANGES[action].get(line.state, ""))


def _state(webhook: Subscription, topics: Sequence[str], addresses: Sequence[str], in_place: set[str]) -> State:
    if _rank(webhook.url, addresses) == len(addresses):
        return "old address"
    if webhook.topic not in topics:
        return "not needed"
    if not webhook.active:
        return "switched off"
    return "double" if webhook.topic in in_place else "in place"


def _is_own(url: str, store: Store, addresses: Sequence[str]) -> bool:
    """Return whether a URL is one of this server's addresses, or the store's own path on any former host."""
    if _rank(url, addresses) < len(addresses):
        return True
    parts = _parts(url)
    paths = {f"/webhooks/{store.name}", *(here.path for here in map(_parts, addresses[:1]) if here)}
    return parts is not None and parts.path.rstrip("/") in paths


def goes_to(url: str, store: Store) -> bool:
    """Return whether a URL has the path of a store's own address or of its platform's shared one, on any host."""
    parts = _parts(url)
    return parts is not None and parts.path.rstrip("/").endswith(
        (f"/webhooks/{store.name}", f"/webhooks/{store.platform}")
    )


def same_url(one: str, other: str) -> bool:
    """Return whether two URLs are equal, ignoring the case of the host and a default port."""
    return _normalized(one) == _normalized(other)


def _rank(url: str, addresses: Sequence[str]) -> int:
    """Return the index of a URL among `addresses`, their number if it is not one of them."""
    return next((rank for rank, address in enumerate(addresses) if same_url(url, address)), len(addresses))


def _normalized(url: str) -> tuple[object, ...]:
    parts = _parts(url)
    if parts is None:
        return (url,)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    return (parts.scheme, parts.hostname, port, parts.path, parts.query)


def _parts(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError if it is invalid
    except ValueError:
        return None
    return parts


def connect(store: Store, platform: Platform, pause: Pause = time.sleep) -> ShopApi:
    """Open the shop's API, which waits by `pause`.

    Raises CannotRegister without keys, ShopApiError with invalid ones.
    """
    try:
        return _module(store, platform).connect(store, pause=pause)
    except ShopApiError as error:
        if store.api is None:
            raise CannotRegister(f"{error}; or {BY_HAND}") from None
        raise


def prepare(
    store: Store,
    platform: Platform,
    base: str,
    action: Action,
    broken: Collection[str] = (),
    pause: Pause = time.sleep,
) -> tuple[ShopApi, RegistrationPlan]:
    """Read the shop's webhooks and plan the changes, without making them; `broken` as in `plan`, `pause` in `connect`.

    Raises CannotRegister without keys, if the shop does not deliver to `base`, or if this server would refuse the
    signatures of what it delivers; ShopApiError if the API fails.
    """
    module, shop_api = _module(store, platform), connect(store, platform, pause)
    if not base and action != "delete":
        raise CannotRegister("the address of this server is unknown: set PUBLIC_URL or give --base-url https://HOST")
    if action in ("register", "sync"):
        if why := why_not_to(base, store, platform):
            raise CannotRegister(why)
        signs = store.api.client_secret if store.api and not module.SETS_SECRET else ""
        if signs and signs not in store.webhook_secrets:
            raise CannotRegister(
                f"store {store.name}: webhooks that the app registers are signed with its client secret, and would be "
                "answered 401; add the client secret to webhook_secrets"
            )
    return shop_api, plan(store, module.topics(store), shop_api.subscriptions(), base, action, broken)


def _module(store: Store, platform: Platform) -> ShopApiModule:
    found = part(platform, lambda one: one.shop_api)
    if found is None:
        raise CannotRegister(f"store {store.name}: the API of {platform.title} is not supported; {BY_HAND}")
    return found


def why_not_to(base: str, store: Store, platform: Platform) -> str:
    """Return why a shop cannot deliver webhooks to a server at `base`, with what to do; "" if it can.

    Raises BrokenPlatform.
    """
    shop_api = part(platform, lambda one: one.shop_api)
    why = shop_api.why_not_url(f"{base.rstrip('/')}/webhooks/{store.name}") if shop_api else ""
    return f"webhooks cannot go to {redact_url(base)}: {why}" if why else ""


def apply_plan(lines: Sequence[PlannedWebhook], shop_api: ShopApi, secret: str) -> Iterator[PlannedWebhook]:
    """Apply the changes; yield each line when done, with the webhook that was created or deleted.

    Raises ShopApiError; changes already yielded stay. Missing webhooks are created first, so that none is missed.
    """
    for line in sorted(lines, key=lambda line: line.change == "deleted"):
        found = line.subscription
        if line.change == "created":
            found = shop_api.subscribe(line.topic, line.url, secret)
        elif line.change == "deleted" and found:
            shop_api.unsubscribe(found)
        yield replace(line, subscription=found)


def redact_url(url: str) -> str:
    """Return a URL without credentials, query and fragment, which can be secret."""
    parts = _parts(url)
    if parts is None:
        return "this URL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
