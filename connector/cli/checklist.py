"""The checklist of a store's setup in a terminal, for `connector check --live STORE`."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from connector.cli.context import open_database, platform_of, say_of

if TYPE_CHECKING:
    from connector.config.settings import Config
    from connector.core.store import Store
    from connector.setup.items import Item, State
    from connector.storage.database import Database

SIGNS: "dict[State, tuple[str, str | None]]" = {
    "green": ("✓", "green"),
    "waiting": ("…", "yellow"),
    "red": ("✗", "red"),
    "not_applicable": ("-", None),
}


def asked_items(config: "Config", store: "Store", app_off: bool, wait: float) -> "list[Item]":
    """Check shop and TikTok, store their answers if there is a database, and return the checklist."""
    import httpx

    from connector.relay.events_api import TIMEOUT
    from connector.setup.actions import Setup
    from connector.setup.checklist import checklist
    from connector.setup.items import progress
    from connector.setup.live import ask
    from connector.setup.records import SetupRecords
    from connector.setup.situation import read_situation, with_answers
    from connector.storage.database import CannotStore
    from connector.storage.unreachable import is_not_created
    from connector.sync.shop_wait import ShopWait

    platform, shop_wait = platform_of(store), ShopWait(wait, say_of(store.name))
    database, problem = _database(config)
    with httpx.Client(timeout=TIMEOUT) as client:
        if database is None:
            situation = read_situation(config, store, platform, None, time.time())
            answers = with_answers(situation.records, ask(config, store, platform, (), shop_wait, client), time.time())
            unread = not is_not_created(config.database_url)
            return checklist(replace(situation, records=answers, database_problem=problem, unread=unread))
        try:
            setup = Setup(config, store, platform, database, client)
            setup.check(shop_wait)
            if app_off:
                setup.note_app_off()
            items = checklist(read_situation(config, store, platform, database, time.time()))
            done, number = progress(items)
            if done == number:
                SetupRecords(database).note_complete(store, time.time())
        except CannotStore as error:
            situation = read_situation(config, store, platform, None, time.time())
            problem = f"the database does not answer: {error}"
            return checklist(replace(situation, database_problem=problem, unread=True))
    return items


def _database(config: "Config") -> "tuple[Database | None, str]":
    """Open the database, or say why that is not possible."""
    from connector.storage.engine import SchemaError
    from connector.storage.unreachable import is_not_created, why_unreachable

    if is_not_created(config.database_url):
        return None, "there is no database file yet; `connector serve` or `connector migrate` creates it"
    try:
        return open_database(config), ""
    except SchemaError as error:
        return None, str(error)
    except Exception as error:
        return None, why_unreachable(config.database_url, error)


def lines(items: "Sequence[Item]") -> "Iterator[tuple[str, str | None]]":
    """Yield the lines of a checklist with their colours."""
    from connector.setup.items import progress

    for item in items:
        sign, colour = SIGNS[item.state]
        yield f"{sign} {item.title}: {item.sentence}", colour
        if item.remedy:
            yield f"    to do: {item.remedy}", None
        for line in item.copy.splitlines():
            yield f"      {line}", None
    done, number = progress(items)
    yield f"{done} of {number} done", None
