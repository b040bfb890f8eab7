"""`connector webhooks`: what the commands say and do, in fake shops on loopback sockets."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from connector.cli.main import main
from connector.storage.database import Database
from connector.storage.engine import connect, migrate
from connector.sync.registered_webhooks import RegisteredWebhooks
from tests.support.fakes.woocommerce import FakeWooCommerce
from tests.support.registered_shop import FOREIGN, SECRET, TOPICS, Shop


@pytest.fixture
def woocommerce():
    with FakeWooCommerce() as fake:
        yield Shop(fake)


TOML = """
[stores.acme]
platform = "shopify"
url = "https://acme.example"
shop = "acme.myshopify.com"
webhook_secrets = ["${SECRET}"]
pixel = "CABCDEFGHIJKLMNOPQR0"
access_token = "${TOKEN}"
consent = "not_required"
[stores.beans]
platform = "woocommerce"
url = "BEANS"
shop = "https://beans.example"
webhook_secrets = ["${SECRET}"]
pixel = "CABCDEFGHIJKLMNOPQR1"
access_token = "${TOKEN}"
consent = "not_required"
api = { consumer_key = "${KEY}", consumer_secret = "${KEY_SECRET}" }
"""


def run(*arguments, fake=None, **environ):
    toml = TOML.replace("BEANS", fake.url if fake else "http://127.0.0.1:9")
    keys = {"KEY": fake.key, "KEY_SECRET": fake.secret} if fake else {"KEY": "ck_no", "KEY_SECRET": "cs_no"}
    environ = {"STORES_TOML": toml, "SECRET": SECRET, "TOKEN": "shh-token", "PUBLIC_URL": "", **keys, **environ}
    result = CliRunner(env=environ).invoke(main, ["webhooks", *arguments])
    return result.exit_code, result.output


def test_a_store_without_keys_is_told_what_to_do():
    status, told = run("register", "acme", "--base-url", "https://connector.example")
    assert status == 1
    assert told.count("\n") == 1
    assert "has no [api]" in told
    assert "or create the webhooks by hand" in told


def test_a_refused_address_changes_nothing(woocommerce):
    status, told = run("register", "beans", fake=woocommerce.fake, PUBLIC_URL="http://127.0.0.1:8000")
    assert status == 1
    assert "webhooks cannot go to http://127.0.0.1:8000: WordPress calls no private" in told
    assert woocommerce.fake.requests == []


@pytest.mark.parametrize("action", ["list", "register", "sync"])
def test_keys_that_are_missing_are_told_before_an_address_that_is(action):
    """Whoever gives an address must not learn only then that the store has no keys."""
    status, told = run(action, "acme")
    assert (status, told.count("\n"), "has no [api]" in told) == (1, 1, True)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("https://127.0.0.1", "WordPress calls no private or unusual IP address"),
        ("https://10.1.2.3:8080", "WordPress calls no private or unusual IP address"),
        ("https://localhost", "the shop cannot find localhost"),
        ("https://box.local", "the shop cannot find box.local"),
        ("https://relay.example:8443", "WordPress only calls ports 80, 443 and 8080, not 8443"),
        ("http://relay.example", "plain http"),
    ],
)
def test_list_says_in_a_sentence_that_a_shop_cannot_deliver_there(woocommerce, address, why):
    """And shows what there is all the same."""
    status, told = run("list", "beans", fake=woocommerce.fake, PUBLIC_URL=address)
    assert status == 1  # as webhooks are missing
    assert told.count("webhooks cannot go to") == 1
    assert told.startswith(f"! store beans: webhooks cannot go to {address}: ")
    assert why in told
    assert told.count("missing") == len(TOPICS["woocommerce"])


def test_of_an_address_that_shops_reach_nothing_is_said(woocommerce):
    """Nor where none is needed."""
    assert "cannot go" not in run("list", "beans", "--base-url", "https://relay.example", fake=woocommerce.fake)[1]
    assert "cannot go" not in run("delete", "beans", fake=woocommerce.fake, PUBLIC_URL="http://localhost:1")[1]


def test_no_address_at_all():
    assert run("list", "beans") == (
        1,
        "connector: store beans: the address of this server is unknown: set PUBLIC_URL or give --base-url https://HOST\n",
    )


def test_a_dry_run_says_what_would_be_done_and_one_stores_fault_does_not_stop_the_others(woocommerce):
    """`acme` has no keys; `beans` is still looked at, and the command exits 1."""
    status, told = run("sync", "--all", "--dry-run", fake=woocommerce.fake, PUBLIC_URL="https://connector.example")
    assert status == 1
    assert "connector: store acme has no [api]" in told
    assert told.count("would be created") == len(TOPICS["woocommerce"])
    assert "https://connector.example/webhooks/beans" in told
    assert woocommerce.there() == []


def test_delete_on_the_command_line(woocommerce):
    """Done, exit 0; what is not ours is counted, and its address, which may be a secret, not shown."""
    woocommerce.put("order.created", "http://127.0.0.1:9/webhooks/beans")
    woocommerce.put("order.created", FOREIGN)
    status, told = run("delete", "beans", fake=woocommerce.fake)
    assert status == 0
    assert "deleted" in told
    assert "1 webhook created by others, left alone" in told
    assert FOREIGN not in told
    assert woocommerce.there() == [("order.created", FOREIGN)]


@pytest.mark.slow
def test_the_database_remembers_what_is_ours(woocommerce, sqlite_url):
    """Without it the repair knows nothing, which whoever has one is told; the command does its work all the same."""
    guarded = TOML.replace("api = {", 'reconcile = "15m"\napi = {').replace("BEANS", woocommerce.fake.url)
    here = "http://127.0.0.1:9/webhooks/beans"
    woocommerce.put("order.created", here)
    status, told = run("delete", "beans", fake=woocommerce.fake, STORES_TOML=guarded, DATABASE_URL=sqlite_url)
    assert (status, woocommerce.there()) == (0, [])
    assert told.startswith("Note: there is no database file yet, so the webhooks are not recorded")
    engine = connect(sqlite_url)
    migrate(engine)
    woocommerce.put("order.created", here)
    (made,) = woocommerce.module.connect(woocommerce.store).subscriptions()
    RegisteredWebhooks(Database(engine)).remember("beans", made, 1.0)
    assert RegisteredWebhooks(Database(engine)).of("beans") == {"order.created": made}
    status, told = run("delete", "beans", fake=woocommerce.fake, STORES_TOML=guarded, DATABASE_URL=sqlite_url)
    assert (status, "Note" in told) == (0, False)
    assert RegisteredWebhooks(Database(engine)).of("beans") == {}
    engine.dispose()


def test_wrong_use():
    assert run("list")[0] == run("list", "acme", "--all")[0] == run("list", "nobody")[0] == 2


def test_a_secret_for_woocommerce():
    status, told = run("secret")
    assert status == 0
    assert len(told.strip()) == 43


@pytest.mark.processes
def test_no_vendors_client_is_loaded_until_a_shop_is_asked():
    script = (
        "import sys, connector.sync.registration\n"
        "from connector.core.registry import installed_platforms\n"
        "[each.shop_api for each in installed_platforms().values()]\n"
        "from click.testing import CliRunner; from connector.cli.main import main\n"
        "CliRunner().invoke(main, ['webhooks', '--help'])\n"
        "sys.exit(bool({'shopify', 'pyactiveresource', 'woocommerce', 'requests'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
