"""The beacons of an order, as its page shows them: which keys a browser named, and none of their values."""

import sqlalchemy as sa

from connector.signals.seen_beacons import SeenBeacon, seen_beacons
from connector.storage.tables import signals


def test_the_beacons_of_an_order(database):
    """By the order's key or its checkout; of no other, and of none of which nothing but the answer is kept."""
    empty = {"ttclid": "", "ttp": "", "ip": "", "user_agent": "", "url": "", "referrer": "", "consent": ""}
    rows = [
        {"token": "a", "order_key": "order:1", "seen_at": 9.0, "ttclid": "E.C.P.x", "user_agent": "Mozilla"},
        {"token": "b", "order_key": None, "seen_at": 5.0, "ttp": "t", "consent": "granted"},
        {"token": "c", "order_key": "order:1", "seen_at": 0.0, "consent": "denied"},
        {"token": "d", "order_key": "order:2", "seen_at": 7.0},
        {"token": "b", "order_key": "order:1", "seen_at": 8.0, "store": "beans"},
    ]
    with database.write() as connection:
        for row in rows:
            connection.execute(sa.insert(signals).values({"store": "acme", "order_seen_at": None} | empty | row))
    assert seen_beacons(database, "acme", "order:1", {"b"}) == [
        SeenBeacon(5.0, ("ttp",), "granted"),
        SeenBeacon(9.0, ("ttclid", "user agent"), ""),
    ]
    assert seen_beacons(database, "acme", "order:3", ()) == []
