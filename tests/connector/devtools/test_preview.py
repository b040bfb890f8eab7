"""connector.devtools.preview: what a body would become, asked of the command itself."""

import json
import random
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from connector.cli.main import main
from connector.plugin.testing.samples import fresh_journey
from connector.plugin.testing.shoppers import Journey
from platforms.shopify import samples as shopify_samples
from tests.support.bigcommerce_bodies import a_notice, an_order
from tests.support.platforms import PLATFORMS, SAMPLES

TOML = """
[stores.acme]
platform = "shopify"
url = "https://acme.example"
shop = "acme.myshopify.com"
webhook_secrets = ["s"]
pixel = "CABCDEFGHIJKLMNOPQR0"
access_token = "t"
consent = "not_required"
country = "US"
"""
NOW = datetime(2026, 11, 23, 15, 4, 5, tzinfo=UTC)
NO_AGE = "preview ignores age limits: a real webhook older than max_event_age or go_live would be skipped"


class Shop:
    """A store to ask, and samples of its shoppers."""

    def __init__(self, store):
        self.store = store

    def body(self, topic, seed=1, **changes):
        way = fresh_journey(self.store, NOW, random.Random(seed))
        assert isinstance(way, Journey)
        return {**SAMPLES["shopify"].sample(topic, way, self.store), **changes}


@pytest.fixture
def shop():
    from connector.config.settings import load

    return Shop(load({"STORES_TOML": TOML}).stores["acme"])


def run(path, topic, store="acme", toml=TOML):
    database = path.parent / "never-made.db"
    environ = {"STORES_TOML": toml, "DATABASE_URL": f"sqlite:///{database}"}
    result = CliRunner().invoke(main, ["preview", store, str(path), "--topic", topic], env=environ)
    assert not database.exists()
    return result


def lines(path, topic, **more):
    result = run(path, topic, **more)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.output.splitlines()]


def only(path, topic, **more):
    (found,) = lines(path, topic, **more)
    return found


def written(tmp_path, body, name="body.json"):
    file = tmp_path / name
    file.write_bytes(body if isinstance(body, bytes) else shopify_samples.encode(body))
    return file


def test_a_file(tmp_path, shop):
    body = shop.body("orders/paid")
    found = only(written(tmp_path, body), "orders/paid")
    assert found["outcome"] == "relayed"
    assert [event["event"] for event in found["events"]] == ["PlaceAnOrder", "Purchase"]
    assert found["events"][0]["event_id"] == f"acme-order-{body['id']}"
    assert found["skipped"] == []
    assert found["notes"] == [NO_AGE]


def test_money_is_shown_with_the_digits_that_would_be_sent(tmp_path, shop):
    body = shop.body("orders/paid")
    assert f'"value":{body["total_price"]}' in run(written(tmp_path, body), "orders/paid").output


def test_age_is_not_applied(tmp_path, shop):
    body = shop.body("orders/paid", created_at="2019-01-01T00:00:00Z")
    found = only(written(tmp_path, body), "orders/paid")
    assert (found["outcome"], found["notes"]) == ("relayed", [NO_AGE])


def test_a_folder_in_the_order_of_its_names(tmp_path, shop):
    folder = tmp_path / "bodies"
    folder.mkdir()
    written(folder, shop.body("orders/create", 2, source_name="pos"), "b.json")
    written(folder, shop.body("orders/create", 1), "a.json")
    written(folder, b"{", "c.json")
    written(folder, b"not looked at", "notes.txt")
    found = lines(folder, "orders/create")
    assert [line["outcome"] for line in found] == ["relayed", "skipped", "unreadable"]
    assert found[1]["events"] == []
    assert found[1]["skipped"] == [
        {"milestone": "order_placed", "reason": "pos orders are not relayed (orders.include)"}
    ]


def test_a_folder_without_bodies(tmp_path):
    """A wrong folder would else look like bodies that yield nothing; a folder is no body, whatever its name."""
    (tmp_path / "x.json").mkdir()
    (tmp_path / "feed.csv").write_bytes(b"")
    result = run(tmp_path, "orders/paid")
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{tmp_path} has no *.json file" in result.output
    written(tmp_path, b"{", "c.json")
    assert [line["outcome"] for line in lines(tmp_path, "orders/paid")] == ["unreadable"]


def test_a_topic_that_yields_nothing(tmp_path, shop):
    file = written(tmp_path, shop.body("orders/paid"))
    found = only(file, "products/update")
    assert (found["outcome"], found["events"], found["skipped"]) == ("ignored", [], [])
    assert found["notes"][0].startswith("products/update would be ignored; topics that yield events: checkouts/create")
    found = only(file, "app/uninstalled")
    assert (found["outcome"], found["notes"]) == ("recorded", ["app/uninstalled is recorded and yields no event"])


@pytest.mark.parametrize(
    ("raw", "outcome", "note"),
    [
        (b"", "unreadable", "the body is not JSON: the server answers 400 and stores nothing"),
        (b"\xff\x00", "unreadable", "the body is not JSON: the server answers 400 and stores nothing"),
        (b"[]", "parked", "the body is not a JSON object"),
        (b'{"id": 1}', "parked", "expected an order body for topic orders/paid"),
        (
            b'{"a": NaN}',
            "parked",
            "the body is JSON that only a lenient parser accepts (NaN, a lone surrogate)",
        ),
    ],
)
def test_garbage_is_parked_or_refused_and_says_why(tmp_path, raw, outcome, note):
    found = only(written(tmp_path, raw), "orders/paid")
    assert (found["outcome"], found["events"], found["notes"]) == (outcome, [], [note])


def test_a_bug_of_the_platform_parks_as_on_the_server(tmp_path, shop, monkeypatch):
    """The note names its type and place, without a traceback; other files of the folder follow."""
    monkeypatch.setattr(type(PLATFORMS["shopify"]), "translate", lambda self, webhook, store: [webhook.data["x"]])
    folder = tmp_path / "bodies"
    folder.mkdir()
    written(folder, shop.body("orders/paid"), "a.json")
    written(folder, b"{", "b.json")
    bug, other = lines(folder, "orders/paid")
    assert (bug["outcome"], bug["events"]) == ("parked", [])
    assert bug["notes"][0].startswith("internal error: KeyError in <lambda> (test_preview.py:")
    assert other["outcome"] == "unreadable"


def test_notes_of_what_was_left_out(tmp_path, shop):
    body = shop.body("checkouts/create", presentment_currency="CAD")
    found = only(written(tmp_path, body), "checkouts/create")
    assert found["notes"] == ["value left out: the checkout's currency is uncertain", NO_AGE]


def test_a_test_order_is_shown_as_the_store_would_treat_it(tmp_path, shop):
    file = written(tmp_path, shop.body("orders/paid", test=True))
    assert only(file, "orders/paid")["skipped"][0]["reason"].startswith("a test order of the shop")
    found = only(file, "orders/paid", toml=TOML + 'test_event_code = "TEST1"\n')
    assert [event["event"] for event in found["events"]] == ["PlaceAnOrder", "Purchase"]


def test_a_cart_says_that_nothing_has_happened(tmp_path):
    toml = TOML.replace('"shopify"', '"woocommerce"').replace("acme.myshopify.com", "acme.example")
    draft = b'{"id":1,"status":"checkout-draft","line_items":[],"date_created_gmt":"2026-11-23T05:36:45"}'
    found = only(written(tmp_path, draft), "order.updated", toml=toml)
    assert found["outcome"] == "skipped"
    assert found["notes"][0] == "no milestone yet (a draft or a cart)"


def test_wrong_use(tmp_path):
    file = written(tmp_path, b"{}")
    unknown = run(file, "orders/paid", store="nobody")
    assert unknown.exit_code != 0
    assert "acme" in unknown.output
    assert run(tmp_path / "none.json", "orders/paid").exit_code == 2


# --- several pixels -------------------------------------------------------------------------------------------


def test_which_pixel_gets_what(shop, tmp_path):
    """With several pixels, a note for each; an order that none takes has the reason alone."""
    toml = (
        TOML.replace('pixel = "CABCDEFGHIJKLMNOPQR0"\naccess_token = "t"\n', "")
        + """
[[stores.acme.pixels]]
pixel = "CABCDEFGHIJKLMNOPQR0"
access_token = "t"
countries = ["US"]

[[stores.acme.pixels]]
pixel = "7012345678901234567"
access_token = "u"
source = "offline"
milestones = ["order_paid"]
countries = ["US", "FR"]

[[stores.acme.pixels]]
pixel = "CABCDEFGHIJKLMNOPQR1"
access_token = "v"
kinds = ["b2b"]
"""
    )

    def previewed(country):
        body = shop.body("orders/paid", shipping_address={"country_code": country})
        return only(written(tmp_path, body), "orders/paid", toml=toml)

    here = previewed("US")
    assert here["notes"][:3] == [
        "pixel CABCDEFGHIJKLMNOPQR0 gets PlaceAnOrder and Purchase",
        "pixel 7012345678901234567 gets Purchase",
        "pixel CABCDEFGHIJKLMNOPQR1 gets nothing",
    ]
    assert ["page" in item for item in here["events"]] == [True, True, False]
    assert previewed("FR")["notes"][:2] == [
        "pixel CABCDEFGHIJKLMNOPQR0 gets nothing",
        "pixel 7012345678901234567 gets Purchase",
    ]
    nowhere = previewed("JP")
    assert (nowhere["outcome"], nowhere["notes"]) == ("skipped", [NO_AGE])
    assert nowhere["skipped"][0] == {
        "milestone": "order_placed",
        "reason": "no pixel takes order_placed of web orders to JP (pixels.countries)",
    }


def test_a_webhook_that_only_names_something_is_noted_as_the_server_does(tmp_path):
    """It was said to be ignored; what it names is previewed under the topic of the API's answer."""
    toml = TOML.replace('platform = "shopify"', 'platform = "bigcommerce"\napi = { access_token = "token" }').replace(
        "acme.myshopify.com", "acme1"
    )
    path = tmp_path / "body.json"
    path.write_bytes(a_notice())
    (found,) = lines(path, "store/order/created", toml=toml)
    assert (found["outcome"], found["events"]) == ("noted", [])
    assert "it names order 250" in found["notes"][0]
    assert "--topic cart or customer or order" in found["notes"][0]
    path.write_bytes(a_notice(number=None))
    (found,) = lines(path, "store/order/created", toml=toml)
    assert (found["outcome"], found["notes"]) == (
        "parked",
        ["expected data.type order and data.id in the body of scope store/order/created"],
    )
    path.write_text(json.dumps(an_order()))
    (found,) = lines(path, "order", toml=toml)
    assert [event["event"] for event in found["events"]] == ["PlaceAnOrder", "Purchase"]
    (found,) = lines(path, "store/sku/created", toml=toml)
    assert found["outcome"] == "ignored"
    assert "webhooks that name what is fetched: store/cart/updated, store/customer/created" in found["notes"][0]
