"""The conformance kit: the template passes, and each fault is found by the test about it.

The kit's own folder is among pyproject.toml's `testpaths`: there the built-in platforms pass it.
"""

import base64
import hmac
import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import pytest

from connector.core.registry import installed_platforms
from tests.support.third_party import ROOT

pytestmark = pytest.mark.processes
EXAMPLES = {"example": "platform", "stripe": "stripe"}  # name of the platform and folder in docs/examples


def installed(folder: Path, name: str) -> Path:
    """Put an example into a folder as pip installs it, to be changed."""
    shutil.copytree(ROOT / "docs" / "examples" / EXAMPLES[name] / f"connector_{name}", folder / f"connector_{name}")
    return registered(folder, name)


def registered(folder: Path, name: str) -> Path:
    """Write what pip writes beside the package connector_NAME."""
    package = f"connector_{name}"
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: connector-{name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[connector.platforms]\n{name} = {package}:platform\n")
    (info / "RECORD").write_text(f"{package}/__init__.py,,\n")
    return folder


def kit(folder: Path, *platforms: str, more: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run the kit as its page says, outside the repository."""
    chosen = [f"--platform={name}" for name in platforms]
    command = [sys.executable, "-m", "pytest", "-p", "connector.plugin.testing.pytest_plugin", "-p", "no:cacheprovider"]
    command += ["--pyargs", "connector.plugin.testing", "-q", "--tb=short", *chosen, *more]
    environ = {**os.environ, "COLUMNS": "2000", "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)


def test_all_platforms_are_tested_unless_some_are_chosen(tmp_path: Path) -> None:
    collected = kit(tmp_path, more=("--collect-only",)).stdout
    assert {name for name in installed_platforms() if f"[{name}" in collected} == {*installed_platforms()}


def test_the_examples_pass(tmp_path: Path) -> None:
    """The template and Stripe Checkout, and only they are tested."""
    for name in EXAMPLES:
        installed(tmp_path, name)
    done = kit(tmp_path, *EXAMPLES, more=("-rsp",))
    assert done.returncode == 0, done.stdout[-3000:]
    assert all(f"[{name}" in done.stdout for name in EXAMPLES)
    assert "shopify" not in done.stdout
    assert "has no recordings" not in done.stdout


UNCHECKED = """\
    def receive(self, request, store):
        return Webhook(self.topic_of(request), request.body, request.received_at, self.shop_of(request))

    def topic_of"""
FIRST_ONLY = """\
    def receive(self, request, store):
        from dataclasses import replace
        return super().receive(request, replace(store, webhook_secrets=store.webhook_secrets[:1]))

    def topic_of"""
CONNECTING = """\
    __import__("socket").create_connection(("127.0.0.1", 9))
    data = json_object(json_object(webhook.data)"""
FAULTS = {
    "a signature that is not checked": (
        "__init__",
        "    def topic_of",
        UNCHECKED,
        "test_no_bit_of_a_signed_request_may_differ",
    ),
    "only the first secret counts": (
        "__init__",
        "    def topic_of",
        FIRST_ONLY,
        "test_while_secrets_rotate_either_verifies",
    ),
    "a field that is not read by a reader": (
        "translate",
        'city=text(where.get("city"))',
        'city=where.get("city", "").strip()',
        "test_any_value_in_an_optional_field_costs_only_that_field",
    ),
    "minor units taken for major ones": (
        "translate",
        'total": minor_units(body.get("total"), currency)',
        'total": money(body.get("total"))',
        "test_amounts_are_in_major_units",
    ),
    "two decimals in every currency": (
        "translate",
        'total": minor_units(body.get("total"), currency)',
        'total": minor_units(body.get("total"), "EUR")',
        "test_amounts_are_in_major_units[example-JPY]",
    ),
    "an error where a parked webhook is meant": (
        "translate",
        "    if not order_id or placed_at is None:\n        raise InvalidPayload",
        "    if not order_id or placed_at is None:\n        raise KeyError",
        "test_a_body_without_a_required_field_is_parked",
    ),
    "the network": (
        "translate",
        "    data = json_object(json_object(webhook.data)",
        CONNECTING,
        "test_receiving_uses_no_network",
    ),
    "another id in each webhook": (
        "translate",
        "order_id=order_id,",
        "order_id=order_id + str(bool(order.get('paid_at'))),",
        "test_in_any_sequence_each_milestone_is_sent_once",
    ),
    "a placeholder that the facts lack": (
        "__init__",
        '("order_id", "order_number", "order_name", "checkout_token", "customer_id"),',
        '("order_id",),',
        "test_the_facts_cover_what_the_events_have",
    ),
    "slow": (
        "translate",
        "    data = json_object(json_object(webhook.data)",
        "    sum(range(300_000))\n    data = json_object(json_object(webhook.data)",
        "test_an_order_takes_at_most_twice_the_usual_time",
    ),
    "no samples": (
        "__init__",
        "        from connector_example import samples  # noqa: PLC0415\n\n        return samples",
        "        return None",
        "test_it_can_be_loaded_and_has_samples",
    ),
}


def with_fault(folder: Path, name: str, module: str, right: str, wrong: str) -> None:
    """Install the template under another name, with a fault."""
    package = folder / f"connector_{name}"
    shutil.copytree(ROOT / "docs" / "examples" / "platform" / "connector_example", package)
    for file in package.glob("*.py"):
        source = file.read_text().replace("connector_example", package.name).replace('"example"', f'"{name}"')
        if file.stem == module:
            wrong, right = (text.replace("connector_example", package.name) for text in (wrong, right))
            assert right in source
            imported = "from connector.plugin import money\n" if "money(" in wrong and "minor" not in wrong else ""
            source = source.replace(right, wrong, 1).replace("\n\nfrom", f"\n\n{imported}from", 1)
        file.write_text(source)
    registered(folder, name)


def test_each_fault_is_found(tmp_path: Path) -> None:
    """By the test that is about it, which passes without it. In one run: to start it takes longer than such a test."""
    chosen = {}
    with_fault(tmp_path, "sound", "", "", "")
    for letter, fault in zip(ascii_lowercase, FAULTS, strict=False):
        module, right, wrong, test = FAULTS[fault]
        with_fault(tmp_path, name := f"faulty{letter}", module, right, wrong)
        chosen[name] = test.replace("example", name)
    wanted = " or ".join(f"({name} and {test.partition('[')[0]})" for name, test in chosen.items())
    wanted += f" or (sound and ({' or '.join(test.partition('[')[0] for _, _, _, test in FAULTS.values())}))"
    done = kit(tmp_path, *chosen, "sound", more=("-k", wanted, "-rfEp"))
    assert done.returncode == 1, done.stdout[-3000:]
    lines = [
        line.split(" - ")[0] for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR", "PASSED"))
    ]
    failed = [line for line in lines if not line.startswith("PASSED")]
    assert not [line for line in failed if "[sound" in line], done.stdout[-3000:]
    assert {test.partition("[")[0] for _, _, _, test in FAULTS.values()} == {
        line.partition("::")[2].partition("[")[0] for line in lines if "[sound" in line
    }
    for (name, test), fault in zip(chosen.items(), FAULTS, strict=True):
        assert [line for line in failed if f"::{test}" in line and f"[{name}" in line], (fault, done.stdout[-3000:])


WITH_RECORDINGS = """
from pathlib import Path
from connector.plugin import BodySignature
from platforms.{original} import platform

class Own(type(platform)):
    name = "{name}"
    recordings = Path(__file__).parent
    {more}

platform = Own()
"""
FIXTURES = ROOT / "tests" / "fixtures"


def with_recordings(folder: Path, original: str, recordings: dict[str, tuple[Any, Any]], more: str = "") -> None:
    """Install a package whose platform is a built-in one with these requests and expectations, changed by `more`."""
    package = folder / f"connector_own{original}"
    for number, kind in enumerate(("requests", "expected")):
        (package / kind).mkdir(parents=True)
        for name, pair in recordings.items():
            (package / kind / f"{name}.json").write_text(json.dumps(pair[number]))
    (package / "__init__.py").write_text(WITH_RECORDINGS.format(original=original, name=f"own{original}", more=more))
    registered(folder, f"own{original}")


def change_recordings(folder: Path) -> None:
    """Change all of the template's recordings but one, each in another way."""

    def change(file: str, right: str, wrong: str, to: str = "") -> None:
        text = (folder / file).read_text()
        assert right in text
        (folder / (to or file)).write_text(text.replace(right, wrong, 1))

    change("requests/01_paid_signed_by_the_shop.json", '"secret": "whsec_', '"secret": "another_')
    change("expected/02_placed_by_staff.json", '"total": "44.50"', '"total": "44.51"')
    (folder / "expected/03_cancelled.json").unlink()
    change("expected/04_without_an_id.json", "an order body", "a checkout body")
    for kind in ("requests", "expected"):
        change(f"{kind}/05_of_a_topic_without_events.json", "", "", f"{kind}/06_of_another_topic.json")
        change(f"{kind}/04_without_an_id.json", "", "", f"{kind}/07_not_json.json")
        change(f"{kind}/05_of_a_topic_without_events.json", "", "", f"{kind}/08_misspelt.json")
    change("requests/06_of_another_topic.json", '"topic": "order.shipped"', '"topic": "order.lost"')
    latin = base64.b64encode(b'{"event": "order.placed", "shop": "plates.example", "data": "\xff"}').decode()
    (folder / "requests/07_not_json.json").write_text(json.dumps({"topic": "order.placed", "body_base64": latin}))
    change("requests/08_misspelt.json", '"headers"', '"header"')
    change("expected/05_of_a_topic_without_events.json", "", "", "expected/09_left.json")


def signed_with_a_private_key() -> dict[str, tuple[Any, Any]]:
    """A recording with the shop's public keys as they were, and one whose body was changed since."""
    saleor = FIXTURES / "saleor"
    recorded = json.loads((saleor / "requests" / "001_checkout_created__legacy.json").read_text())
    recording = {
        "topic": "checkout_created",
        "headers": dict(recorded["headers"]),
        "body_base64": recorded["body_base64"],
        "jwks": json.loads((saleor / "jwks.json").read_text()),
    }
    reason = json.loads((saleor / "expected" / "001_checkout_created__legacy.json").read_text())["reason"]
    changed = {**recording, "body_base64": base64.b64encode(base64.b64decode(recorded["body_base64"]) + b" ").decode()}
    return {"right": (recording, {"parked": reason}), "wrong": (changed, {"parked": reason})}


def signed_with_the_time() -> dict[str, tuple[Any, Any]]:
    """A request of a year before the kit's own time; the same a day later, and at a time without a zone."""
    body, at, secret = b'{"type": "order_placed"}', datetime(2025, 3, 1, tzinfo=UTC), "a-secret-of-the-shop"
    recording = {
        "topic": "order_placed",
        "headers": installed_platforms()["signed"].signed_headers(body, secret, at),
        "body_base64": base64.b64encode(body).decode(),
        "secret": secret,
    }
    parked = {"parked": "occurred_at is missing or is no time such as 2026-11-24T10:00:00Z"}
    return {
        "right": ({**recording, "received_at": "2025-03-01T00:00:01Z"}, parked),
        "late": ({**recording, "received_at": "2025-03-02T00:00:00Z"}, parked),
        "zoneless": ({**recording, "received_at": "2025-03-01T00:00:01"}, parked),
    }


def of_a_thin_shop() -> dict[str, tuple[Any, Any]]:
    """A notice, which is signed by the kit, and an answer of the shop's API."""
    bigcommerce = FIXTURES / "bigcommerce"
    notice = json.loads((bigcommerce / "requests" / "01_notice_created.json").read_text())
    recorded = {"topic": notice["body"]["scope"], "body": notice["body"]}
    answer = json.loads((bigcommerce / "requests" / "19_no_order.json").read_text())
    reason = json.loads((bigcommerce / "expected" / "19_no_order.json").read_text())["reason"]
    return {
        "notice": (recorded, {"noted": "order:250"}),
        "wrong": (recorded, {"noted": "order:251"}),
        "answer": (answer, {"parked": reason}),
    }


def signed_with_the_address() -> dict[str, tuple[Any, Any]]:
    """A request by the shop's own signature, the same to another address and to an unknown one, and one signed here."""
    url, secret, body = "https://connector.example/webhooks/own", "a-secret-of-the-shop", b'{"id": "1"}'
    signature = base64.b64encode(hmac.digest(secret.encode(), url.encode() + body, "sha256")).decode()
    recording = {
        "topic": "orders/create",
        "headers": {"X-Shopline-Topic": "orders/create", "X-Own-Signature": signature},
        "body_base64": base64.b64encode(body).decode(),
        "secret": secret,
        "url": url,
    }
    parked = {"parked": "expected an order body for topic orders/create"}
    return {
        "right": (recording, parked),
        "elsewhere": ({**recording, "url": f"{url}er"}, parked),
        "unsaid": ({name: recording[name] for name in recording if name != "url"}, parked),
        "signed_here": ({"topic": "orders/create", "headers": recording["headers"], "body": {}, "url": url}, parked),
    }


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """By platform and recording, what pytest says of a failure; from one run, for to start it takes seconds."""
    folder = tmp_path_factory.mktemp("recordings")
    change_recordings(installed(folder, "example") / "connector_example" / "recordings")
    with_fault(folder, "unverified", "__init__", "    def topic_of", UNCHECKED)
    with_recordings(folder, "saleor", signed_with_a_private_key())
    with_recordings(folder, "signed", signed_with_the_time())
    with_recordings(folder, "bigcommerce", of_a_thin_shop())
    over_url = 'signature = BodySignature("X-Own-Signature", over_url=True)'
    with_recordings(folder, "shopline", signed_with_the_address(), over_url)
    ping = {"topic": "ping", "body_base64": base64.b64encode(b"webhook_id=7").decode()}
    with_recordings(folder, "woocommerce", {"right": (ping, {"handshake": ""}), "wrong": (ping, {"handshake": "pong"})})
    platforms = ("example", "unverified", "ownsaleor", "ownsigned", "ownbigcommerce", "ownshopline", "ownwoocommerce")
    done = kit(folder, *platforms, more=("-k", "test_recordings", "-rfEp"))
    failures, _, summary = done.stdout.partition(" short test summary info ")
    told = dict(re.findall(r"^_+ \w+\[(\S+)\] _+$(.*?)(?=^_+ |\Z)", failures, re.MULTILINE | re.DOTALL))
    found: dict[str, dict[str, str]] = {name: {} for name in platforms}
    for outcome, recorded in re.findall(r"^(PASSED|FAILED|ERROR) \S+::\w+\[(\S+)\]", summary, re.MULTILINE):
        name, _, recording = recorded.partition("-")
        found[name][recording or "complete"] = "" if outcome == "PASSED" else told[recorded]
    return found


def failed(outcomes: dict[str, str]) -> set[str]:
    return {recording for recording, failure in outcomes.items() if failure}


def test_faults_of_recordings_are_found(outcomes: dict[str, dict[str, str]]) -> None:
    """Each by its own reason; the recording without a fault passes beside them."""
    reasons = {
        "complete": "without expectation: ['03_cancelled']; without request: ['09_left']",
        "01_paid_signed_by_the_shop": "InvalidSignature",
        "02_placed_by_staff": '"total": "44.50"',
        "03_cancelled": "03_cancelled.json is missing",
        "04_without_an_id": '"parked": "expected an order body',
        "06_of_another_topic": "received under another topic",
        "07_not_json": "NotJson",
        "08_misspelt": "08_misspelt.json: Object contains unknown field `header`",
    }
    found = outcomes["example"]
    assert found.keys() == {*reasons, "05_of_a_topic_without_events"}
    assert failed(found) == {*reasons}
    for recording, reason in reasons.items():
        assert reason in found[recording], recording


def test_a_recordings_own_signature_is_what_lets_it_in(outcomes: dict[str, dict[str, str]]) -> None:
    """A platform that verifies nothing fails by a recording with the shop's secret."""
    assert "DID NOT RAISE" in outcomes["unverified"]["01_paid_signed_by_the_shop"]


def test_a_recording_signed_with_a_private_key_is_verified(outcomes: dict[str, dict[str, str]]) -> None:
    """By the shop's public keys as they were; a changed byte of the body is found."""
    found = outcomes["ownsaleor"]
    assert found.keys() == {"complete", "right", "wrong"}
    assert failed(found) == {"wrong"}
    assert "InvalidSignature" in found["wrong"]


def test_a_recording_whose_signature_states_its_time_is_read_as_of_its_arrival(
    outcomes: dict[str, dict[str, str]],
) -> None:
    """A year before the kit's own time; the same request a day later is refused."""
    found = outcomes["ownsigned"]
    assert found.keys() == {"complete", "right", "late", "zoneless"}
    assert failed(found) == {"late", "zoneless"}
    assert "InvalidSignature" in found["late"]
    assert "zoneless.json: Expected `datetime` with a timezone component" in found["zoneless"]


def test_recordings_of_a_thin_shop_are_notices_and_answers(outcomes: dict[str, dict[str, str]]) -> None:
    """Return recordings of a notice, signed here, and of the API's answer."""
    found = outcomes["ownbigcommerce"]
    assert found.keys() == {"complete", "notice", "wrong", "answer"}
    assert failed(found) == {"wrong"}


def test_a_recording_signed_with_its_address_is_verified_with_it(
    outcomes: dict[str, dict[str, str]],
) -> None:
    """The same bytes sent to another address are refused."""
    found = outcomes["ownshopline"]
    assert found.keys() == {"complete", "right", "elsewhere", "unsaid", "signed_here"}
    assert failed(found) == {"elsewhere", "unsaid"}
    assert all("InvalidSignature" in found[name] for name in failed(found))


def test_a_recorded_handshake_is_compared_with_its_answer(outcomes: dict[str, dict[str, str]]) -> None:
    found = outcomes["ownwoocommerce"]
    assert found.keys() == {"complete", "right", "wrong"}
    assert failed(found) == {"wrong"}
    assert '"handshake": ""' in found["wrong"]
