"""`connector alerts test`: a message to every address, and what is said of each. Real receivers."""

from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from connector.cli.main import main
from tests.support.alert_receiver import Receiver, receiver
from tests.support.factories import a_pixel_code, a_section, a_stores_file

PIXEL = a_pixel_code("acme")


@pytest.fixture(scope="module")
def server() -> Iterator[Receiver]:
    with receiver() as server:
        yield server


def run(server: Receiver, *arguments: str, **environ: str) -> Result:
    sections = (a_section(alerts=["${ACME_ALERTS}"]), a_section("woocommerce", "beans"))
    stores = a_stores_file(*sections, webhook_secrets=["s" * 32], access_token="t")
    server.texts.clear()
    environ = {"STORES_TOML": stores, "ACME_ALERTS": f"{server.url}/acme", **environ}
    return CliRunner(env=environ).invoke(main, ["alerts", *arguments])


@pytest.mark.slow
def test_each_address_is_tried_and_spoken_of(server: Receiver) -> None:
    """Delivered, or why not and what to do; no part of an address is printed."""
    server.answers = []
    result = run(server, "test", ALERT_URL="slak://SECRET/x json://user:SECRET@127.0.0.1:1/x")
    assert result.output == (
        "✗ ALERT_URL 1 (slak): the address is not understood; write it as https://appriseit.com/services/ says of the "
        "service slak://\n"
        "✗ ALERT_URL 2 (json): no answer; compare the host and port in the address, and see that this machine may "
        "connect to them\n"
        "✓ stores.acme.alerts (webhook): delivered\n"
    )
    assert result.exit_code == 1
    assert server.texts == ["Connector: test\nThis is a test of the connector's alerts. Nothing is wrong."]


def test_all_delivered(server: Receiver) -> None:
    """Exit code 0; an address that is set twice is tried once; --store names those of one store and of all."""
    server.answers = []
    result = run(server, "test", ALERT_URL=f"{server.url}/acme")
    assert (result.output, result.exit_code) == ("✓ ALERT_URL (webhook): delivered\n", 0)
    assert len(server.texts) == 1
    result = run(server, "test", "--store", "beans", ALERT_URL=server.url)
    assert (result.output, result.exit_code, server.paths[-1]) == (
        "✓ ALERT_URL (webhook): delivered\n", 0, "/services/SECRET-OF-THE-HOOK",
    )  # fmt: skip


def test_without_an_address(server: Receiver) -> None:
    """What to set."""
    result = run(server, "test", "--store", "beans")
    assert result.exit_code == 1
    assert "no address is set: set ALERT_URL, or `alerts` of a store" in result.output


def test_addresses_of_digests_are_tried_too(server: Receiver) -> None:
    """One that gets alerts as well is tried once."""
    result = run(server, "test", "--store", "beans", ALERT_URL=server.url, DIGEST_URL=f"{server.url} {server.url}/2")
    assert (result.output, result.exit_code) == (
        "✓ ALERT_URL (webhook): delivered\n✓ DIGEST_URL 2 (webhook): delivered\n", 0,
    )  # fmt: skip


@pytest.mark.slow
def test_a_digest_is_printed_and_sent_on_request(server: Receiver, migrated_sqlite_url: str) -> None:
    """Of all stores or of one; it is sent by --send only."""
    result = run(server, "digest", DATABASE_URL=migrated_sqlite_url, DIGEST_URL=server.url)
    assert result.exit_code == 0, result.output
    assert result.output.startswith("Connector: week of ")
    assert result.output.endswith("\n\nacme\n  sent: nothing\n\nbeans\n  sent: nothing\n")
    assert server.texts == []
    result = run(server, "digest", "--send", "--store", "acme", DATABASE_URL=migrated_sqlite_url, DIGEST_URL=server.url)
    assert result.output.endswith("\n\nacme\n  sent: nothing\n\n✓ DIGEST_URL (webhook): delivered\n")
    assert "beans" in server.texts[0]
    result = run(server, "digest", "--send", DATABASE_URL=migrated_sqlite_url)
    assert result.exit_code == 1
    assert "no address is set: set DIGEST_URL" in result.output
