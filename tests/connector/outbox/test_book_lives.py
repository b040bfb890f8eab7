"""The books against random lives of orders at every platform: what is left equals the shop's own totals."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from sqlalchemy import Engine

from connector.core.units import DAY
from connector.core.webhook import Webhook
from connector.outbox.ledger import Decision
from connector.storage.tables import events, orders, sold
from tests.support.book_world import STORES, World
from tests.support.effort import first_of
from tests.support.order_lives import DECIMALS, Life
from tests.support.outbox_rows import rows
from tests.support.sample_bodies import NOW

ORDERS = 25  # in a shop
Webhooks = list[tuple[str, bytes]]


def in_any_sequence(lives: list[Life], rng: random.Random) -> Webhooks:
    """All webhooks, some repeated; those of each order in any sequence, but that one of its first two comes first."""
    found: list[tuple[float, str, bytes]] = []
    for life in lives:
        for place, (topic, body) in enumerate(life.bodies):
            for _ in range(rng.choice((1, 1, 2, 3))):
                found.append((rng.random() + (0 if place < 2 else 1), topic, body))
    found.sort(key=lambda one: one[0])
    return [(topic, body) for _, topic, body in found]


def in_groups(webhooks: Webhooks, rng: random.Random) -> Iterator[Webhooks]:
    """Cut them into those that arrive at once."""
    while webhooks:
        number = rng.randint(1, 8)
        yield webhooks[:number]
        webhooks = webhooks[number:]


@pytest.mark.parametrize("platform", first_of(sorted(STORES, key=lambda name: name != "shopify")))
@pytest.mark.parametrize("seed", first_of(range(3)))
@pytest.mark.slow
def test_the_books_are_the_shops_own_totals(platform: str, seed: int, sqlite_engine: Engine) -> None:
    """Random lives of orders in three currencies, their webhooks in any sequence: equal to the last digit."""
    compare(sqlite_engine, platform, random.Random(f"{platform} {seed}"))


def test_the_books_are_the_same_in_postgresql(postgresql_engine: Engine) -> None:
    """Platforms only differ in what their bodies say, so the shop with the most kinds of webhooks is enough."""
    compare(postgresql_engine, "shopify", random.Random(0))


def compare(engine: Engine, platform: str, rng: random.Random) -> None:
    """Let a shop's orders live, deliver their webhooks and send the events, and compare the books with the truth."""
    world = World(engine, STORES[platform])
    lives = [Life(world.store, rng, number, rng.choice([*DECIMALS])).live() for number in range(1, ORDERS + 1)]
    for number, group in enumerate(in_groups(in_any_sequence(lives, rng), rng)):
        world.deliver_all(group)
        if number % 5 == 0:
            world.send()
    world.send()

    receipts = world.sandbox.received()
    keys = Counter((row.pixel, row.event, row.event_id) for row in rows(engine, events))
    assert not any(receipt.duplicate for receipt in receipts)
    assert (max(keys.values()), keys.total()) == (1, len(receipts))

    left = {f"order:{life.id}": life for life in lives}
    kept = {row.object_key: row for row in rows(engine, orders)}
    assert kept.keys() == left.keys()
    for key, life in left.items():
        row = kept[key]
        net = 0 if row.cancelled else row.remaining - row.later
        assert Decimal(net).scaleb(-4) == life.left, key
        assert (row.currency, bool(row.cancelled)) == (life.currency, life.cancelled), key

    truth: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for row in rows(engine, sold):
        life = left[row.object_key]
        sums = truth[row.pixel, row.event, row.currency]
        sums["orders"] += 1
        sums["sent"] += row.value
        sums["cancelled"] += row.value if life.cancelled else 0
        sums["net"] += int(life.left * 10_000)
    found: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for line in world.books():
        assert line.sent == line.cancelled + line.refunded + line.net
        assert line.day % DAY == 0
        for name in ("orders", "sent", "cancelled", "net"):
            found[line.pixel, line.event, line.currency][name] += getattr(line, name)
    assert {key: +sums for key, sums in found.items()} == {key: +sums for key, sums in truth.items()}
    assert sum(sums["orders"] for sums in truth.values()) == len(receipts) >= ORDERS


@pytest.mark.slow
def test_many_processes_at_once_keep_one_truth(engine: Engine) -> None:
    """Webhooks of the same orders are committed in groups, several at a time; no deadlock, no lost change."""
    world, rng = World(engine, STORES["shopify"]), random.Random("shopify")
    lives = [Life(world.store, rng, number, "KWD").live() for number in range(1, 13)]
    webhooks = [Webhook(topic, body, NOW) for topic, body in in_any_sequence(lives, rng)]
    decisions: list[Decision] = []
    for webhook in webhooks:
        decision = world.intake.decide(webhook, world.live).decision
        decisions += [decision] if decision else []
    groups = [decisions[at : at + 7] for at in range(0, len(decisions), 7)]
    with ThreadPoolExecutor(6) as threads:
        assert len([*threads.map(world.outbox.record_all, groups)]) == len(groups)
    left = {f"order:{life.id}": life for life in lives}
    for row in rows(engine, orders):
        net = 0 if row.cancelled else row.remaining - row.later
        assert Decimal(net).scaleb(-4) == left.pop(row.object_key).left
    assert not left
