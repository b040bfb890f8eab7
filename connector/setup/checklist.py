"""The checklist of a store's setup, from its settings to its first real orders. Pure: reads a `Situation` only.

The dashboard and `connector check --live STORE` show the same items.
"""

from functools import partial

from connector.config.summary import blockers
from connector.core.store import Store
from connector.setup.event_items import EVENT_ITEMS
from connector.setup.items import Item
from connector.setup.live import Mark
from connector.setup.situation import Situation
from connector.setup.webhook_items import WEBHOOK_ITEMS
from connector.sync.registration import why_not_to

SHORT_SECRET = 16  # characters
FROM_DATABASE = {"signature", "topics", "snippet", "test_event", "real_events", "official_app"}


def checklist(situation: Situation) -> list[Item]:
    """Return all items in the order in which they are dealt with."""
    makers = (settings, database, address, *WEBHOOK_ITEMS, *EVENT_ITEMS)
    items = [make(situation) for make in makers]
    return [_unknown(item) for item in items] if situation.unread else items


def _unknown(item: Item) -> Item:
    """Return the item of a database that cannot be read: what only the database shows is not known."""
    if item.done or item.key not in FROM_DATABASE:
        return item
    return Item(item.key, item.title, "waiting", "not known while the database cannot be read")


def settings(situation: Situation) -> Item:
    """Are the settings valid, those that run and those that are written now?"""
    make, store = partial(Item, "settings", "Settings"), situation.store
    if situation.problems:
        return make(
            "red",
            f"the settings as they are written now are invalid, so the old ones stay in use: {situation.problems[0]}",
            "correct it; `connector check` names every fault at once",
        )
    if situation.changed:
        return make(
            "waiting",
            "the running server has other settings than those written now, which it has not read yet",
            "restart `connector serve`, or send it HUP, with the same environment variables as here",
        )
    if found := [*blockers(store)]:
        return make("red", found[0], "correct it in the stores file, and restart")
    if has_short_secret(store):
        return make(
            "red",
            f"`webhook_secrets` has fewer than {SHORT_SECRET} characters: it can be guessed, and orders forged",
            "`connector webhooks secret` prints a good one",
        )
    return make("green", "valid")


def has_short_secret(store: Store) -> bool:
    """Return True if one of the store's secrets can be guessed."""
    return any(len(secret) < SHORT_SECRET for secret in store.webhook_secrets)


def database(situation: Situation) -> Item:
    """Does the database take writes, and does a relay run?"""
    make = partial(Item, "database", "Database and relay")
    if situation.database_problem:
        names_remedy = "`" in situation.database_problem
        return make(
            "red", situation.database_problem, "" if names_remedy else "look at the database and `DATABASE_URL`"
        )
    if not situation.evidence.relay_alive:
        return make("red", "no relay is running, so no event is sent", "start `connector serve`")
    return make("green", "the database takes writes, and a relay is running")


def address(situation: Situation) -> Item:
    """Can the shop reach this server at its public address, over https?"""
    url, make = situation.config.public_url, partial(Item, "address", "Public address")
    trial = situation.is_trial
    if not url:
        return make(
            "waiting",
            "`PUBLIC_URL` is not set, so the shop's address for webhooks is not known here",
            "set it to the https address of this server, and restart",
            copy=f"PUBLIC_URL={f'http://127.0.0.1:{situation.config.port}' if trial else 'https://HOST'}",
        )
    if not trial and (why := _why_not(situation)):
        return make("red", why, "set `PUBLIC_URL` to the https address of this server, and restart")
    answers = situation.answers("address")
    marks: dict[Mark, str] = {one.mark: one.text for one in answers}
    if "fault" in marks:
        return make("red", marks["fault"], action="check")
    if "ok" not in marks:
        name = situation.store.name
        return make(
            "waiting",
            f"`PUBLIC_URL` {url} was not tried yet",
            f"`connector check --live {name}` tries it",
            action="check",
        )
    aside = "; only this machine reaches it, which is enough for the sandbox" if trial else ""
    return make("green", f"`PUBLIC_URL` {url} answers{aside}")


def _why_not(situation: Situation) -> str:
    """Return why the shop does not deliver to the public address, or ""."""
    url = situation.config.public_url
    if situation.shop_api is not None:
        return why_not_to(url, situation.store, situation.platform)
    if not url.startswith("https://"):
        return f"{url} is not https, so orders with personal data would cross the internet in plain text"
    return ""
