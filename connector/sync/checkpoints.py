"""Progress of the reconciliation of each store. Times are Unix seconds. Raises CannotStore."""

from dataclasses import dataclass

import sqlalchemy as sa

from connector.storage.database import Database
from connector.storage.tables import reconciled


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The start of a store's last round, the time up to which it is reconciled, and its recent gaps.

    `done_at` is the end of the last round that was not interrupted. A gap is an order or registration whose webhook had
    not arrived; `gaps` counts them since `gaps_since`. Since `covered_since` every order has been compared.
    `customers_upto` is the time up to which registrations are reconciled, if the last round could not read them.
    """

    tried_at: float
    upto: float
    gaps: int = 0
    gaps_since: float | None = None
    gap_at: float | None = None
    done_at: float | None = None
    covered_since: float | None = None
    customers_upto: float | None = None

    @property
    def interrupted(self) -> bool:
        """True if the last round has not ended, because its process ended first or it is still going on."""
        return self.done_at is None or self.done_at < self.tried_at


class Checkpoints:
    """Reads and writes the table `reconciled`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def last(self, store: str) -> Checkpoint | None:
        """Return the last round, or None before the first one."""
        query = sa.select(*(reconciled.c[name] for name in Checkpoint.__dataclass_fields__))
        with self._database.read() as connection:
            row = connection.execute(query.where(reconciled.c.store == store)).first()
        return Checkpoint(*row) if row else None

    def begin(self, store: str, now: float, back: float) -> Checkpoint:
        """Store the start of a round. The first round of a store covers the last `back` seconds."""
        insert = self._database.insert(reconciled).values(store=store, tried_at=now, upto=now - back, gaps=0)
        begun = insert.on_conflict_do_update(index_elements=["store"], set_={"tried_at": now})
        columns = [reconciled.c[name] for name in Checkpoint.__dataclass_fields__]
        with self._database.write() as connection:
            return Checkpoint(*connection.execute(begun.returning(*columns)).one())

    def finish(self, store: str, now: float) -> None:
        """Store the end of a round, with or without errors."""
        self._set(store, done_at=now)

    def cover(self, store: str, since: float) -> None:
        """Store since when every order has been compared: the first round began there, or the first after a hole."""
        self._set(store, covered_since=since)

    def reach(self, store: str, upto: float) -> None:
        """Store that everything modified before `upto` is reconciled."""
        self._set(store, upto=upto)

    def reach_customers(self, store: str, upto: float | None) -> None:
        """Store the time up to which registrations are reconciled; None if they are as far as the orders."""
        self._set(store, customers_upto=upto)

    def count_gaps(self, store: str, number: int, now: float) -> None:
        """Add to the number of gaps."""
        since = sa.func.coalesce(reconciled.c.gaps_since, now)
        self._set(store, gaps=reconciled.c.gaps + number, gaps_since=since, gap_at=now)

    def forget_gaps(self, store: str) -> None:
        """Reset the number of gaps."""
        self._set(store, gaps=0, gaps_since=None, gap_at=None)

    def _set(self, store: str, **values: object) -> None:
        with self._database.write() as connection:
            connection.execute(sa.update(reconciled).where(reconciled.c.store == store).values(values))
