"""`connector demo`: runs sandbox, server and relay, and a shopper in a shop of each platform."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from connector.config.settings import Config, load
from connector.core.event import FUNNEL_MILESTONES
from connector.core.platform import Platform
from connector.core.registry import BrokenPlatform, installed_platforms
from connector.core.store import Store
from connector.devtools.simulate import simulate
from connector.setup.samples import NoSamples, samples_of

DEFAULTS = """
[defaults]
consent = "not_required"
country = "US"
webhook_secrets = ["${DEMO_SECRET}"]
access_token = "${DEMO_TOKEN}"
"""
FUNNEL = ("ViewContent", "AddToCart", "AddPaymentInfo", "Search")  # what browsers report before an order
MATCH_KEYS = ("email", "phone", "external_id", "ttclid", "ttp", "ip", "user_agent")
BROWSER = {"User-Agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) Version/18.1 Mobile Safari/604.1"}
MAX_WAIT = 40.0  # seconds, enough for a slow machine's start


@dataclass(frozen=True, slots=True)
class Demo:
    """The running processes: their configuration, and the URLs of server and sandbox."""

    config: Config
    server: str
    sandbox: str


def demo(once: bool, say: Callable[[str], None]) -> int:
    """Run the demo; without `once`, until interrupted. Return 0 if every expected event was accepted, otherwise 1."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="connector-demo-"))
        running = _start(stack, Path(folder), say)
        if running is None:
            say("The server did not start; the reason is in its log above.")
            return 1
        error = _send_webhooks(running, say) or _report_steps(running, say)
        items = _wait_for(running)
        _table(items, say)
        missing = _missing(running.config, items)
        if error or missing:
            say(f"\nNot everything arrived: {error or ', '.join(missing)}")
            return 1
        say(
            f"\nAll {len(items)} events arrived at the sandbox. Delivery is at least once under one event_id; "
            "TikTok drops copies for 48 hours."
        )
        if not once:
            _wait_for_interrupt(running, say)
    return 0


def demonstrable() -> list[Platform]:
    """Return the installed platforms that have sample webhooks."""
    registry = installed_platforms()
    found = []
    for name in registry:
        try:
            samples_of(registry[name])
        except (BrokenPlatform, NoSamples):
            continue
        found.append(registry[name])
    return found


def _store(platform: Platform, sandbox: str) -> str:
    """Return the stores-file section of the platform's demo shop. Its pixel has 20 characters, like a real one.

    The sandbox answers for its API, if its webhooks only name an order.
    """
    shop = samples_of(platform).DEMO_SHOP
    api = f'api = {{ access_token = "any", url = "{sandbox}/shops/{platform.name}/{shop.shop}" }}'
    return f"""
[stores.{shop.store}]
platform = "{platform.name}"
url = "{shop.url}"
shop = "{shop.shop}"
pixel = "{f"CDEMO{platform.name.upper()}".ljust(20, "0")[:20]}"
funnel = {{}}
books = true
{api if platform.notice_topics else ""}
"""


def _start(stack: ExitStack, folder: Path, say: Callable[[str], None]) -> Demo | None:
    server_port, sandbox_port = _free_port(8000, stack), _free_port(9090, stack)
    environment = {name: value for name, value in os.environ.items() if name not in ("DYNO", "RENDER", "K_SERVICE")}
    sandbox = f"http://127.0.0.1:{sandbox_port}"
    environment |= {
        "STORES_TOML": DEFAULTS + "".join(_store(platform, sandbox) for platform in demonstrable()),
        "DEMO_SECRET": os.urandom(16).hex(),
        "DEMO_TOKEN": os.urandom(16).hex(),
        "DATABASE_URL": f"sqlite:///{folder}/demo.db",
        "EVENTS_API_URL": f"{sandbox}/open_api/v1.3",
        "PORT": str(server_port),
        "PUBLIC_URL": f"http://127.0.0.1:{server_port}",
        "ADMIN_PASSWORD": os.environ.get("ADMIN_PASSWORD")
        or os.urandom(8).hex(),  # the server listens on all addresses
        "LOG_LEVEL": "WARNING",
        "ALLOW_SQLITE": "1",
    }
    say("Starting the sandbox (a fake Events API), the server and the relay …")
    for arguments in (["sandbox", "--port", str(sandbox_port)], ["serve"]):
        stack.callback(_terminate, subprocess.Popen([sys.executable, "-m", "connector", *arguments], env=environment))  # noqa: S603
    running = Demo(load(environment), f"http://127.0.0.1:{server_port}", sandbox)
    started = _wait_until(lambda: _answers(f"{running.server}/readyz") and _answers(f"{running.sandbox}/counts"))
    return running if started else None


def _send_webhooks(running: Demo, say: Callable[[str], None]) -> str:
    """Send the webhooks of one shopper per store, each twice, as shops do. Return an error, or ""."""
    rng = random.Random()  # noqa: S311 — invented people, no secrets
    for store in running.config.stores.values():
        url = f"{running.server}/webhooks/{store.name}"
        samples = samples_of(installed_platforms()[store.platform])
        topics = [topic for topic in samples.FUNNEL for _ in range(2)]
        report = simulate(store, url, topics, 1, rng, lambda: None)
        say(f"{store.name} ({store.platform}): {len(topics) // 2} webhooks, each sent twice: {dict(report.statuses)}")
        if not report.good:
            return f"the server answered {dict(report.statuses)}: {report.error}"
    store = next(iter(running.config.stores.values()))
    wrong = installed_platforms()[store.platform].signed_headers(b"{}", "another secret")
    refused = httpx.post(f"{running.server}/webhooks/{store.name}", content=b"{}", headers=wrong)
    say(f"{store.name}: a webhook with an invalid signature is answered {refused.status_code}\n")
    return "" if refused.status_code == 401 else f"an invalid signature was answered {refused.status_code}"


def _report_steps(running: Demo, say: Callable[[str], None]) -> str:
    """Report the steps before each store's order, as a page does after a click on an ad; return an error, or ""."""
    for store in running.config.stores.values():
        url = f"{running.server}/collect/{store.name}"
        token = httpx.get(f"{url}/token", headers=BROWSER).json()["token"]
        product = {"content_id": "1001", "content_name": "Shirt", "quantity": 1}
        steps = [
            {
                "milestone": milestone,
                "event_id": os.urandom(16).hex(),
                "properties": {"search_string": "shirt"} if milestone == "searched" else {"contents": [product]},
            }
            for milestone in FUNNEL_MILESTONES
        ]
        page = {"token": token, "url": store.url, "ttclid": f"E.C.P.{os.urandom(12).hex()}", "events": steps}
        answer = httpx.post(f"{url}/event", content=json.dumps(page), headers=BROWSER)
        say(
            f"{store.name} ({store.platform}): {len(steps)} steps before the order, reported by a browser: "
            f"{answer.status_code}"
        )
        if answer.status_code != 204:
            return f"a browser's report was answered {answer.status_code}"
    say("")
    return ""


def _wait_for(running: Demo) -> list[dict[str, Any]]:
    def first_copies() -> list[dict[str, Any]]:
        return [row for row in _received(running.sandbox) if not row["duplicate"]]

    _wait_until(lambda: not _missing(running.config, first_copies()))
    return first_copies()


def _received(sandbox: str) -> list[dict[str, Any]]:
    # Decimal keeps the digits as sent: 44.50, not 44.5.
    return list(httpx.get(f"{sandbox}/received").json(parse_float=Decimal))


def _missing(config: Config, items: list[dict[str, Any]]) -> list[str]:
    arrived = {(row["event_source_id"], row["item"]["event"]) for row in items}
    return [
        f"{store.name}: {event}"
        for store in config.stores.values()
        for event in _expected(store)
        if (store.pixels[0].code, event) not in arrived
    ]


def _expected(store: Store) -> list[str]:
    """Return the events of a shopper who does all that the store's platform reports, and that browsers report."""
    milestones = installed_platforms().facts(store.platform).milestones
    return [*(event for milestone in milestones for event in store.events[milestone]), *FUNNEL]


def _table(items: list[dict[str, Any]], say: Callable[[str], None]) -> None:
    rows = [("pixel", "event", "event_id", "value", "match keys")]
    for received in items:
        item = received["item"]
        properties = item.get("properties", {})
        value = f"{properties['value']} {properties['currency']}" if "value" in properties else "-"
        keys = " ".join(key for key in MATCH_KEYS if key in item.get("user", {}))
        event_id = item["event_id"] if len(item["event_id"]) <= 40 else item["event_id"][:39] + "…"
        rows.append((received["event_source_id"], item["event"], event_id, value, keys))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _wait_for_interrupt(running: Demo, say: Callable[[str], None]) -> None:
    password = "your ADMIN_PASSWORD" if os.environ.get("ADMIN_PASSWORD") else running.config.admin_password
    say(f"\nThe dashboard:       {running.server}/ (password: {password})")
    say(f"The sandbox's page:  {running.sandbox}/")
    say("Ctrl-C ends everything.")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()


def _terminate(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(15)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _wait_until(condition: Callable[[], bool]) -> bool:
    deadline, pause = time.monotonic() + MAX_WAIT, threading.Event()
    while time.monotonic() < deadline:
        if condition():
            return True
        pause.wait(0.1)
    return False


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except (httpx.HTTPError, json.JSONDecodeError):
        return False


def _free_port(preferred: int, stack: ExitStack) -> int:
    """Return the preferred port, or the next one that is free. Raises OSError.

    Not any port that the system offers: it may give that one to a client before the server has started. Until the stack
    is closed, the UDP port of that number is taken, so that another demo that starts now does not find it free, too.
    """
    for port in range(preferred, preferred + 100):
        lock = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        with suppress(OSError), socket.socket() as probe:
            lock.bind(("127.0.0.1", port))
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError(f"none of the ports {preferred} to {preferred + 99} is free")
