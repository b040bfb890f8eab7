"""Questions to TikTok, to PUBLIC_URL and to a store's shop: what only the network can say about a setup.

Nothing here runs in a webhook's request. Every request has a time limit.
"""

import socket
import ssl
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args
from urllib.parse import urlsplit

import httpx
import msgspec

from connector.config.settings import Config
from connector.core.platform import Platform
from connector.core.registry import BrokenPlatform, part
from connector.core.shop_api import ShopApiError
from connector.core.store import Pixel, Store
from connector.relay.events_api import EventsApi
from connector.sync.registration import RegistrationPlan, prepare, why_not_to
from connector.sync.shop_wait import ShopWait

Mark = Literal["ok", "note", "warning", "fault"]
Subject = Literal["address", "token", "api", "webhooks"]
SUBJECTS: tuple[Subject, ...] = get_args(Subject)
Obstacle = Literal["", "missing", "broken", "undeliverable", "never_sent", "no_answer"]
TIKTOK = "tiktok.com"
ALIVE = {"status": "alive"}  # the answer of /healthz


@dataclass(frozen=True, slots=True)
class LiveResult:
    """One answer: a sentence with the remedy. A note is neither good nor bad. `problem` names some of them."""

    about: Subject
    mark: Mark
    text: str
    problem: Obstacle = ""


def ask(
    config: Config, store: Store, platform: Platform, broken: Collection[str], wait: ShopWait, client: httpx.Client
) -> Iterator[LiveResult]:
    """Yield everything that can be asked about one store, as it is answered; `broken` as in `ask_shop`."""
    yield reachable(client, config.public_url)
    for pixel in store.pixels:
        yield token(config.events_api_url, client, store, pixel)
    yield from ask_shop(store, platform, config.public_url, broken, wait)


def token(events_api_url: str, client: httpx.Client, store: Store, pixel: Pixel) -> LiveResult:
    """Send an event to Test Events, by which TikTok accepts or denies the token."""
    if not pixel.test_event_code:
        return LiveResult("token", "note", "the token is checked only with a test_event_code, which is not set")
    item = {"event": "ConnectorCheck", "event_time": int(datetime.now(UTC).timestamp()), "event_id": "connector-check"}
    item |= {"user": {"external_id": "0" * 64}, "page": {"url": store.url}}
    if pixel.source == "offline":  # takes no custom names
        item |= {"event": "Contact", "user": {"email": "0" * 64}}
    outcome = EventsApi(events_api_url, client).send(pixel, pixel.test_event_code, [msgspec.json.encode(item)])
    if outcome.verdict == "accepted":
        return LiveResult("token", "ok", f"TikTok accepts the token for pixel {pixel.code}")
    reason = f"{outcome.code or ''} {outcome.message}".strip()
    if outcome.code is None and outcome.verdict == "retry":
        return LiveResult("token", "fault", f"{reason}; {reach_remedy(events_api_url)}", "no_answer")
    return LiveResult("token", "fault", f"TikTok answers {reason}; check pixel and access_token")


def is_tiktok(events_api_url: str) -> bool:
    """Return True if events go to TikTok itself, not to a sandbox."""
    return (urlsplit(events_api_url).hostname or "").endswith(TIKTOK)


def reach_remedy(events_api_url: str) -> str:
    """Return what to do if the Events API does not answer."""
    if is_tiktok(events_api_url):
        return f"see that this server reaches {urlsplit(events_api_url).hostname}: its network, firewall and proxy"
    return f"`EVENTS_API_URL` is {events_api_url}: start `connector sandbox` there, or unset it for TikTok's own"


def reachable(client: httpx.Client, url: str) -> LiveResult:
    """Ask this server for a sign of life at its public address."""
    if not url:
        return LiveResult(
            "address", "note", "PUBLIC_URL is not set, so whether shops can reach this server was not checked"
        )
    try:
        answer = client.get(url.rstrip("/") + "/healthz")
    except httpx.HTTPError as error:
        return LiveResult("address", "fault", f"PUBLIC_URL {url}{_why_unreachable(error)}")
    if answer.status_code != 200:
        return LiveResult(
            "address",
            "fault",
            f"PUBLIC_URL {url}/healthz answers {answer.status_code}, not 200; set PUBLIC_URL to this server's own "
            "address, without a redirect, or see its proxy",
        )
    if not _is_alive(answer):
        return LiveResult(
            "address",
            "fault",
            f"PUBLIC_URL {url} is the address of something else: its /healthz is not the connector's; set PUBLIC_URL "
            "to this server's own address",
        )
    return LiveResult("address", "ok", f"PUBLIC_URL {url} answers")


def _is_alive(answer: httpx.Response) -> bool:
    try:
        return bool(answer.json() == ALIVE)
    except (ValueError, RecursionError):
        return False


def _why_unreachable(error: BaseException) -> str:
    """Return why a server cannot be reached, from the cause that httpx wraps."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f": its certificate is not trusted ({cause.verify_message}), so shops refuse it too; install one of a "
                "public authority for this host, with the whole chain"
            )
        if isinstance(cause, ssl.SSLError):
            return ": no secure connection is possible; see that https is served there"
        if isinstance(cause, socket.gaierror):
            return " cannot be reached: its host name is not found; see that it is spelled right and in the DNS"
        if isinstance(cause, ConnectionRefusedError):
            return " cannot be reached: nothing accepts connections there; start the server, or see its proxy's port"
        cause = cause.__cause__ or cause.__context__
    return f" cannot be reached ({type(error).__name__})"


def ask_shop(
    store: Store, platform: Platform, public_url: str, broken: Collection[str], wait: ShopWait
) -> Iterator[LiveResult]:
    """Ask the shop's API whether the keys work and the needed webhooks are registered.

    Webhooks of the topics in `broken` are known to deliver errors.
    """
    try:
        module = part(platform, lambda one: one.shop_api)
    except BrokenPlatform as error:
        yield LiveResult("api", "fault", str(error))
        return
    if module is None:
        yield LiveResult("api", "note", f"the API of {platform.title} is not supported")
        return
    if store.api is None:
        yield LiveResult("api", "note", f"the shop is not checked without [stores.{store.name}.api]")
        return
    reported = set()
    try:
        with wait:
            for result in module.connect(store, pause=wait.pause).check():
                wait.progress()
                reported.add(result.sentence)
                yield LiveResult("api", "ok" if result.good else "fault", result.sentence)
            if not public_url:
                yield LiveResult("webhooks", "note", "set PUBLIC_URL to check its webhooks")
                return
            shop_api, plan = prepare(store, platform, public_url, "list", broken, wait.pause)
            yield _webhooks(store, platform, plan, why_not_to(public_url, store, platform))
            for topic in dict.fromkeys(line.topic for line in plan.lines):
                if why := shop_api.why_never_sent(topic):
                    yield LiveResult("webhooks", "warning", why, "never_sent")
    except ShopApiError as fault:
        if str(fault) not in reported:
            yield LiveResult("api", "fault", str(fault))


def _webhooks(store: Store, platform: Platform, plan: RegistrationPlan, why_not: str) -> LiveResult:
    """Return a warning, not a fault, for missing webhooks: a shop's API can hide those created by hand."""
    missing = [line.topic for line in plan.lines if line.state == "missing"]
    errors = [line.topic for line in plan.lines if line.state == "broken"]
    if errors:
        return LiveResult(
            "webhooks",
            "warning",
            f"the webhooks for {', '.join(dict.fromkeys(errors))} deliver errors in place of data: "
            f"`connector webhooks register {store.name}` replaces them",
            "broken",
        )
    if why_not:
        return LiveResult("webhooks", "warning", why_not, "undeliverable")
    if not missing:
        return LiveResult("webhooks", "ok", "all needed webhooks are registered and active")
    unseen = f"; {platform.facts.hidden_webhooks}" if platform.facts.hidden_webhooks else ""
    return LiveResult(
        "webhooks",
        "warning",
        f"no active webhook for {', '.join(missing)}: `connector webhooks register {store.name}` creates them{unseen}",
        "missing",
    )
