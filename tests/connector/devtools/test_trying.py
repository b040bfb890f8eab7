"""Wrong turns with `connector simulate` and `connector sandbox`: the sentence names the remedy."""

import socket

import pytest
from click.testing import CliRunner

from connector.cli.main import main
from connector.config.settings import load
from connector.storage.database import Database
from tests.support.factories import a_section, a_stores_file
from tests.support.platforms import PLATFORMS
from tests.support.web import client_of, served

SHOPIFY = a_stores_file(a_section("shopify", "acme", test_event_code="TEST12345"))
BOTH = SHOPIFY + a_section("woocommerce", "beans", test_event_code="TEST12345")


@pytest.fixture
def taken():
    """A port at which somebody listens who never answers."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        yield one.getsockname()[1]


def simulate(monkeypatch, store, url):
    monkeypatch.setenv("STORES_TOML", BOTH)
    result = CliRunner().invoke(main, ["simulate", store, "--url", url])
    assert result.exit_code == 1
    return result.output


def test_simulate_without_a_server(monkeypatch):
    said = simulate(monkeypatch, "acme", "http://127.0.0.1:9")
    assert "4 × no answer" in said
    assert "no server answers at http://127.0.0.1:9/webhooks/acme" in said
    assert "start `connector serve`, or name another with --url" in said


def test_simulate_a_store_that_the_server_has_not_read_yet(monkeypatch, sqlite_engine):
    """The step that is forgotten after a store was added to the file."""
    web = client_of(load({"STORES_TOML": SHOPIFY}), Database(sqlite_engine), PLATFORMS)
    with served(web.application) as url:
        said = simulate(monkeypatch, "beans", url)
    assert "4 × 404" in said
    assert "does not know this store: restart `connector serve`" in said


def test_a_sandbox_whose_port_is_taken(taken):
    result = CliRunner().invoke(main, ["sandbox", "--port", str(taken)])
    assert result.exit_code == 1
    assert f"port {taken} is in use" in result.output
    assert "choose another with --port" in result.output
    assert "Set EVENTS_API_URL" not in result.output
