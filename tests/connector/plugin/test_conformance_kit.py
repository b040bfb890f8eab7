"""The conformance kit: the built-in platforms and the template pass, and each fault is found by the test about it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from connector.core.registry import installed_platforms
from tests.support.third_party import ROOT

pytestmark = pytest.mark.processes
EXAMPLES = {"example": "platform", "stripe": "stripe"}  # name of the platform and folder in docs/examples


def installed(folder: Path, name: str) -> Path:
    """Put an example into a folder as pip installs it, to be changed."""
    package = f"connector_{name}"
    shutil.copytree(ROOT / "docs" / "examples" / EXAMPLES[name] / package, folder / package)
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: connector-{name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[connector.platforms]\n{name} = {package}:platform\n")
    (info / "RECORD").write_text(f"{package}/__init__.py,,\n")
    return folder


@pytest.fixture
def template(tmp_path: Path) -> Path:
    return installed(tmp_path, "example")


def kit(folder: Path, *platforms: str, more: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run the kit as its page says, outside the repository."""
    chosen = [f"--platform={name}" for name in platforms]
    command = [sys.executable, "-m", "pytest", "-p", "connector.plugin.testing.pytest_plugin", "-p", "no:cacheprovider"]
    command += ["--pyargs", "connector.plugin.testing", "-q", "--tb=short", *chosen, *more]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", sorted(installed_platforms()))
def test_a_built_in_platform_passes(tmp_path: Path, name: str) -> None:
    done = kit(tmp_path, name)
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"\d\d passed", done.stdout)


def test_all_platforms_are_tested_unless_some_are_chosen(tmp_path: Path) -> None:
    collected = kit(tmp_path, more=("--collect-only",)).stdout
    assert {name for name in installed_platforms() if f"[{name}" in collected} == {*installed_platforms()}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_passes(tmp_path: Path, name: str) -> None:
    """The template and Stripe Checkout, and only they are tested."""
    done = kit(installed(tmp_path, name), name)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "shopify" not in done.stdout


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


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(template: Path, fault: str) -> None:
    """By the test that is about it."""
    module, right, wrong, test = FAULTS[fault]
    file = template / "connector_example" / f"{module}.py"
    source = file.read_text()
    assert right in source
    imported = "from connector.plugin import money\n" if "money(" in wrong and "minor" not in wrong else ""
    file.write_text(source.replace(right, wrong, 1).replace("\n\nfrom", f"\n\n{imported}from", 1))
    name = test.partition("[")[0]
    done = kit(template, "example", more=("-k", name))
    assert done.returncode == 1, done.stdout[-3000:]
    assert test in done.stdout
    assert " failed" in done.stdout
