"""Which webhooks we made in the shops, one for each store and topic. Times are Unix seconds. Raises CannotStore."""

import sqlalchemy as sa

from connector.core.shop_api import Subscription
from connector.storage.database import Database
from connector.storage.tables import registered
from connector.sync.registration import PlannedWebhook


class RegisteredWebhooks:
    """The table's verbs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, store: str, line: PlannedWebhook, now: float) -> None:
        """What `webhooks register`, `sync` or `delete` did about a webhook, or found done by an earlier one."""
        found = line.subscription
        if found is None:
            return
        if line.deed == "deleted":
            self.forget(store, found)
        elif line.deed == "created" or (line.state == "in place" and found.by_us):
            self.remember(store, found, now)

    def remember(self, store: str, made: Subscription, now: float) -> None:
        """This webhook is ours; one that was made for the same topic before is not looked after any more."""
        values = {"id": made.id, "url": made.url, "made_at": now}
        insert = self._database.insert(registered).values(store=store, topic=made.topic, **values)
        with self._database.write() as connection:
            connection.execute(insert.on_conflict_do_update(index_elements=["store", "topic"], set_=values))

    def forget(self, store: str, removed: Subscription) -> None:
        """This webhook shall not be there; another one of its topic may."""
        ours = (registered.c.store == store, registered.c.id == removed.id)
        with self._database.write() as connection:
            connection.execute(sa.delete(registered).where(*ours))

    def of(self, store: str) -> dict[str, Subscription]:
        """A store's, by topic."""
        query = sa.select(registered).where(registered.c.store == store)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return {row.topic: Subscription(row.id, row.topic, row.url, by_us=True) for row in rows}
