"""The checklist: every wrong turn that the README and the quickstarts allow turns one line red, with its remedy."""

import time
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from connector.setup.items import progress
from connector.storage.tables import relays
from tests.support.effort import first_of
from tests.support.new_store import NAMES, NewStore, red, states
from tests.support.platforms import PLATFORMS, SAMPLES

Make = Callable[..., NewStore]
ALL = sorted(NAMES)


# --- the right way ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("platform", first_of(ALL))
@pytest.mark.slow
def test_from_nothing_to_all_green(new_store: Make, platform: str) -> None:
    """Each step turns its line green, on every platform alike; the words say where one does not apply."""
    shop = new_store(platform)
    begun = states(shop.items())
    assert begun["settings"] == "green"
    assert begun["database"] == "red"  # no relay has run yet
    assert {begun[key] for key in ("address", "signature", "topics", "token", "test_event", "live")} == {"waiting"}
    assert "red" not in {state for key, state in begun.items() if key != "database"}

    with shop.served():
        shop.ask()
        asked = shop.items()
    assert states(asked)["address"] == "green"
    assert "which is enough for the sandbox" in asked["address"].sentence
    assert states(asked)["token"] == "green"

    shop.send()
    assert states(shop.items())["signature"] == "green"
    shop.work()
    tested = shop.items()
    assert tested["topics"].state == "green"
    assert (tested["database"].state, tested["test_event"].state) == ("green", "green")
    assert tested["real_events"].state == "waiting"
    assert "test_event_code" in tested["real_events"].remedy

    with shop.acting() as setup:
        setup.note_app_off()
    shop.configure(test_event_code="")
    shop.send()
    shop.work()
    with shop.served():
        shop.ask()
        ended = shop.items()
    assert {item.state for item in ended.values()} <= {"green", "not_applicable"}, states(ended)
    done, number = progress([*ended.values()])
    assert done == number > 8


@pytest.mark.parametrize("platform", ALL)
def test_what_a_platform_lacks_does_not_apply(new_store: Make, platform: str) -> None:
    """An API, code for pages, an app of TikTok's: said in words, and not counted as done."""
    items = new_store(platform).items()
    assert items["snippet"].state == "not_applicable"
    assert items["api"].state == "not_applicable"
    has_api = PLATFORMS[platform].shop_api is not None
    assert ("no keys in [stores." in items["api"].sentence) == has_api
    assert (items["official_app"].state == "not_applicable") != PLATFORMS[platform].facts.official_app


def test_every_platform_names_topics_that_it_handles() -> None:
    """Those of its facts bring events, and its samples send one of each."""
    for name, platform in PLATFORMS.items():
        for milestone, topics in platform.facts.milestone_topics.items():
            assert milestone in platform.facts.milestones, name
            assert set(topics) <= platform.event_topics, name
            assert set(topics) & set(SAMPLES[name].FUNNEL), (name, milestone)


# --- wrong turns: settings, server, address -----------------------------------------------------------------------


def test_settings_that_were_spoilt_since_the_start(new_store: Make) -> None:
    """The README's own typo, written while the server runs; the old settings stay in use."""
    shop = new_store()
    shop.reload = lambda: shop.read(**shop.settings, consnet="required")
    assert "stores.acme.consnet: unknown key; did you mean consent?" in red(shop, "settings")
    assert "`connector check` names every fault" in red(shop, "settings")


def test_settings_that_were_changed_without_a_restart(new_store: Make) -> None:
    shop = new_store()
    shop.reload = lambda: shop.read(**shop.settings | {"test_event_code": ""})
    item = shop.items()["settings"]
    assert item.state == "waiting"
    assert "restart `connector serve`, or send it HUP" in item.remedy
    shop.reload = lambda: shop.read(**shop.settings)
    assert shop.items()["settings"].state == "green"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"consent": "required"}, "consent_source.key is not set, so no consent is found and events are skipped"),
        ({"event_id": {"checkout": "{order_id}"}}, "has no {order_id}, so none is sent"),
        ({"webhook_secrets": ["short"]}, "fewer than 16 characters"),
    ],
)
def test_settings_with_which_nothing_can_be_sent(new_store: Make, changes: dict, said: str) -> None:
    assert said in red(new_store(**changes), "settings")


def test_no_relay(new_store: Make) -> None:
    """Never started, or gone for more than a minute."""
    shop = new_store()
    assert "start `connector serve`" in red(shop, "database")
    shop.work()
    assert shop.items()["database"].state == "green"
    with shop.database.write() as connection:
        connection.execute(sa.update(relays).values(seen_at=time.time() - 90))
    assert "no relay is running" in red(shop, "database")


@pytest.mark.parametrize("platform", ALL)
def test_an_address_without_https(new_store: Make, platform: str) -> None:
    """In earnest, with TikTok's own Events API; on one machine with the sandbox it is enough."""
    environ = {
        "PUBLIC_URL": "http://connector.example",
        "EVENTS_API_URL": "https://business-api.tiktok.com/open_api/v1.3",
    }
    shop = new_store(platform, environ=environ)
    assert "https" in red(shop, "address")
    assert "`PUBLIC_URL`" in red(shop, "address")


def test_no_address(new_store: Make) -> None:
    item = new_store().items()["address"]
    assert (item.state, item.copy) == ("waiting", "PUBLIC_URL=http://127.0.0.1:8000")


def test_an_address_at_which_nobody_answers(new_store: Make) -> None:
    shop = new_store(environ={"PUBLIC_URL": "http://127.0.0.1:9"})
    assert shop.items()["address"].action == "check"
    shop.ask()
    assert "nothing accepts connections there; start the server" in red(shop, "address")
    shop.environ["PUBLIC_URL"] = "http://127.0.0.1:19"
    shop.configure()
    assert shop.items()["address"].state == "waiting"  # the answer was about another address


def test_the_address_of_somebody_else(new_store: Make) -> None:
    """A web server that answers every path, such as a shop's own: here the sandbox's pages."""
    shop = new_store()
    shop.environ["PUBLIC_URL"] = shop.events_api.partition("/open_api")[0]
    shop.configure()
    shop.ask()
    assert "answers 404" in red(shop, "address")
