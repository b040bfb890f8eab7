"""Invented shoppers who click, buy now or later, refuse and are erased; each recalled key is checked against a model.

Three shops, of which two share a pixel, and number their customers alike. What a shopper does becomes events, which
are mapped and stored as intake does it, in groups, with housekeeping in between. After each group every new event must
have exactly the keys that the model allows: the person's last ones that came to its pixel, given before the event, at
most as long ago as the setting says, and after the person's last refusal or erasure.
"""

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from threading import Event as Stop

import sqlalchemy as sa
from msgspec import structs

from connector.core.event import Customer, DataRequest, Event, Milestone
from connector.core.store import ConsentSource, MatchingSettings, Pixel, Store
from connector.core.webhook import Webhook
from connector.intake.examine import Examination, decision_of
from connector.mapping.event_id import object_key
from connector.mapping.tiktok_event import OutboundEvent, consent_denial_of, map_events
from connector.outbox.ledger import Decision
from connector.outbox.outbox import Outbox
from connector.privacy.data_subject import data_subject_of
from connector.privacy.erasure import Erasure
from connector.privacy.lookup import PersonalDataLookup
from connector.privacy.retention import RetentionJob, RetentionPolicy, RetentionStore
from connector.storage.database import Database
from connector.storage.tables import clicks, events
from tests.support.factories import a_store

DAY = 86_400.0
START = 1_780_000_000.0
DAYS = 60
GROUP = 60  # webhooks in a transaction
SHARED, BEANS, SOLO = (Pixel(f"C{name}".ljust(20, "0"), "token") for name in ("SHARED", "BEANS", "SOLO"))
KEYS = ("ttclid", "ttp")


def _store(name: str, days: int, *pixels: Pixel) -> Store:
    return a_store(
        "woocommerce",
        name,
        pixels=pixels,
        consent="required",
        consent_source=ConsentSource("answer"),
        max_event_age=timedelta(days=28),
        matching=MatchingSettings(remember_clicks=timedelta(days=days)),
    )


STORES = {
    store.name: store
    for store in (_store("acme", 28, SHARED), _store("beans", 14, SHARED, BEANS), _store("solo", 7, SOLO))
}


@dataclass
class Act:
    """Something a shopper does: "order", "checkout", "erase"; or what a shop says later: "paid", "again"."""

    at: float
    person: int
    store: str
    what: str
    number: int = 0
    keys: dict[str, str] = field(default_factory=dict)
    consent: str = "yes"
    placed: float = 0.0


@dataclass
class Given:
    """A key that a person brought: the order or checkout, the pixel, when, and until when it may be used."""

    store: str
    key: str
    pixel: str
    values: dict[str, str]
    at: float
    until: float
    alive: bool = True


class Simulation:
    """`shoppers` of them, by a seed. `run` raises AssertionError for the first event that has what it must not have."""

    def __init__(self, database: Database, shoppers: int, seed: int = 1, housekeeping: float = DAY) -> None:
        self.database = database
        self._housekeeping = housekeeping  # seconds between two rounds
        self.outbox = Outbox(database)
        self.counts: Counter[str] = Counter()
        self._shoppers = shoppers
        self._rng = random.Random(seed)
        self._numbers: Counter[str] = Counter()
        self._given: dict[int, list[Given]] = {}
        self._orders: dict[tuple[str, str], int] = {}  # whose it is
        self._last_row = 0
        self._lookup = PersonalDataLookup(database, STORES)
        self._now = START
        policy = RetentionPolicy(payloads=3 * DAY, ledger=400 * DAY, parked=400 * DAY)
        keeper = RetentionStore(database)
        self._keeper = RetentionJob(keeper, policy, STORES, "simulation", clock=lambda: self._now)

    def run(self) -> None:
        """Let everything happen, in the sequence of time."""
        acts = sorted((act for person in range(self._shoppers) for act in self._acts(person)), key=lambda act: act.at)
        group: list[Act] = []
        day = 0.0
        for act in acts:
            due = act.at >= day
            if due or act.what == "erase" or len(group) == GROUP or any(act.person == other.person for other in group):
                self._store(group)
                group = []
            if due:
                self._now, day = act.at, act.at + self._housekeeping
                self._settle()
                self._keeper.round(Stop())
                self._check_what_is_kept()
            if act.what == "erase":
                self._erase(act)
            else:
                group.append(act)
        self._store(group)
        self._check_queue()

    # --- the shoppers ---------------------------------------------------------------------------------------

    def _acts(self, person: int) -> Iterator[Act]:
        """Yield what one shopper does in two months: visits, and what follows from them."""
        rng = self._rng
        home = rng.choice([*STORES])
        for visit in range(rng.choice((1, 1, 2, 2, 3, 4))):
            at = START + rng.random() * (DAYS - 25) * DAY
            store = home if rng.random() < 0.8 else rng.choice([*STORES])
            consent = "no" if rng.random() < 0.12 else "yes"
            clicked = rng.random() < 0.6
            keys = {"ttclid": f"E.{person}.{visit}"} if clicked else {}
            keys |= {"ttp": f"T.{person}.{visit}"} if rng.random() < 0.7 else {}
            yield from self._visit(person, store, at, consent, keys)
            if rng.random() < 0.5:  # comes back on another device, or from an e-mail: without any key
                later = at + rng.random() * 32 * DAY
                shop = store if rng.random() < 0.8 else rng.choice([*STORES])
                yield from self._visit(person, shop, later, "no" if rng.random() < 0.05 else "yes", {})
        if rng.random() < 0.05:
            yield Act(START + rng.random() * DAYS * DAY, person, rng.choice([*STORES]), "erase")

    def _visit(self, person: int, store: str, at: float, consent: str, keys: dict[str, str]) -> Iterator[Act]:
        rng = self._rng
        self._numbers[store] += 1
        act = Act(at, person, store, "order", self._numbers[store], keys, consent, at)
        if rng.random() < 0.25:
            yield replace(act, what="checkout")
            return
        yield act
        if rng.random() < 0.3:  # a bank transfer
            yield replace(act, at=at + rng.random() * 20 * DAY, what="paid")
        if rng.random() < 0.3:  # the shop updates the order
            yield replace(act, at=at + rng.random() * 20 * DAY, what="again")

    # --- what happens ---------------------------------------------------------------------------------------

    def _store(self, group: Sequence[Act]) -> None:
        if not group:
            return
        self._now = group[-1].at
        self.outbox.record_all([self._decision(act) for act in group])
        for act in group:
            self._remember(act)
        self._check(group)

    def _decision(self, act: Act) -> Decision:
        store = STORES[act.store]
        milestones = self._milestones(act)
        now = datetime.fromtimestamp(act.at, UTC)
        mapped = [*map_events(milestones, store, now, None)]
        body = json.dumps([act.what, act.store, act.number, act.at]).encode()
        examination = Examination(
            events=tuple(item for item in mapped if isinstance(item, OutboundEvent)),
            skipped=tuple(item for item in mapped if not isinstance(item, OutboundEvent)),
            object_key=object_key(milestones[0].milestone, milestones[0].ids),
            consent_denial=consent_denial_of(milestones, store),
        )
        return decision_of(Webhook("order.updated", body, now), store, examination, act.at)

    def _milestones(self, act: Act) -> list[Event]:
        has_phone = act.person < 10_000 and act.number % 3 == 0
        customer = Customer(
            id=self._customer(act.person, act.store),
            emails=(f"shopper{act.person}@example.com",),
            phones=((f"+1202555{act.person:04}", "US"),) if has_phone else (),
            **act.keys,
        )
        number = str(act.number)
        ids = {"customer_id": customer.id, "meta:answer": act.consent}
        ids |= {"checkout_token": f"token-{act.store}-{number}"} if act.what == "checkout" else {"order_id": number}
        milestone: Milestone = "checkout_started" if act.what == "checkout" else "order_placed"
        placed = Event(milestone, datetime.fromtimestamp(act.placed, UTC), ids, customer)
        if act.what != "paid":
            return [placed]
        paid = {"milestone": "order_paid", "occurred_at": datetime.fromtimestamp(act.at, UTC)}
        return [placed, structs.replace(placed, **paid)]

    def _customer(self, person: int, store: str) -> str:
        """The shop's number of a customer: of another shop, another person has it."""
        return str((person + 7 * [*STORES].index(store)) % self._shoppers + 1)

    def _erase(self, act: Act) -> None:
        self._now = act.at
        store = STORES[act.store]
        request = DataRequest("erase_person", emails=(f"shopper{act.person}@example.com",))
        found = self._lookup.find(act.store, data_subject_of(request, store))
        Erasure(self.database).erase(act.store, found, act.at)
        for given in self._given.get(act.person, ()):
            given.alive = given.alive and given.store != act.store
        self.counts["erasures"] += 1

    def _settle(self) -> None:
        """TikTok accepts most of what waits; the rest waits for weeks, as if its pixel were refused."""
        sent = sa.update(events).where(events.c.state == "due", events.c.payload.is_not(None), events.c.id % 10 > 2)
        with self.database.write() as connection:
            connection.execute(sent.values(state="accepted", settled_at=self._now))

    # --- the model ------------------------------------------------------------------------------------------

    def _key(self, act: Act) -> str:
        return f"checkout:token-{act.store}-{act.number}" if act.what == "checkout" else f"order:{act.number}"

    def _remember(self, act: Act) -> None:
        store, mine = STORES[act.store], self._given.setdefault(act.person, [])
        self._orders[act.store, self._key(act)] = act.person
        if act.consent == "no":
            repeated = act.what in ("again", "paid")  # what the ledger knows is no later refusal
            for given in mine if not repeated else ():
                given.alive = given.alive and given.pixel not in {pixel.code for pixel in store.pixels}
            self.counts["refusals"] += not repeated
            return
        assert store.matching.remember_clicks
        until = act.placed + store.matching.remember_clicks.total_seconds()
        known = {(given.store, given.key, given.pixel) for given in mine}
        for pixel in store.pixels if act.keys and until > act.at else ():
            if (act.store, self._key(act), pixel.code) not in known:
                mine.append(Given(act.store, self._key(act), pixel.code, act.keys, act.placed, until))

    def _expected(self, person: int, row: sa.Row[tuple[object, ...]], now: float) -> dict[str, str]:
        """What the model allows an event to have besides its own keys."""
        store = STORES[row.store]
        assert store.matching.remember_clicks
        oldest = now - store.matching.remember_clicks.total_seconds()
        usable = [
            given
            for given in self._given.get(person, ())
            if given.alive and given.pixel == row.pixel and given.until > now and oldest < given.at <= row.occurred_at
        ]
        last = {}
        for name in KEYS:
            having = [given for given in usable if name in given.values]
            if having:
                last[name] = max(having, key=lambda given: given.at).values[name]
        return last

    # --- the checks -----------------------------------------------------------------------------------------

    def _check(self, group: Sequence[Act]) -> None:
        """Compare the events that this group has added with the model."""
        acts = {(act.store, self._key(act)): act for act in group}
        with self.database.read() as connection:
            new = connection.execute(sa.select(events).where(events.c.id > self._last_row).order_by(events.c.id)).all()
        for row in new:
            act = acts[row.store, row.object_key]
            user = json.loads(row.payload)["user"]
            has = {name: user[name] for name in KEYS if name in user}
            expected = self._expected(act.person, row, act.at) | act.keys
            assert has == expected, f"{row.store} {row.object_key} {row.event}: {has}, not {expected}"
            recalled = {name for name in KEYS if getattr(row, f"{name}_from") is not None}
            assert recalled == has.keys() - act.keys.keys()
            if row.event != "InitiateCheckout":
                self.counts["order events"] += 1
                self.counts["with a click id of their own"] += "ttclid" in act.keys
                self.counts["with a click id"] += "ttclid" in has
            self._last_row = row.id
        self.counts["webhooks"] += len(group)

    def _check_what_is_kept(self) -> None:
        """Housekeeping leaves nothing whose time is over."""
        with self.database.read() as connection:
            over = connection.execute(sa.select(sa.func.count()).where(clicks.c.until < self._now)).scalar()
        assert over == 0

    def _check_queue(self) -> None:
        """Nothing that is still to be sent has a remembered key that was refused or erased meanwhile."""
        alive = {
            (given.pixel, value)
            for mine in self._given.values()
            for given in mine
            if given.alive
            for value in given.values.values()
        }
        recalled = sa.or_(events.c.ttclid_from.is_not(None), events.c.ttp_from.is_not(None))
        with self.database.read() as connection:
            rows = connection.execute(sa.select(events).where(recalled, events.c.payload.is_not(None))).all()
        for row in rows:
            user = json.loads(row.payload)["user"]
            for name in KEYS:
                if getattr(row, f"{name}_from") is not None:
                    assert (row.pixel, user[name]) in alive, f"{row.store} {row.object_key}: {name} is gone"
        self.counts["checked in the queue"] = len(rows)
