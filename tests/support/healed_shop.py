"""A shop with reconciliation, and what rounds have left in the database."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from connector.outbox.queries import OutboxQueries
from connector.storage.database import Database
from connector.storage.tables import events
from connector.sync.reconcile import Reconciler
from tests.support.fakes.living import Clock, Living
from tests.support.outbox_rows import rows
from tests.support.platforms import PLATFORMS

EVERY = 900.0


class Healed(Living):
    """A shop with reconciliation every quarter of an hour, started long ago."""

    def __init__(self, platform: str) -> None:
        super().__init__(platform, Clock())
        started = datetime.fromtimestamp(self.clock.now - 30 * 86_400, UTC)
        self.store = replace(self.store, reconcile=timedelta(seconds=EVERY), go_live=started)

    def healer(self, engine: Engine, owner: str = "one") -> Reconciler:
        stores, administrations = {"acme": self.store}, {self.platform: self.administration}
        return Reconciler(stores, PLATFORMS, administrations, Database(engine), owner, self.clock)

    def visit(self, engine: Engine, owner: str = "one") -> bool:
        return self.healer(engine, owner).visit(self.store)

    def later(self, engine: Engine, seconds: float = EVERY) -> bool:
        """A round when so much time has passed."""
        self.clock.now += seconds
        return self.visit(engine)


def living(platform: str) -> Iterator[Healed]:
    shop = Healed(platform)
    with shop.fake:
        yield shop


def names(engine: Engine) -> list[tuple[str, str]]:
    return sorted((row.event, row.event_id) for row in rows(engine, events))


def of_orders(*numbers: int) -> list[tuple[str, str]]:
    return sorted((event, f"acme-order-{number}") for number in numbers for event in ("PlaceAnOrder", "Purchase"))


def problems(engine: Engine) -> dict[str, str]:
    return {problem.key: problem.sentence for problem in OutboxQueries(Database(engine)).open_problems()}
