"""connector.devtools.shop_sandbox and simulate: invented orders of shops whose webhooks only name them."""

import json
import random
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from click.testing import CliRunner

from connector.cli.main import main
from connector.core.store import ApiKeys
from connector.core.webhook import Notice
from connector.devtools.sandbox.server import Sandbox, create_server
from connector.devtools.shop_sandbox import pages
from connector.devtools.simulate import simulate
from connector.plugin import NoticeApi
from platforms.bigcommerce import shop_api
from tests.support.factories import a_section, a_store, a_stores_file

SINCE, UNTIL = datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def sandbox() -> Iterator[str]:
    server = create_server(Sandbox(), 0, more=[pages()])
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_simulate_names_the_shops_own_client_fetches_there(sandbox: str) -> None:
    """Each order under its id, of this shop only; the other pages of the sandbox go on."""
    store = a_store("bigcommerce", api=ApiKeys(access_token="any", url=f"{sandbox}/shops/bigcommerce/acme"))
    simulate(store, f"{sandbox}/received", ["store/order/created"], 2, random.Random(1), lambda: None)
    api = shop_api.connect(store)
    (page,) = api.orders(SINCE, UNTIL, "modified")
    first, second = (json.loads(body)["id"] for body in page.bodies)
    assert isinstance(api, NoticeApi)
    assert json.loads(api.fetch(Notice("order", str(second))).bodies[0])["id"] == second != first
    other = a_store("bigcommerce", api=ApiKeys(access_token="any", url=f"{sandbox}/shops/bigcommerce/other"))
    assert list(shop_api.connect(other).orders(SINCE, UNTIL, "modified")) == []
    assert httpx.get(f"{sandbox}/counts").status_code == 200


@pytest.mark.parametrize(("path", "status"), [("shopify/acme", 404), ("none/acme", 404), ("bigcommerce/acme", 400)])
def test_what_it_does_not_know_it_says(sandbox: str, path: str, status: int) -> None:
    """A platform whose webhooks have data, none at all, and a topic that is none."""
    answer = httpx.put(f"{sandbox}/shops/{path}", content=b"{}", headers={"X-Topic": "basket"})
    assert answer.status_code == status
    assert answer.text
    if status == 404:
        assert httpx.get(f"{sandbox}/shops/{path}/v2/orders").status_code == 404


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, 'api = { access_token = "any", url = "http://127.0.0.1:9090/shops/bigcommerce/acme" }'),
        ({"url": "http://127.0.0.1:9/shops/bigcommerce/acme"}, "so is `connector sandbox` there?"),
    ],
)
def test_without_a_sandbox_it_is_said_what_to_do(
    monkeypatch: pytest.MonkeyPatch, keys: dict[str, str], said: str
) -> None:
    section = a_section("bigcommerce", "acme", api={"access_token": "t", **keys}, test_event_code="TEST1")
    monkeypatch.setenv("STORES_TOML", a_stores_file(section))
    result = CliRunner().invoke(main, ["simulate", "acme"])
    assert result.exit_code == 1
    assert said in result.output
