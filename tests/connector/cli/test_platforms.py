"""`connector platforms`: what is installed, from which package, and what each can do."""

from click.testing import CliRunner

from connector.cli.main import main
from connector.core.registry import PlatformRegistry, installed_platforms
from connector.devtools.platform_list import summaries
from tests.support import keyed_shop


def test_the_built_in_ones():
    """By name, with what each can do; nothing is broken, so it exits with 0."""
    result = CliRunner().invoke(main, ["platforms"])
    assert result.exit_code == 0
    blocks = {block.split('"')[1]: block for block in result.output.split("platform = ")[1:]}
    assert list(blocks) == list(installed_platforms())
    assert "Shopify (built in, " in blocks["shopify"]
    assert "one address for several shops: /webhooks/shopify" in blocks["shopify"]
    assert "signed by BodySignature in X-WC-Webhook-Signature" in blocks["woocommerce"]
    assert "shop API: webhooks, backfill, reconcile" in blocks["woocommerce"]
    assert "thin webhooks: orders are fetched by the shop API" in blocks["bigcommerce"]
    assert "shop API" not in blocks["signed"]
    assert "samples: simulate, demo, conformance" in blocks["signed"]


def test_one_of_a_package_with_a_fault():
    """The module where no metadata names the package; the fault of a part beside what works."""
    registry = PlatformRegistry({"gone": ("no_such_module:platform",), "keyed": (keyed_shop.REFERENCE,)})
    gone, keyed = summaries(registry)
    assert (gone.name, gone.package, gone.can) == ("gone", "", ())
    assert "cannot be loaded: ModuleNotFoundError" in gone.faults[0]
    assert keyed.package in ("tests.support.keyed_shop", "tiktok-shop-connector")
    assert "public keys are fetched" in keyed.can
    assert keyed.faults == ()


def test_a_fault_is_an_exit_code(monkeypatch):
    found = {"gone": ("no_such_module:platform",)}
    monkeypatch.setattr("connector.core.registry.find_platforms", lambda: found)
    installed_platforms.cache_clear()
    result = CliRunner().invoke(main, ["platforms"])
    assert result.exit_code == 1
    assert "✗ platform gone (no_such_module:platform) cannot be loaded" in result.output
