"""A site whose pages are all full: eight weeks of match keys, merges, books, browsers' reports, skipped orders."""

import random
import time

import sqlalchemy as sa
from sqlalchemy import Engine

from connector.core.units import DAY, HOUR
from connector.storage.tables import accuracy, orders, snippet_reports, sold, tallies, totals
from tests.support.admin_site import SECRET, Site
from tests.support.factories import a_pixel_code, a_section, a_stores_file

SETTINGS = a_stores_file(
    a_section(
        browser_pixel="snippet",
        meter=True,
        books=True,
        funnel={},
        reconcile="15m",
        api={"access_token": "key-of-the-api"},
    ),
    a_section("woocommerce", "beans", books=True),
    webhook_secrets=[SECRET],
    access_token="token-of-the-pages",
)
COPIES = (
    ("sent", "accepted 0", 1000), ("copies", "merged", 900), ("copies", "dropped", 10), ("copies", "blocked", 60),
    ("copies", "browser", 4), ("copies", "twice", 33), ("distance", "5", 900), ("distance", "900", 10),
    ("amounts", "same", 900), ("amounts", "differs", 7),
)  # fmt: skip
EVENTS = ("PlaceAnOrder", "Purchase", "InitiateCheckout", "CompleteRegistration")


def full_site(engine: Engine) -> Site:
    """A site with a past, and the numbers of eight weeks."""
    Site(engine).live()
    site, today, hour = (
        Site(engine, STORES_TOML=SETTINGS),
        int(time.time()) // DAY * DAY,
        int(time.time()) // HOUR * HOUR,
    )
    rng, of_acme = random.Random(3), {"store": "acme", "pixel": a_pixel_code("acme")}
    with engine.begin() as connection:
        for what, detail, count in COPIES:
            row = of_acme | {"event": "Purchase", "what": what, "detail": detail, "count": count}
            connection.execute(_again(engine, totals, row))
            connection.execute(_again(engine, tallies, row | {"hour": hour}))
        skipped = {"store": "acme", "pixel": "", "event": "order", "what": "skipped", "hour": hour}
        connection.execute(_again(engine, tallies, skipped | {"detail": "no consent: no answer was given", "count": 9}))
        for step, outcome in (("cart_added", "taken"), ("searched", "taken"), ("searched", "rate limit")):
            row = {"store": "acme", "pixel": "", "event": step, "what": "funnel", "detail": outcome, "count": 7}
            connection.execute(_again(engine, tallies, row | {"hour": hour}))
        for ago in range(1, 60):
            for event in EVENTS:
                for keys in ("email phone external_id ip+user_agent ttp", "email ttclid", ""):
                    row = of_acme | {"event": event, "what": "keys", "detail": keys, "count": rng.randint(1, 90)}
                    connection.execute(_again(engine, tallies, row | {"hour": today - ago * DAY}))
        seen = {"first_at": today, "seen_at": time.time(), "loaded_at": today, "others_at": today}
        connection.execute(sa.insert(snippet_reports).values(store="acme", version="0000aaaa", **seen))
        _fill_books(connection, today)
    return site


def _again(engine: Engine, table: sa.Table, row: dict) -> sa.sql.dml.Insert:
    """Insert, or leave what a shopper has counted there already."""
    from sqlalchemy.dialects import sqlite

    assert engine.dialect.name == "sqlite"
    return sqlite.insert(table).values(row).on_conflict_do_nothing()


def _fill_books(connection: sa.Connection, today: int) -> None:
    texts = {"skipped": '{"pos orders are not relayed":2}', "missing": '{"TikTok rejected it":1}'}
    for number in range(1, 6):
        day = today - number * DAY
        of_day = {"store": "acme", "day": day, "orders": 40, "sent": 37, "waiting": 0, "complete": 1, "counted_at": day}
        connection.execute(sa.insert(accuracy).values(of_day | texts))
        key = {"store": "acme", "object_key": f"order:9{number}", "currency": "USD"}
        of_event = {"pixel": a_pixel_code("acme"), "event": "Purchase", "event_id": f"e{number}", "value": 445_000}
        connection.execute(sa.insert(sold).values(key | of_event | {"occurred_at": day + 60.0}))
        state = {"placed_at": day + 60.0, "changed_at": day + 90.0, "remaining": 400_000, "later": 0, "refunds": ""}
        state |= {"order_number": f"#10{number}", "outcome": "relayed", "reason": "", "seen_at": day + 90.0}
        connection.execute(sa.insert(orders).values(key | state | {"cancelled": number % 2}))
