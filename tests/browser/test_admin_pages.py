"""The dashboard as a person meets it: a real Chromium, mouse and keyboard, phone and desk, light and dark, axe-core."""

import base64
import re
import shutil
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from werkzeug.serving import WSGIRequestHandler, make_server

from connector.outbox.queries import EventFilter
from connector.storage.engine import connect
from tests.support.admin_site import PASSWORD, Past, Site, lived_past
from tests.support.axe import hindrances

PAGES = ["/", "/merges", "/match-keys", "/books", "/events", "/events?state=waiting", "/webhooks?kind=quiet",
         "/orders?store=acme", "/search", "/failed", "/failed?state=expired", "/parked"]  # fmt: skip


class Inactivity(WSGIRequestHandler):
    """No line per request among the tests' output."""

    def log_request(self, *_: object) -> None:
        pass


class Served:
    """A connector with a past, listening."""

    def __init__(self, site: Site, url: str) -> None:
        self.site, self.url = site, url


@pytest.fixture(scope="module")
def past(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Past:
    return lived_past(migrated_sqlite, tmp_path_factory.mktemp("past"))


@pytest.fixture
def served(migrated_sqlite: Path, tmp_path: Path, past: Past) -> Iterator[Served]:
    shutil.copy(migrated_sqlite, tmp_path / "connector.db")
    engine = connect(f"sqlite:///{tmp_path / 'connector.db'}", timeout=5.0)
    site = Site(engine).go_on(past)
    server = make_server("127.0.0.1", 0, site.app, threaded=True, request_handler=Inactivity)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Served(site, f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()
    engine.dispose()


@pytest.fixture
def page(chromium: Browser, served: Served) -> Iterator[Page]:
    """A fresh window in which nothing may be complained of: no CSP violation, no error, no failed request."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page, complaints = context.new_page(), []
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"{request.url} failed: {request.failure}"))
    yield page
    of_no_matter = r"status of 4\d\d|ERR_ABORTED"  # a test may go on before a page's script has come
    assert [text for text in complaints if not re.search(of_no_matter, text)] == []
    context.close()


def log_in(page: Page, served: Served) -> None:
    page.goto(served.url)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")


def test_a_wrong_password_is_told_and_the_right_one_opens(page: Page, served: Served) -> None:
    """Logging out closes again."""
    page.goto(served.url)
    page.get_by_label("Password").fill("guess")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("Wrong password. Enter the value of ADMIN_PASSWORD.")
    log_in(page, served)
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
    page.goto(f"{served.url}/failed")
    expect(page).to_have_url(f"{served.url}/login")


def test_an_orders_story_is_found_by_its_number(page: Page, served: Served) -> None:
    """From the overview in three steps, to the payload as it was sent."""
    order = served.site.order()
    log_in(page, served)
    page.get_by_role("link", name="Search").click()
    page.get_by_label(re.compile("Order number")).fill(f"#{order['order_number']}")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Order #{order['order_number']}")
    events = page.get_by_role("article")
    expect(events).to_have_count(2)
    expect(events.first).to_contain_text("TikTok has accepted it.")
    expect(events.first).to_contain_text("merges it with the browser's copy")
    events.first.get_by_text("Payload").click()
    payload = events.first.locator("pre")
    expect(payload).to_be_visible()
    expect(payload).to_contain_text(f"acme-order-{order['id']}")
    expect(payload).not_to_contain_text(order["browser_ip"])


def test_an_address_is_found_and_never_in_the_url(page: Page, served: Served) -> None:
    """Nor in any request but the form's own body."""
    mail, seen = served.site.order()["email"], []
    page.on("request", lambda request: seen.append(request.url))
    log_in(page, served)
    page.goto(f"{served.url}/search")
    page.get_by_label(re.compile("e-mail")).fill(mail)
    page.get_by_label(re.compile("e-mail")).press("Enter")
    expect(page.get_by_text(re.compile(f"#{served.site.order()['order_number']}")).first).to_be_visible()
    assert not [url for url in seen if "@" in url or "%40" in url]


def test_a_failed_event_is_sent_again_by_its_button(page: Page, served: Served) -> None:
    """It leaves the list, and the page says what was done; then TikTok takes it."""
    log_in(page, served)
    page.get_by_role("link", name="Failed", exact=True).click()
    rows = page.locator("ul.rows > li")
    expect(rows).to_have_count(4)
    rows.first.get_by_role("button", name="Replay").click()
    expect(page.get_by_role("status")).to_have_text("1 event is due again.")
    expect(rows).to_have_count(3)
    page.get_by_role("button", name="Replay all").click()
    expect(page.get_by_role("status")).to_have_text("3 events are due again.")
    expect(page.get_by_text("No failed events.")).to_be_visible()
    served.site.healthy = True
    served.site.work()
    assert {row.state for row in served.site.queries.find(EventFilter(), 100)} == {"accepted"}


def test_a_form_of_another_site_does_nothing(page: Page, served: Served) -> None:
    """With the browser's own cookie, but without the token."""
    log_in(page, served)
    answer = page.request.post(f"{served.url}/replay", form={"state": "rejected"})
    assert answer.status == 400
    assert served.site.states()["rejected"] == 4


def test_parked_webhooks_are_tried_again(page: Page, served: Served) -> None:
    """What still does not fit stays, with the reason."""
    log_in(page, served)
    page.get_by_role("link", name="Parked").click()
    page.locator("ul.rows").get_by_role("button", name="Replay").click()
    expect(page.get_by_role("status")).to_contain_text("1 × still parked: acme orders/create")
    expect(page.locator("ul.rows > li")).to_have_count(1)


def test_the_keyboard_is_enough(page: Page, served: Served) -> None:
    """The password field has the focus at once; the first Tab offers to skip to the content; the focus is visible."""
    page.goto(served.url)
    expect(page.get_by_label("Password")).to_be_focused()
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    assert skip.bounding_box()["width"] > 50
    names = []
    for _ in range(9):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.textContent"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert names == ["Overview", "Events", "Webhooks", "Merges", "Match keys", "Books", "Search", "Failed", "Parked"]
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Parked webhooks")


def test_a_chart_says_the_same_in_words_and_as_a_table(page: Page, served: Served) -> None:
    """For who cannot see it."""
    log_in(page, served)
    chart = page.get_by_role("img", name=re.compile("Events sent, last 24 hours"))
    expect(chart).to_have_accessible_name(re.compile(r"8 accepted by TikTok, 4 rejected or expired"))
    figure = page.locator("figure", has_text="Events sent, last 24 hours")
    figure.locator("summary").click()
    expect(figure.get_by_role("table")).to_contain_text("accepted by TikTok")
    assert sum(int(text) for text in figure.locator("tbody td").all_text_contents()) == 12


def test_the_pointer_over_a_bar_shows_its_numbers(page: Page, served: Served) -> None:
    """Whatever the height of the bar."""
    log_in(page, served)
    bar = page.locator("figure", has_text="Events sent, last 24 hours").locator("rect.hover").last
    title = bar.locator("title").text_content()
    assert title
    assert re.fullmatch(r"\d+ \w+, \d\d:00 UTC: 8 accepted by TikTok, 4 rejected or expired", title)
    bar.hover(position={"x": 3, "y": 2})
    assert bar.evaluate("it => it.matches(':hover')")


@pytest.mark.parametrize(
    ("zone", "hours", "named"),
    [("Asia/Tokyo", 9, "Asia/Tokyo, UTC+09:00"), ("America/Caracas", -4, "America/Caracas, UTC−04:00"), ("UTC", 0, "")],
)
def test_local_times_stand_beside_those_of_utc(
    chromium: Browser, served: Served, zone: str, hours: int, named: str
) -> None:
    """With the date where it is another one; nothing stands there where the clocks agree, or without JavaScript."""
    order = served.site.order()
    story = f"{served.url}/story?store=acme&key=order:{order['id']}"
    for javascript in (True, False):
        context = chromium.new_context(timezone_id=zone, java_script_enabled=javascript)
        page = context.new_page()
        log_in(page, served)
        page.goto(story)
        times = page.locator("time[datetime*='T']").all()
        assert len(times) >= 8
        for one in times:
            utc = datetime.fromisoformat(one.get_attribute("datetime") or "")
            here = utc + timedelta(hours=hours)
            beside = f"{here:%H:%M:%S}" if here.date() == utc.date() else f"{here:%m-%d %H:%M:%S}"
            shown = f"{utc:%Y-%m-%d %H:%M:%S} {beside if hours and javascript else ''}".strip()
            assert one.text_content() == shown
        footer = page.locator("footer").text_content() or ""
        assert (f"({named})" in footer) == (bool(named) and javascript)
        context.close()


def test_an_order_has_one_line_of_time_for_each_event(page: Page, served: Served) -> None:
    """From the shop to TikTok: along the page on a desk, down the page on a phone."""
    order = served.site.order()
    log_in(page, served)
    page.goto(f"{served.url}/story?store=acme&key=order:{order['id']}")
    line = page.get_by_role("list", name="Purchase, from the shop to TikTok")
    points = line.get_by_role("listitem")
    assert [text.split()[0] for text in points.all_text_contents()] == ["shop", "received,", "sent", "accepted"]
    assert len({top(point) for point in points.all()}) == 1
    page.set_viewport_size({"width": 390, "height": 844})
    places = [top(point) for point in points.all()]
    assert places == sorted(set(places))


def test_a_number_leads_to_its_events_and_an_event_to_its_order(page: Page, served: Served) -> None:
    """And the list can be taken along as a file."""
    log_in(page, served)
    page.locator("li.card", has_text="acme").get_by_role("link", name="4", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Events")
    rows = page.get_by_role("region", name="Events").get_by_role("row")
    expect(rows).to_have_count(5)
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV of Events").click()
    assert re.fullmatch(r"events-\d{4}-\d\d-\d\d\.csv", download.value.suggested_filename)
    assert len(download.value.path().read_text(encoding="utf-8-sig").splitlines()) == 5
    page.get_by_label("Which").select_option("rejected or expired")
    page.get_by_role("button", name="Show").click()
    expect(rows).to_have_count(3)
    rows.nth(1).get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Checkout")


def test_paper_is_light_and_has_nothing_to_press(chromium: Browser, served: Served) -> None:
    """Even of a dark screen; wide tables are there in full."""
    context = chromium.new_context(viewport={"width": 720, "height": 1000}, color_scheme="dark")
    page = context.new_page()
    log_in(page, served)
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for shown in ("Overview", "Match keys, last 7 days"):
        expect(page.get_by_role("heading", name=shown, exact=True)).to_be_visible()
    expect(page.locator("li.card").first).to_be_visible()
    for hidden in ("nav", "form", ".csv", "summary"):
        assert not [one for one in page.locator(hidden).all() if one.is_visible()], hidden
    for region in ("Match keys", "Value sent"):
        assert hidden_width(page, region) <= 0
    context.close()


def test_a_phone_shows_all_match_keys_at_once(page: Page, served: Served) -> None:
    """Each with its name beside it, and still a table to who cannot see it; a desk has them in columns."""
    log_in(page, served)
    table = page.get_by_role("region", name="Match keys", exact=True).get_by_role("table")
    values = table.get_by_role("cell").filter(has_text="%")
    assert named(values.first) == "none"
    page.set_viewport_size({"width": 390, "height": 844})
    assert hidden_width(page, "Match keys") <= 0
    assert [named(value) for value in values.all()][:6] == [
        *('"email"', '"phone"', '"external id"', '"ip + user agent"', '"ttclid"', '"ttp"'),
    ]
    for value in values.all():
        box = value.bounding_box()
        assert box
        assert 0 <= box["x"] <= box["x"] + box["width"] <= 390
    rows = table.aria_snapshot().count("- row ")
    assert rows == table.locator("tr").count()


def test_a_table_that_is_wider_than_the_screen_shows_that_there_is_more(page: Page, served: Served) -> None:
    """By a shade at the edge, which is gone at its end."""
    log_in(page, served)
    page.set_viewport_size({"width": 390, "height": 844})
    table = page.get_by_role("region", name="Value sent", exact=True)
    assert hidden_width(page, "Value sent") > 50
    before = light_at_the_edge(page, table)
    table.evaluate("it => it.scrollTo(it.scrollWidth, 0)")
    assert before < light_at_the_edge(page, table) - 15


def test_nothing_is_torn_apart_on_a_phone(page: Page, served: Served) -> None:
    """The tabs stand beside each other, a word with a hyphen stays whole, no number touches a time."""
    log_in(page, served)
    page.set_viewport_size({"width": 390, "height": 844})
    nothing, first = (page.locator("figure").first.locator("text").nth(place) for place in (0, 3))
    assert bottom(nothing) <= top(first)
    page.goto(f"{served.url}/search")
    assert page.get_by_text("e-mail address", exact=True).evaluate("it => it.getClientRects().length") == 1
    page.goto(f"{served.url}/failed")
    assert len({top(tab) for tab in page.get_by_label("Kinds of failure").get_by_role("link").all()}) == 1


def top(it: Locator) -> float:
    """Where something begins, in pixels from above."""
    return it.evaluate("it => it.getBoundingClientRect().top")


def bottom(it: Locator) -> float:
    """Where it ends."""
    return it.evaluate("it => it.getBoundingClientRect().bottom")


def named(value: Locator) -> str:
    """What a narrow screen writes before a value."""
    return value.evaluate("it => getComputedStyle(it, '::before').content")


def light_at_the_edge(page: Page, table: Locator) -> int:
    """How light a table is at its lower right corner: 0 to 255."""
    return page.evaluate(
        """async png => {
            const image = new Image();
            image.src = `data:image/png;base64,${png}`;
            await image.decode();
            const pen = new OffscreenCanvas(image.width, image.height).getContext("2d");
            pen.drawImage(image, 0, 0);
            return pen.getImageData(image.width - 5, image.height - 9, 1, 1).data[0];
        }""",
        base64.b64encode(table.screenshot()).decode(),
    )


def hidden_width(page: Page, region: str) -> int:
    """Pixels of a region that only scrolling shows."""
    return page.get_by_role("region", name=region, exact=True).evaluate("it => it.scrollWidth - it.clientWidth")


def test_nothing_keeps_anybody_out(chromium: Browser, served: Served) -> None:
    """No serious finding of axe-core on any page, and no page is wider than the screen.

    Only here the CSP is set aside, or axe could not be loaded.
    """
    context = chromium.new_context(bypass_csp=True)
    page = context.new_page()
    page.goto(served.url)
    found = hindrances(page, "login")
    log_in(page, served)
    order = served.site.order()
    for path in [*PAGES, f"/story?store=acme&key=order:{order['id']}"]:
        page.goto(served.url + path)
        for summary in page.locator("summary").all():
            summary.click()
        found += hindrances(page, path)
    page.goto(f"{served.url}/search")
    page.get_by_label(re.compile("Order number")).fill("no such order")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("heading", name="Found")).to_be_visible()
    found += hindrances(page, "nothing found")
    page.goto(f"{served.url}/story?store=acme&key=none")
    found += hindrances(page, "404")
    context.close()
    assert found == []
