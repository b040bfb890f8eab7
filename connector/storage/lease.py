"""Leases: work that only one process at a time may do, on any host. Each lease is a row of `leases`."""

import sqlalchemy as sa

from connector.storage.database import Database
from connector.storage.tables import leases


class Lease:
    """The lease on the work called `name`. It expires `seconds` after it was last taken."""

    def __init__(self, database: Database, name: str, seconds: float) -> None:
        self._database = database
        self._name = name
        self._seconds = seconds

    def take(self, owner: str, now: float) -> bool:
        """Take or renew the lease at `now` (Unix seconds); return True if `owner` holds it. Raises CannotStore."""
        until = now + self._seconds
        insert = self._database.insert(leases).values(name=self._name, owner=owner, until=until)
        # A lease that ends later than is possible was taken with a wrong clock.
        free = sa.or_(leases.c.until < now, leases.c.until > now + 2 * self._seconds, leases.c.owner == owner)
        taken = insert.on_conflict_do_update(
            index_elements=["name"], set_={"owner": owner, "until": until}, where=free
        ).returning(leases.c.owner)
        with self._database.write() as connection:
            return connection.execute(taken).first() is not None

    def release(self, owner: str) -> None:
        """Give up the lease, so that another process need not wait until it expires. Raises CannotStore."""
        with self._database.write() as connection:
            connection.execute(sa.delete(leases).where(leases.c.name == self._name, leases.c.owner == owner))
