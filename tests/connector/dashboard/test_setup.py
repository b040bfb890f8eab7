"""The pages of the setup: the checklist with its buttons, and the form for a new store."""

import html
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine

from connector.dashboard import setup_routes
from connector.dashboard.login import OUTDATED_FORM
from connector.setup.records import SetupRecords
from tests.support.new_store import SECRET, NewStore, a_sandbox

PASSWORD = "correct horse battery"


@pytest.fixture
def shop(sqlite_engine: Engine) -> Iterator[NewStore]:
    """A new store; its pages are the same on both databases."""
    with a_sandbox() as (_, events_api):
        yield NewStore(sqlite_engine, events_api)


@pytest.fixture
def browser(shop: NewStore) -> FlaskClient:
    return logged_in(shop)


def logged_in(shop: NewStore) -> FlaskClient:
    client = shop.web.application.pages.test_client()
    assert client.post("/login", data={"password": PASSWORD}).status_code == 303
    return client


def token(browser: FlaskClient) -> str:
    found = re.search(r'name="token" value="([^"]+)"', browser.get("/setup").text)
    assert found
    return found[1]


def press(browser: FlaskClient, what: str, **fields: str) -> str:
    """Press a button of the checklist; the text of the page that follows."""
    answer = browser.post("/setup/acme", data={"token": token(browser), "what": what, **fields})
    assert answer.status_code == 303, answer.text
    assert answer.headers["Location"] == "/setup/acme"
    return html.unescape(browser.get("/setup/acme").text)


def tags(page: str) -> dict[str, str]:
    """The state of each line, as it is written."""
    return dict(re.findall(r'<li class="\w+" id="(\w+)">.*?<span class="tag">([\w ]+)</span>', page, re.DOTALL))


def test_the_page_shows_every_line(browser: FlaskClient, shop: NewStore) -> None:
    """With its state in a word, the remedy, the text to copy, and the button."""
    page = html.unescape(browser.get("/setup/acme").text)
    assert list(tags(page)) == list(shop.items())
    assert tags(page)["settings"] == "done"
    assert tags(page)["signature"] == "waiting"
    assert tags(page)["database"] == "wrong"
    assert tags(page)["snippet"] == "not applicable"
    assert "https://HOST/webhooks/acme</pre>" in page
    assert "<code>connector check --live acme</code>" in page
    assert SECRET not in page


def test_buttons_act_and_say_what_they_did(browser: FlaskClient, shop: NewStore) -> None:
    """Each leads back to the list, which is up to date."""
    assert "TikTok accepted a Purchase for Test Events (TEST12345)" in press(browser, "test_event")
    page = press(browser, "check")
    assert tags(page)["token"] == "done"
    assert "Shop and TikTok were last checked " in page
    assert "Noted: TikTok's own app is switched off" in press(browser, "app_off")
    assert tags(browser.get("/setup/acme").text)["official_app"] == "done"


def test_a_button_needs_the_forms_token(browser: FlaskClient, shop: NewStore) -> None:
    """Nothing is done without it, or for something else; without a session there is only the login."""
    for fields in ({"what": "app_off"}, {"what": "app_off", "token": "guessed"}):
        answer = browser.post("/setup/acme", data=fields)
        assert answer.status_code == 400
        assert OUTDATED_FORM in answer.text
    assert browser.post("/setup/acme", data={"token": token(browser), "what": "nonsense"}).status_code == 400
    assert shop.items()["official_app"].state == "waiting"
    stranger = shop.web.application.pages.test_client()
    for path in ("/setup", "/setup/acme", "/add-store"):
        assert stranger.get(path).headers["Location"] == "/login"
        assert stranger.post(path).status_code in (303, 405)


def test_one_question_at_a_time(shop: NewStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a shop keeps one page waiting, another button says so at once; the other pages go on."""
    monkeypatch.setattr(setup_routes, "PAGE_TIMEOUT", 120.0)  # a busy machine must not end the wait
    asked, answered = threading.Event(), threading.Event()

    class Slow(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.set()
            answered.wait(60)
            self.send_error(503)

        def log_message(self, *_: object) -> None:
            """Tests print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    shop.environ["PUBLIC_URL"] = f"http://127.0.0.1:{server.server_port}"
    shop.configure()
    first, second = logged_in(shop), logged_in(shop)
    asking = threading.Thread(target=press, args=(first, "check"))
    asking.start()
    assert asked.wait(60)
    assert "Another request to TikTok or a shop is under way" in press(second, "app_off")
    answered.set()
    asking.join(60)
    assert "Noted" in press(second, "app_off")
    server.shutdown()
    server.server_close()


def test_an_unknown_store_is_named(browser: FlaskClient) -> None:
    answer = browser.get("/setup/acne")
    assert answer.status_code == 404
    assert "There is no store of this name in the settings that run here; there are: acme." in answer.text


@pytest.mark.slow
def test_the_overview_leads_to_a_set_up_that_is_not_complete(browser: FlaskClient, shop: NewStore) -> None:
    """Until all was green once; afterwards the list of setups still does."""
    assert '<a href="/setup/acme">Finish the setup' in browser.get("/").text
    assert "Not complete yet" in browser.get("/setup").text
    with shop.served():  # which is PUBLIC_URL for the application that is configured now
        shop.configure(test_event_code="")
        browser = logged_in(shop)
        shop.send()
        shop.work()
        press(browser, "check")
        assert "Finish the setup" in browser.get("/").text
        assert "All 10 are done." in press(browser, "app_off").replace("<b>", "")
    assert SetupRecords(shop.database).complete(["acme"]) == {"acme"}
    assert "Finish the setup" not in browser.get("/").text
    assert "Was complete once" in browser.get("/setup").text


def test_a_form_makes_the_text_of_a_store(browser: FlaskClient) -> None:
    """Faults first, each at its field; then the text, its variables, and what the store would do."""
    empty = browser.get("/add-store").text
    assert empty.count("<label ") > 30
    given = {"name": "tea", "platform": "woocommerce", "url": "tea.example", "pixel": "CTEA0000000000000000"}
    answer = browser.post("/add-store", data=given | {"token": token(browser)})
    assert answer.status_code == 422
    page = html.unescape(answer.text)
    assert "Must be an absolute https or http address" in page
    assert 'value="tea.example"' in page
    assert page.count('aria-invalid="true"') == 3  # url, shop and consent
    good = given | {"url": "https://tea.example", "shop": "https://tea.example", "consent": "not_required"}
    answer = browser.post("/add-store", data=good | {"token": token(browser), "country": "US"})
    assert answer.status_code == 200
    page = html.unescape(answer.text)
    assert 'webhook_secrets = ["${TEA_WEBHOOK_SECRET}"]' in page
    assert "<code>TEA_TIKTOK_TOKEN</code>" in page
    assert "An order is sent as" in page
    assert "/setup/tea" in page


def test_a_form_escapes_what_is_typed_in(browser: FlaskClient) -> None:
    nasty = '"><script>alert(1)</script>'
    fields = {"name": nasty, "url": nasty, "orders.exclude_tags": nasty, "token": token(browser)}
    assert "<script>alert" not in browser.post("/add-store", data=fields).text


def test_a_form_needs_its_token(browser: FlaskClient) -> None:
    assert browser.post("/add-store", data={"name": "tea"}).status_code == 400
