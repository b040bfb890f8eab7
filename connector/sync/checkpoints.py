"""How far each store's history has been compared with what came by webhook. Unix seconds. Raises CannotStore."""

from dataclasses import dataclass

import sqlalchemy as sa

from connector.storage.database import Database
from connector.storage.tables import reconciled


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """When a store's last round began, up to when everything has been looked at, and the gaps of the last days."""

    tried_at: float
    upto: float
    gaps: int = 0
    gaps_since: float | None = None
    gap_at: float | None = None


class Checkpoints:
    """The table's verbs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def last(self, store: str) -> Checkpoint | None:
        """The last round, or None if there was none yet."""
        query = sa.select(*(reconciled.c[name] for name in Checkpoint.__dataclass_fields__))
        with self._database.read() as connection:
            row = connection.execute(query.where(reconciled.c.store == store)).first()
        return Checkpoint(*row) if row else None

    def begin(self, store: str, now: float, back: float) -> Checkpoint:
        """A round begins; the first one counts all as looked at that is older than `back` seconds."""
        insert = self._database.insert(reconciled).values(store=store, tried_at=now, upto=now - back, gaps=0)
        begun = insert.on_conflict_do_update(index_elements=["store"], set_={"tried_at": now})
        columns = [reconciled.c[name] for name in Checkpoint.__dataclass_fields__]
        with self._database.write() as connection:
            return Checkpoint(*connection.execute(begun.returning(*columns)).one())

    def reach(self, store: str, upto: float) -> None:
        """Everything that changed before then has been looked at."""
        self._set(store, upto=upto)

    def count_gaps(self, store: str, number: int, now: float) -> None:
        """So many had not come by webhook."""
        since = sa.func.coalesce(reconciled.c.gaps_since, now)
        self._set(store, gaps=reconciled.c.gaps + number, gaps_since=since, gap_at=now)

    def forget_gaps(self, store: str) -> None:
        """There have been none for long."""
        self._set(store, gaps=0, gaps_since=None, gap_at=None)

    def _set(self, store: str, **values: object) -> None:
        with self._database.write() as connection:
            connection.execute(sa.update(reconciled).where(reconciled.c.store == store).values(values))
