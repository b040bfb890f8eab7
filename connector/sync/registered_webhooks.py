"""The webhooks that the connector created in shops, one per store and topic. Unix seconds. Raises CannotStore."""

import sqlalchemy as sa

from connector.core.shop_api import Subscription
from connector.core.units import DAY
from connector.core.webhook import BrokenWebhook
from connector.outbox.queries import OutboxQueries
from connector.storage.database import Database
from connector.storage.tables import parked, registered
from connector.sync.registration import PlannedWebhook


class RegisteredWebhooks:
    """Reads and writes the table `registered`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, store: str, line: PlannedWebhook, now: float) -> None:
        """Store what `webhooks register`, `sync` or `delete` changed, or found already in place."""
        found = line.subscription
        if found is None:
            return
        if line.change == "deleted":
            self.forget(store, found)
        elif line.change == "created" or (line.state == "in place" and found.by_us):
            self.remember(store, found, now)

    def remember(self, store: str, made: Subscription, now: float) -> None:
        """Store a webhook that the connector created, in place of the previous one of its topic.

        The errors that a broken one delivered are dropped: there is no data in them to replay.
        """
        of_topic = (parked.c.store == store, parked.c.topic == made.topic)
        errors = parked.c.reason.startswith(BrokenWebhook.PREFIX, autoescape=True)
        values = {"id": made.id, "url": made.url, "made_at": now}
        insert = self._database.insert(registered).values(store=store, topic=made.topic, **values)
        with self._database.write() as connection:
            connection.execute(insert.on_conflict_do_update(index_elements=["store", "topic"], set_=values))
            connection.execute(sa.delete(parked).where(*of_topic, errors))

    def forget(self, store: str, removed: Subscription) -> None:
        """Delete the record of a removed webhook, so that it is not created again."""
        same = (registered.c.store == store, registered.c.id == removed.id)
        with self._database.write() as connection:
            connection.execute(sa.delete(registered).where(*same))

    def broken(self, store: str, now: float) -> dict[str, str]:
        """Return by topic why a store's webhooks, made by anybody, deliver errors; of the last day."""
        found = OutboxQueries(self._database).broken_webhooks(now - DAY)
        return {topic: reason for (name, topic), reason in found.items() if name == store}

    def of(self, store: str) -> dict[str, Subscription]:
        """Return a store's webhooks by topic."""
        query = sa.select(registered).where(registered.c.store == store)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return {row.topic: Subscription(row.id, row.topic, row.url, by_us=True) for row in rows}
