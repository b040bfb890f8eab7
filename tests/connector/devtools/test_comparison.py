"""connector.devtools.comparison: what other settings would change, compared with what the outbox really gets."""

import base64
import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine

from connector.core.event import OrderKind
from connector.core.registry import installed_platforms
from connector.core.store import (
    ConsentSource,
    EventIdTemplates,
    MappingSettings,
    OrderSettings,
    Pixel,
    SignalSettings,
    Store,
)
from connector.core.webhook import InvalidPayload, NotJson, Webhook
from connector.devtools.comparison import EXAMPLES, Comparison, shown_change
from connector.intake.examine import decision_of, examine
from connector.outbox.outbox import Outbox
from connector.plugin.testing.samples import fresh_journey
from connector.storage.database import Database
from connector.storage.tables import metadata
from tests.support.effort import first_of
from tests.support.factories import CODE, OTHER_CODE, a_store
from tests.support.outbox_rows import rows
from tests.support.platforms import SAMPLES
from tests.support.sample_bodies import NOW, PAID, PLACED, journey

FIXTURES = Path(__file__).parents[2] / "fixtures"
PLATFORMS = installed_platforms()  # also those whose webhooks only name an order
PLATFORM_NAMES = sorted(PLATFORMS)
SEEDS = [
    pytest.param(name, seed, marks=[pytest.mark.slow] if (name, seed) != ("shopify", 0) else [])
    for name in PLATFORM_NAMES
    for seed in range(8 if name in ("shopify", "woocommerce") else 4)
]
Bodies = list[tuple[str, bytes]]


@cache
def bodies(platform: str) -> Bodies:
    """All recordings of event topics, and every sample of twenty shoppers, in one sequence."""
    found = [recorded(platform, path) for path in sorted((FIXTURES / platform / "requests").glob("*.json"))]
    samples: Any = PLATFORMS[platform].samples
    rng, store = random.Random(7), a_store(platform, country="US")
    for _ in range(20):
        way = fresh_journey(store, NOW, rng)
        for topic in samples.TOPICS:
            named = (topic, samples.sample(topic, way, store))
            topic_, body = samples.fetched(topic, way, store) if PLATFORMS[platform].notice_topics else named
            found.append((topic_, samples.encode(body)))
    rng.shuffle(found)
    chosen = [(topic, body) for topic, body in found if topic in PLATFORMS[platform].event_topics]
    assert len(chosen) > 60
    return chosen


def recorded(platform: str, path: Path) -> tuple[str, bytes]:
    """Topic and body of a recording, in whichever form it was written; a signed event is its own."""
    recording = json.loads(path.read_text())
    if platform == "signed":
        return recording.get("type", ""), path.read_bytes()
    headers = dict(recording.get("headers", ()))
    topic = recording.get("topic") or recording.get("fetched") or headers.get("Saleor-Event", "")
    if "body_base64" in recording:
        return topic, base64.b64decode(recording["body_base64"])
    return topic, json.dumps(recording["body"]).encode()


def random_settings(store: Store, rng: random.Random) -> Store:
    """The same store with some other settings."""
    kinds: tuple[OrderKind, ...] = ("web", "app", "b2b", "api", "staff", "draft", "renewal", "pos")
    code = Pixel(CODE, "token", rng.choice(("", "TEST1")))
    pixels = ((code,), (Pixel(OTHER_CODE, "token"),), (code, Pixel(OTHER_CODE, "token")))
    names = ((), ("Purchase",), ("PlaceAnOrder",), ("Purchase", "Bought"))
    choices: dict[str, Any] = {
        "pixels": rng.choice(pixels),
        "events": store.events | {"order_placed": rng.choice(names), "order_paid": rng.choice(names)},
        "orders": OrderSettings(include=tuple(rng.sample(kinds, 5)), paid_when_placed=rng.choice(((), ("cod",)))),
        "mapping": MappingSettings(
            value=rng.choice(("total", "items")),
            value_excludes=rng.choice(((), ("tax",), ("shipping", "tax"))),
            currency=rng.choice(("presentment", "shop")),
            content_id=rng.choice(("variant_id", "product_id", "sku", "x-{product_id}")),
            bundles=rng.choice(("parts", "bundle")),
        ),
        "event_id": EventIdTemplates(
            rng.choice(("acme-order-{order_id}", "{order_number}", "{checkout_token}")),
            "{checkout_token}",
            "{customer_id}",
        ),
        "consent": rng.choice(("required", "not_required")),
        "consent_source": ConsentSource(key="consent"),
        "external_id": rng.choice(("{customer_id}", "")),
        "limited_data_use": rng.choice(((), ("CA", "TX"))),
        "signals": rng.choice((None, SignalSettings())) if store.platform == "shopify" else None,
    }
    return replace(store, **dict(rng.sample([*choices.items()], rng.randint(0, 5))))


def stored(engine: Engine, store: Store, history: Bodies) -> dict[tuple[str, str, str], Any]:
    """What a real outbox has after these bodies, by its key, if each event is sent before the next body comes."""
    with engine.begin() as connection:
        for table in metadata.tables:
            connection.exec_driver_sql(f"DELETE FROM {table}")
    outbox = Outbox(Database(engine))
    platform = PLATFORMS[store.platform]
    for topic, body in history:
        webhook = Webhook(topic, body, NOW)
        try:
            outbox.record(decision_of(webhook, store, examine(webhook, platform, store, NOW, None), NOW.timestamp()))
        except (InvalidPayload, NotJson):
            continue
        with engine.begin() as connection:
            connection.exec_driver_sql("UPDATE events SET state = 'accepted', sent_at = due_at, settled_at = due_at")
    return {(row.pixel, row.event, row.event_id): row for row in rows(engine)}


def compared(old: Store, new: Store, history: Bodies) -> Comparison:
    found = Comparison(old, new, PLATFORMS[old.platform], NOW)
    for topic, body in history:
        found.add(topic, body)
    return found


def totals(found: dict[tuple[str, str, str], Any]) -> dict[tuple[str, str, str], tuple[int, Decimal]]:
    decode = msgspec.json.Decoder(float_hook=Decimal).decode
    numbers: Counter[tuple[str, str, str]] = Counter()
    values: dict[tuple[str, str, str], Decimal] = {}
    for (pixel, event, _), row in found.items():
        properties = decode(row.payload).get("properties", {})
        key = (pixel, event, properties["currency"] if "value" in properties else "")
        numbers[key] += 1
        values[key] = values.get(key, Decimal(0)) + Decimal(properties.get("value", 0))
    return {key: (number, values[key]) for key, number in numbers.items()}


@pytest.mark.parametrize(("platform", "seed"), SEEDS)
@pytest.mark.slow
def test_the_difference_is_that_of_two_outboxes(platform: str, seed: int, sqlite_engine: Engine) -> None:
    """All recordings and samples, through two settings: the difference leads from one outbox's rows to the other's."""
    rng = random.Random(seed)
    present = a_store(platform, country="US")
    old, new = random_settings(present, rng), random_settings(present, rng)
    history = bodies(platform)
    before, after = stored(sqlite_engine, old, history), stored(sqlite_engine, new, history)
    assert before or after or seed
    found = compared(old, new, history)

    rebuilt = {key: row.payload for key, row in before.items()}
    changed = set()
    for one in found.differences():
        if one.old:
            assert before[one.old.key].payload == one.old.payload == rebuilt.pop(one.old.key)
        if one.old and one.new:
            assert one.fields
            changed.add(one.new.key)
    for one in found.differences():
        if one.new:
            assert one.new.key not in rebuilt
            rebuilt[one.new.key] = one.new.payload
    assert rebuilt == {key: row.payload for key, row in after.items()}
    # Whatever both outboxes have is named as changed if it differs, and not at all if it does not.
    for key in before.keys() & after.keys():
        differs = before[key].payload != after[key].payload or (before[key].test_code != after[key].test_code)
        differs |= (before[key].checkout is None) != (after[key].checkout is None)
        assert (key in changed) == differs, key

    sides = [
        {
            (total.pixel, total.event, total.currency): (total.numbers[side], total.values[side])
            for total in found.sums()
        }
        for side in (0, 1)
    ]
    for side, truth in enumerate((totals(before), totals(after))):
        assert {key: pair for key, pair in sides[side].items() if pair[0]} == truth


@pytest.mark.parametrize("platform", first_of(PLATFORM_NAMES))
def test_equal_settings_change_nothing(platform: str) -> None:
    store = a_store(platform, country="US")
    found = compared(store, store, bodies(platform))
    assert sum(found.subjects.values()) > 20
    assert not [*found.differences()]
    assert found.groups() == []


# --- each change has its name -----------------------------------------------------------------------------------


def one_order(platform: str = "shopify", **changes: Any) -> Bodies:
    samples, store = SAMPLES[platform], a_store(platform, country="US")
    way = journey()
    return [
        (topics[platform], samples.encode(samples.sample(topics[platform], way, store) | changes))
        for topics in (PLACED, PAID)
    ]


def groups(new: Store, old: Store | None = None, **changes: Any) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    for group in compared(old or a_store(country="US"), new, one_order(**changes)).groups():
        yield group.kind, group.name, group.fields, group.reason


def test_a_changed_value() -> None:
    store = a_store(country="US")
    new = replace(store, mapping=replace(store.mapping, value="items"))
    assert {*groups(new)} == {("changes", name, ("properties.value",), "") for name in ("PlaceAnOrder", "Purchase")}


def test_changed_ids_in_the_catalogue() -> None:
    store = a_store(country="US")
    new = replace(store, mapping=replace(store.mapping, content_id="sku"))
    assert {fields for _, _, fields, _ in groups(new)} == {("contents.content_id",)}
    new = replace(store, mapping=replace(store.mapping, content_id="product_id"))
    assert {fields for _, _, fields, _ in groups(new)} == {("contents.content_id", "properties.content_type")}


def test_a_changed_event_id_and_a_changed_pixel() -> None:
    store = a_store(country="US")
    new = replace(store, event_id=replace(store.event_id, order="{order_id}"))
    assert {fields for _, _, fields, _ in groups(new)} == {("event_id",)}
    new = replace(store, pixels=(Pixel(OTHER_CODE, "token"),))
    assert {fields for _, _, fields, _ in groups(new)} == {("pixel",)}


def test_a_changed_name() -> None:
    store = a_store(country="US")
    new = replace(store, events=store.events | {"order_paid": ("CompletePayment",)})
    assert [*groups(new)] == [("changes", "Purchase → CompletePayment", ("event",), "")]


def test_what_appears_and_disappears_is_given_the_other_sides_reason() -> None:
    store = a_store(country="US")
    without = replace(store, orders=OrderSettings(include=("pos",)))
    reason = "web orders are not relayed (orders.include)"
    for kind, pair in (("disappears", (without, store)), ("appears", (store, without))):
        new, old = pair
        assert {*groups(new, old)} == {(kind, name, (), reason) for name in ("PlaceAnOrder", "Purchase")}


def test_a_second_pixel_and_a_second_name_appear() -> None:
    store = a_store(country="US")
    new = replace(store, pixels=(*store.pixels, Pixel(OTHER_CODE, "token")))
    assert {kind for kind, *_ in groups(new)} == {"appears"}
    new = replace(store, events=store.events | {"order_paid": ("Purchase", "Bought")})
    assert [*groups(new)] == [("appears", "Bought", (), "")]


def test_another_sequence_of_pixels_changes_nothing() -> None:
    store = a_store(country="US")
    pixels = (Pixel(CODE, "token"), Pixel(OTHER_CODE, "token"))
    old, new = replace(store, pixels=pixels), replace(store, pixels=pixels[::-1])
    assert [*groups(new, old)] == []


def test_an_event_moved_to_another_webhook_is_the_same_one() -> None:
    """Placed orders count once they are paid: not one that disappears and one that appears, but nothing at all."""
    store = a_store(country="US")
    new = replace(store, orders=OrderSettings(placed_statuses=("paid",)))
    assert next(groups(new, financial_status="pending"))[0] == "disappears"
    found = Comparison(store, new, PLATFORMS["shopify"], NOW)
    for (topic, body), status in zip(one_order(), ("pending", "paid"), strict=True):
        found.add(topic, json.dumps(json.loads(body) | {"financial_status": status}).encode())
    assert not [*found.differences()]


def test_only_ten_examples_are_kept_and_all_are_counted() -> None:
    store = a_store(country="US")
    samples, rng = SAMPLES["shopify"], random.Random(3)
    history = [
        ("orders/paid", samples.encode(samples.sample("orders/paid", fresh_journey(store, NOW, rng), store)))
        for _ in range(EXAMPLES + 5)
    ]
    new = replace(store, mapping=replace(store.mapping, value="items"))
    assert [(group.number, len(group.examples)) for group in compared(store, new, history).groups()] == [
        (EXAMPLES + 5, EXAMPLES)
    ] * 2


def test_persons_are_not_shown() -> None:
    """A change of what is sent about a person, or of a page, is named, without a value."""
    store = a_store(country="US")
    new = replace(store, external_id="", url="https://other.example")
    found = compared(store, new, one_order())
    shown = [shown_change(one) for one in found.differences()]
    assert shown
    assert all("user.external_id" in line and "→" not in line for line in shown)
    email = json.loads(one_order()[0][1])["email"]
    assert email not in json.dumps([shown, str(found.groups())])


def test_bodies_that_cannot_be_processed_are_counted_on_the_side_they_fail() -> None:
    store = a_store(country="US")
    found = compared(store, store, [("orders/paid", b"[]"), ("orders/paid", b"{")])
    assert [sum(failures.values()) for failures in found.failures] == [2, 2]


def test_the_period_leaves_out_orders_that_only_changed_in_it() -> None:
    store = a_store(country="US")
    new = replace(store, mapping=replace(store.mapping, value="items"))
    history = one_order()
    (created,) = {json.loads(body)["created_at"] for _, body in history}
    for since, number in ((timedelta(hours=-1), 1), (timedelta(hours=+9), 0)):
        found = compared(store, new, history)
        found.limit(datetime.fromisoformat(created).astimezone(UTC) + since)
        assert (found.subjects.total(), found.outside) == (number, 1 - number)
        assert bool([*found.differences()]) == bool(number)
