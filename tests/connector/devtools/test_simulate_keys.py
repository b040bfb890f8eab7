"""`connector simulate` where only the shop can sign."""

import pytest
from click.testing import CliRunner

from connector.cli.main import main
from tests.support.factories import a_section, a_stores_file

STORES = a_stores_file(a_section("saleor", "juices"), webhook_secrets=[]).replace("webhook_secrets = []\n", "")


@pytest.mark.parametrize("options", [[], ["--live-pixel"]])
def test_a_store_without_a_secret_cannot_be_simulated(monkeypatch, options):
    """The sentence says what to set; nothing is posted."""
    monkeypatch.setenv("STORES_TOML", STORES)
    result = CliRunner().invoke(main, ["simulate", "juices", *options])
    assert result.exit_code == 1
    assert "store juices has no webhook_secrets, and only the shop can sign with its private key" in result.output
