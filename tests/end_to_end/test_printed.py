"""What the processes and commands print during a whole run: ids that join the lines, and nothing else of anybody."""

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from connector.devtools.sandbox.faults import Fault
from connector.mapping import hashing
from connector.plugin.testing.samples import fresh_journey
from connector.plugin.testing.shoppers import Journey
from tests.support.alert_receiver import receiver
from tests.support.commands import run_command
from tests.support.platforms import PLATFORMS, SAMPLES

PERSONAL = {
    "email": "wilhelmina.quark.7@example.com",
    "phone": "(202) 555-0173",
    "first_name": "Wilhelmina",
    "last_name": "Zzyzxbury",
    "street": "17 Quillfeather Lane",
    "ip": "81.203.77.141",
    "user_agent": "Mozilla/5.0 (Quincunx; U) DistinctiveAgent/7.7",
    "ttclid": "E.C.P.DistinctClickId0123456789abcdefghijklmnop",
    "ttp": "distinctCookie0123456789",
    "note": "leave it with the neighbour Qwertzian",
    "referrer": "https://where-she-came-from.example/inbox",
}
ELSEWHERE = {
    "e164": "+12025550173",
    "digits": "2025550173",
    "city": "Quibbleton",
    "zip": "ZQ9 7XW",
    "page": "gift-for-",
}
DIGESTS = {
    "email's hash": hashing.email(PERSONAL["email"]),
    "phone's hash": hashing.phone(PERSONAL["phone"], "US"),
    "first name's hash": hashing.name(PERSONAL["first_name"]),
    "last name's hash": hashing.name(PERSONAL["last_name"]),
    "postcode's hash": hashing.zip_code(ELSEWHERE["zip"], "US"),
}
SECRETS = {
    "SECRET": "whsec-of-the-logs-test-0123456789",
    "RECORDED": "whsec-of-the-recorded-0123456789",
    "TOKEN": "token-of-the-logs-test-0123456789",
    "ADMIN_PASSWORD": "password-of-the-logs-test",
}
ECHO = (
    f"Invalid value for data.0.user: {PERSONAL['email']}, {ELSEWHERE['e164']}, {PERSONAL['ip']}, {PERSONAL['ttclid']}"
)


def known_by_name() -> dict[str, str]:
    return PERSONAL | ELSEWHERE | DIGESTS | SECRETS


@dataclass
class Run:
    """A running system and all that anything of it has printed."""

    system: Any
    printed: list[tuple[str, str]]

    def journey(self, store: str, seed: int) -> Journey:
        """A shopper with all of the values above."""
        shop = self.system.config.stores[store]
        way = fresh_journey(shop, datetime.now(UTC), random.Random(seed))
        place = replace(way.person.place, city=ELSEWHERE["city"], zip=ELSEWHERE["zip"])
        names = {key: PERSONAL[key] for key in ("email", "phone", "first_name", "last_name", "street")}
        person = replace(way.person, place=place, **names)
        rest = {key: PERSONAL[key] for key in ("ip", "user_agent", "ttclid", "ttp")}
        return replace(way, person=person, **rest)

    def post(self, store: str, topic: str, way: Journey, secret: str = "", headers: Any = None, **changes: Any) -> int:
        shop = self.system.config.stores[store]
        samples, platform = SAMPLES[shop.platform], PLATFORMS[shop.platform]
        body = samples.encode({**samples.sample(topic, way, shop), **changes})
        signed = platform.signed_headers(body, secret or shop.webhook_secrets[0])
        sent = samples.headers(topic, way, shop) | signed | (headers or {})
        answer = httpx.post(f"{self.system.url}/webhooks/{store}", content=body, headers=sent, timeout=120)
        self.printed.append((f"the answer to {topic}", answer.text))
        return answer.status_code

    def command(self, *arguments: str, typed: str = "", of_theirs: bool = False) -> int:
        """Run one; its standard output is left out where it is what was asked for: the person's own data."""
        done = run_command(*arguments, environment=self.system.environment, typed=typed)
        self.printed.append((" ".join(arguments), done.stderr if of_theirs else done.stdout + done.stderr))
        return done.returncode

    def log(self) -> str:
        return self.system.log.read_text()

    def found(self, values: dict[str, str]) -> list[str]:
        """Where any of the values was printed; the line is shown, for these people are invented."""
        everything = [*self.printed, ("serve", self.log())]
        return [
            f"{name} in {where}: {line[:300]}"
            for where, text in everything
            for line in text.splitlines()
            for name, value in values.items()
            if value.lower() in line.lower()
        ]


@pytest.fixture
def run(system: Any) -> Iterator[Run]:
    system.environment |= SECRETS | {"LOG_LEVEL": "DEBUG"}
    with receiver() as hook:
        system.environment |= {"ALERT_URL": hook.url, "TRUSTED_PROXIES": "1"}
        system.environment["STORES_TOML"] += "\n[stores.acme.signals]\n"
        running = Run(system, [])
        yield running
        system.stop()
        running.printed.append(("alerts", "\n".join(hook.texts)))
        password = re.search(r":([^:/@]+)@", system.environment["DATABASE_URL"])
        hidden = (
            known_by_name() | {"ALERT_URL": "SECRET-OF-THE-HOOK"} | ({"DATABASE_URL": password[1]} if password else {})
        )
        assert running.found(hidden) == []


def shop_with_everything(run: Run) -> dict[str, Journey]:
    """Good, repeated, forged, odd and unreadable webhooks of one shopper in two shops."""
    ways = {name: run.journey(name, seed) for seed, name in enumerate(("acme", "beans"))}
    page = {"landing_site": f"/products/{ELSEWHERE['page']}x?ttclid={PERSONAL['ttclid']}"}
    page |= {"referring_site": PERSONAL["referrer"], "note": PERSONAL["note"]}
    for name, way in ways.items():
        platform = run.system.config.stores[name].platform
        topics = [topic for topic in SAMPLES[platform].TOPICS if topic in PLATFORMS[platform].event_topics]
        for topic in topics * 2:
            assert run.post(name, topic, way, **(page if topic.startswith("order") else {})) == 200
        for topic in topics:
            assert run.post(name, topic, way, secret="a-wrong-secret") == 401
            assert run.post(name, topic, way, id=PERSONAL["email"], token={"x": PERSONAL["email"]}, arg=[]) == 200
            assert run.post(name, topic, way, created_at=PERSONAL["email"], date_created_gmt=PERSONAL["email"]) == 200
            odd = dict.fromkeys(
                ("currency", "status", "financial_status", "source_name", "created_via", "role"), PERSONAL["email"]
            )
            assert run.post(name, topic, run.journey(name, 77), **odd, tags=PERSONAL["email"]) == 200
        assert run.post(name, topics[0], way, headers={"X-Shopify-Shop-Domain": "other.myshopify.com"}) == 200
        body = json.dumps(PERSONAL).encode()[:-1]
        for forged in ({}, PLATFORMS[platform].signed_headers(body, SECRETS["SECRET"])):
            named = SAMPLES[platform].headers(topics[0], way, run.system.config.stores[name])
            answer = httpx.post(f"{run.system.url}/webhooks/{name}", content=body, headers=named | forged)
            assert answer.status_code in (400, 401)
            run.printed.append(("an answer", answer.text))
    for path in ("/webhooks/nobody", "/webhooks/shopify", "/nothing"):
        run.printed.append((path, httpx.post(f"{run.system.url}{path}", json=PERSONAL).text))
    return ways


def look_at_the_pages(run: Run) -> None:
    """The dashboard with a wrong password and the right one, a search by e-mail, and metrics."""
    url, secret = run.system.url, SECRETS["ADMIN_PASSWORD"]
    with httpx.Client(base_url=url, follow_redirects=True, timeout=120) as browser:
        assert browser.post("/login", data={"password": PERSONAL["email"]}).status_code == 401
        found = browser.post("/login", data={"password": secret})
        assert found.status_code == 200
        token = re.search(r'name="token" value="([^"]+)"', found.text)
        assert token
        asked = browser.post("/search", data={"key": PERSONAL["email"], "token": token[1]})
        assert asked.status_code == 200
        for path in ("/failed", "/parked", "/nothing"):
            run.printed.append((path, browser.get(path).text))
    assert httpx.get(f"{url}/metrics", auth=("x", "wrong")).status_code == 401
    run.printed.append(("metrics", httpx.get(f"{url}/metrics", auth=("x", secret)).text))


def tell_as_a_browser(run: Run, way: Journey) -> None:
    """A good beacon and an odd one; either is answered 204, whatever becomes of it."""
    told = {name: PERSONAL[name] for name in ("ttclid", "ttp", "user_agent", "referrer")} | {"consent": "granted"}
    for token in (way.checkout_token, PERSONAL["email"], 7):
        body = json.dumps({"checkout_token": token, "url": f"https://acme.example/{ELSEWHERE['page']}x", **told})
        headers = {"User-Agent": PERSONAL["user_agent"], "X-Forwarded-For": PERSONAL["ip"]}
        answer = httpx.post(f"{run.system.url}/collect/acme", content=body, headers=headers)
        run.printed.append(("the answer to a beacon", answer.text))
        assert answer.status_code == 204


@pytest.mark.parametrize(
    ("database_url", "form"), [("sqlite", "json"), ("postgresql", "text")], indirect=["database_url"]
)
def test_a_whole_run_prints_nothing_personal_and_no_secret(run: Run, form: str) -> None:
    """Every kind of webhook, fault and command, in either form of the log, and in what alerts say.

    In the lines of JSON, ids join a webhook to its batch.
    """
    run.system.environment["LOG_FORMAT"] = form
    run.system.start()
    if form == "json":
        ids_join_a_webhook_to_its_batch(run)
    echo = Fault(kind="code", code=40002, message=ECHO, times=2)
    for fault in (Fault(kind="server_error", times=1), Fault(kind="revoke", times=1), echo):
        run.system.sandbox.set_fault(fault)
    before = len(run.system.received())
    ways = shop_with_everything(run)
    tell_as_a_browser(run, ways["acme"])
    run.system.until(lambda: len(run.system.received()) >= before + 4, "events arrive")
    for words in (["list"], ["list", "--parked"], ["replay", "--parked"], ["replay", "--state", "rejected"]):
        assert run.command("events", *words) in (0, 1)
    assert run.command("events", "show", f"acme-order-{ways['acme'].order_id}", of_theirs=True) == 0
    look_at_the_pages(run)
    run.command("check")
    run.command("stats", "acme")
    run.command("simulate", "acme", "--count", "1")
    for topic in ("customers/data_request", "app/uninstalled", "customers/redact"):
        assert run.post("acme", topic, ways["acme"]) == 200
        assert run.post("acme", topic, ways["acme"], more=PERSONAL["email"]) == 200
    assert run.command("events", "export", "--demand", "1", of_theirs=True) == 0
    run.system.until(lambda: " is done (" in run.log(), "the shopper is erased")
    typed = f"{PERSONAL['email']}\n"
    assert run.command("erase", "--email", "-", "--yes", typed=typed) == 0
    assert run.command("erase", "--email", PERSONAL["email"].replace("@", " at "), "--yes") == 2
    assert run.system.stop() == 0


def ids_join_a_webhook_to_its_batch(run: Run) -> None:
    """One line for the webhook, with its delivery and event_ids; one for the request that carried them to TikTok."""
    way = run.journey("acme", 5)
    assert run.post("acme", "orders/create", way) == 200
    event_id = f"acme-order-{way.order_id}"
    run.system.until(lambda: "TikTok: accepted" in run.log(), "the order is accepted")
    lines = [json.loads(line) for line in run.log().splitlines() if event_id in line]
    (webhook,) = [line for line in lines if line["logger"] == "connector.intake.intake"]
    (batch,) = [line for line in lines if line["logger"] == "connector.relay.relay"]
    assert (webhook["message"], webhook["store"], webhook["topic"]) == ("webhook relayed", "acme", "orders/create")
    assert {"delivery", "object", "event_ids", "ms"} <= set(webhook)
    assert (batch["store"], batch["pixel"], batch["code"]) == ("acme", "CACME000000000000000", 0)
    assert {"request_id", "events", "event_ids", "ms"} <= set(batch)
