"""A package with a fault costs only its own stores: wherever the fault is, the others go on."""

import json
import sys

import pytest
from click.testing import CliRunner

from connector.cli.main import main
from connector.config.settings import load
from connector.core import registry
from connector.core.registry import installed_platforms
from connector.dashboard.overview import read_overview
from connector.devtools.check import check
from connector.devtools.demo import demonstrable
from connector.monitoring.problems import ProblemFinder
from connector.server.relay_process import _jobs
from connector.storage.database import Database
from connector.storage.engine import connect
from tests.support.third_party import STORES, THIRD_PARTY
from tests.support.web import client_of

FAULTS = {
    "import": "raise RuntimeError('half installed')",
    "exit": "import sys\nsys.exit('no licence')",
    "receive": THIRD_PARTY + "\nMyShop.receive = lambda self, request, store: 1 / 0\n",
    "topic": THIRD_PARTY + "\nMyShop.topic_of = lambda self, request: 1 / 0\n",
    "translate": THIRD_PARTY + "\nMyShop.translate = lambda self, webhook, store: 1 / 0\n",
    "shop_api": THIRD_PARTY + "\nMyShop.shop_api = property(lambda self: 1 / 0)\n",
    "samples": THIRD_PARTY + "\nMyShop.samples = property(lambda self: 1 / 0)\n",
    "snippet": THIRD_PARTY + "\nMyShop.snippet = property(lambda self: 1 / 0)\n",
}
ANSWERS = {"import": 503, "exit": 503, "receive": 503, "topic": 503}


@pytest.fixture
def with_fault(tmp_path, monkeypatch, migrated_sqlite_url):
    """Call it to install the package with one of the FAULTS; the configuration, and its database."""
    engines = []

    def install(fault):
        (tmp_path / "myshop.py").write_text(FAULTS[fault])
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "myshop", raising=False)
        found = registry.find_platforms() | {"myshop": ("myshop:platform",)}
        monkeypatch.setattr(registry, "find_platforms", lambda: found)
        installed_platforms.cache_clear()
        environ = {
            "SECRET": "shh",
            "STORES_TOML": STORES.replace("api =", "# api ="),
            "DATABASE_URL": migrated_sqlite_url,
        }
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        engines.append(connect(migrated_sqlite_url))
        return load(environ), Database(engines[-1])

    yield install
    sys.modules.pop("myshop", None)
    for engine in engines:
        engine.dispose()


@pytest.mark.parametrize("fault", FAULTS)
def test_other_stores_go_on(with_fault, fault):
    """The package's own webhooks are answered 503, or parked where they are verified, and nothing else changes."""
    config, database = with_fault(fault)
    client = client_of(config, database, installed_platforms())
    fine = installed_platforms()["shopify"].signed_headers(b"{}", "shh") | {"X-Shopify-Topic": "products/update"}
    assert client.post("/webhooks/acme", b"{}", fine).status_code == 200
    broken = installed_platforms().fault("myshop")
    headers = {} if broken else installed_platforms()["myshop"].signature.sign(a_request(), "shh")
    answer = client.post("/webhooks/other", b"{}", headers)
    assert answer.status_code == ANSWERS.get(fault, 200)
    if answer.status_code == 503:
        assert answer.headers["Retry-After"] == "10"
        assert answer.json["error"].startswith("the platform of this store cannot be loaded")
    assert client.get("/metrics").status_code == 200
    assert client.post("/webhooks/acme", b"{}", fine).status_code == 200


def a_request():
    from datetime import UTC, datetime

    from connector.core.webhook import Request

    return Request({}, b"{}", datetime.now(UTC))


@pytest.mark.parametrize("fault", FAULTS)
def test_the_relay_and_the_commands_go_on(with_fault, fault):
    """Reconciliation of the others, `check`, `demo`; the fault is said where it is met."""
    config, database = with_fault(fault)
    assert {"reconciliation", "fetching"} <= _jobs(config, database, "me").keys()
    lines = [line.text for line in check(config, live=False)]
    assert any(line.startswith("store acme (shopify") for line in lines)
    said = [line for line in lines if "cannot be loaded" in line]
    assert bool(said) == (fault in ("import", "exit", "shop_api")), said
    assert {"shopify", "woocommerce"} <= {platform.name for platform in demonstrable()}


@pytest.mark.parametrize(("fault", "arguments"), [
    ("shop_api", ["backfill", "other", "--since", "1d"]),
    ("shop_api", ["webhooks", "list", "other"]),
    ("samples", ["simulate", "other"]),
    ("snippet", ["snippet", "other"]),
])  # fmt: skip
def test_a_command_that_needs_the_part_says_so(with_fault, fault, arguments):
    with_fault(fault)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1, result.output
    assert "a part of platform myshop cannot be loaded: ZeroDivisionError" in result.output


@pytest.mark.parametrize("fault", ["import", "exit"])
def test_it_is_a_problem_of_its_stores_alone(with_fault, fault):
    """In the alerts and on the dashboard."""
    config, database = with_fault(fault)
    (problem,) = [one for one in ProblemFinder(database, config.stores).find(0.0) if one.key.startswith("platform:")]
    assert problem.key == "platform:other"
    why = {"import": "RuntimeError: half installed", "exit": "SystemExit: no licence"}[fault]
    assert why in problem.sentence
    assert "answered 503 and other stores go on" in problem.sentence
    health = {store.store.name: store for store in read_overview(config, database, "", 0.0).stores}
    assert (health["other"].label, health["other"].level) == ("platform cannot be loaded", "bad")
    assert health["acme"].label != "platform cannot be loaded"


def test_a_bug_in_receive_is_named_without_the_body(with_fault, caplog):
    """Its place is in the log, its message, which may quote an order, is not."""
    config, database = with_fault("receive")
    client_of(config, database, installed_platforms()).post("/webhooks/other", json.dumps({"email": "ann@example.com"}))
    (line,) = [record.getMessage() for record in caplog.records if "has a fault" in record.getMessage()]
    assert line.startswith("platform myshop has a fault: ZeroDivisionError in <lambda> (myshop.py:")
