"""A shop's webhooks as they are and as they should be: what to make and what to remove, and doing it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from connector.core.platform import Platform
from connector.core.registry import installed_platforms
from connector.core.shop_api import ShopApi, ShopApiError, ShopApiModule, Subscription
from connector.core.store import Store

Action = Literal["list", "register", "delete", "sync"]
State = Literal["in place", "missing", "switched off", "double", "old address", "not needed"]
Change = Literal["", "created", "deleted"]

# What leads to the wanted state without taking anything away from another server of ours, such as one for trials.
_REGISTER: dict[State, Change] = {"missing": "created", "switched off": "deleted", "double": "deleted"}
_DEEDS: dict[Action, dict[State, Change]] = {
    "list": {},
    "register": _REGISTER,
    "sync": {**_REGISTER, "old address": "deleted", "not needed": "deleted"},
    "delete": dict.fromkeys(("in place", "switched off", "double", "old address", "not needed"), "deleted"),
}
BY_HAND = "make the webhooks by hand, which needs no keys: README, Connect a shop"


class CannotRegister(Exception):
    """Nothing was changed, for a reason in the settings: one sentence, with what to do."""


@dataclass(frozen=True, slots=True)
class PlannedWebhook:
    """One webhook of ours: how it is, and what is done about it. Without a `subscription` the shop lacks it."""

    topic: str
    url: str
    state: State
    deed: Change = ""
    subscription: Subscription | None = None


@dataclass(frozen=True, slots=True)
class RegistrationPlan:
    """All webhooks of ours, those that should be there first; `others` is how many belong to somebody else."""

    lines: tuple[PlannedWebhook, ...]
    others: int


def plan(
    store: Store, topics: Sequence[str], there: Sequence[Subscription], base: str, action: Action
) -> RegistrationPlan:
    """What `action` does where the shop has the webhooks `there`, and this server is at the URL `base`."""
    base = base.rstrip("/")
    wanted = f"{base}/webhooks/{store.name}"
    # One app in several shops may have one address; where ours is preferred, the shared one comes last.
    shared = installed_platforms().facts(store.platform).shared_url
    taken = [wanted, f"{base}/webhooks/{store.platform}"] if shared else [wanted]
    ours = [one for one in there if _is_ours(one.url, store, taken)]
    ours.sort(key=lambda one: _rank(one.url, taken))
    in_place: set[str] = set()
    found: list[PlannedWebhook] = []
    for one in ours:
        state = _state(one, topics, taken, in_place)
        if state == "in place":
            in_place.add(one.topic)
        found.append(PlannedWebhook(one.topic, one.url, state, subscription=one))
    lacking = [PlannedWebhook(topic, wanted, "missing") for topic in topics if topic not in in_place]
    lines = [_with_deed(line, action) for line in (*lacking, *found)]
    lines.sort(key=lambda line: line.state not in ("in place", "missing"))
    return RegistrationPlan(tuple(lines), len(there) - len(ours))


def _with_deed(line: PlannedWebhook, action: Action) -> PlannedWebhook:
    return replace(line, deed=_DEEDS[action].get(line.state, ""))


def _state(one: Subscription, topics: Sequence[str], taken: Sequence[str], in_place: set[str]) -> State:
    if _rank(one.url, taken) == len(taken):
        return "old address"
    if one.topic not in topics:
        return "not needed"
    if not one.active:
        return "switched off"
    return "double" if one.topic in in_place else "in place"


def _is_ours(url: str, store: Store, taken: Sequence[str]) -> bool:
    """By the path, which ends in the store's name, wherever this server was before; the shared one only here."""
    if _rank(url, taken) < len(taken):
        return True
    parts = _parts(url)
    paths = {f"/webhooks/{store.name}", *(here.path for here in map(_parts, taken[:1]) if here)}
    return parts is not None and parts.path.rstrip("/") in paths


def goes_to(url: str, store: Store) -> bool:
    """Whether this is a store's address on some server of ours, its own or the one that all of its platform share."""
    parts = _parts(url)
    return parts is not None and parts.path.rstrip("/").endswith(
        (f"/webhooks/{store.name}", f"/webhooks/{store.platform}")
    )


def same_place(one: str, other: str) -> bool:
    """Whether two URLs are the same, however their hosts are spelled."""
    return _place(one) == _place(other)


def _rank(url: str, taken: Sequence[str]) -> int:
    """The place of this URL among `taken`, however its host is spelled, or how many there are."""
    place = _place(url)
    places = [_place(each) for each in taken]
    return places.index(place) if place in places else len(taken)


def _place(url: str) -> tuple[object, ...]:
    parts = _parts(url)
    if parts is None:
        return (url,)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    return (parts.scheme, parts.hostname, port, parts.path, parts.query)


def _parts(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises if it is none
    except ValueError:
        return None
    return parts


def connect(store: Store, platform: Platform) -> ShopApi:
    """Open the shop's API. Raises CannotRegister without keys, ShopApiError if they are of no use."""
    try:
        return _module(store, platform).connect(store)
    except ShopApiError as fault:
        if store.api is None:
            raise CannotRegister(f"{fault}; or {BY_HAND}") from None
        raise


def prepare(store: Store, platform: Platform, base: str, action: Action) -> tuple[ShopApi, RegistrationPlan]:
    """Ask the shop and plan; nothing is changed yet.

    Raises CannotRegister without keys, when the shop would not deliver to `base`, or when what it delivers would be
    refused here; ShopApiError when its API does not answer.
    """
    module, shop_api = _module(store, platform), connect(store, platform)
    if not base and action != "delete":
        raise CannotRegister("where shall the webhooks go? Set PUBLIC_URL or give --base-url https://HOST")
    if action in ("register", "sync"):
        if why := why_not_to(base, store, platform):
            raise CannotRegister(why)
        signs = store.api.client_secret if store.api and not module.SETS_SECRET else ""
        if signs and signs not in store.webhook_secrets:
            raise CannotRegister(
                f"store {store.name}: what the app registers is signed with its client secret, and would be answered "
                "401 here; list that in webhook_secrets, too"
            )
    return shop_api, plan(store, module.topics(store), shop_api.subscriptions(), base, action)


def _module(store: Store, platform: Platform) -> ShopApiModule:
    if platform.shop_api is None:
        raise CannotRegister(f"store {store.name}: the API of {platform.title} is not supported; {BY_HAND}")
    return platform.shop_api


def why_not_to(base: str, store: Store, platform: Platform) -> str:
    """Why a store's webhooks cannot go to a server at the URL `base`, in a sentence with what to do; "" if they can."""
    why = platform.shop_api.why_not_url(f"{base.rstrip('/')}/webhooks/{store.name}") if platform.shop_api else ""
    return f"webhooks cannot go to {shown(base)}: {why}" if why else ""


def apply_plan(lines: Sequence[PlannedWebhook], shop_api: ShopApi, secret: str) -> Iterator[PlannedWebhook]:
    """Do what the lines say; each is returned when done, with the webhook that was made or removed.

    Raises ShopApiError, and what was returned stays done. What is missing is made first, so that no moment is without.
    """
    for line in sorted(lines, key=lambda line: line.deed == "deleted"):
        found = line.subscription
        if line.deed == "created":
            found = shop_api.subscribe(line.topic, line.url, secret)
        elif line.deed == "deleted" and found:
            shop_api.unsubscribe(found)
        yield replace(line, subscription=found)


def shown(url: str) -> str:
    """A URL without what may be secret in it."""
    parts = _parts(url)
    if parts is None:
        return "this URL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
