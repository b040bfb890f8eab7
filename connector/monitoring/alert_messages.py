"""The messages about problems: each address is sent one when a problem begins and one when it is over.

`alert_deliveries` has a row for each beginning that an address was sent; the row is deleted with the end. Times are
Unix seconds. Methods raise CannotStore.
"""

import time
from collections.abc import Callable, Collection

import sqlalchemy as sa

from connector.monitoring.alerts import CALM, duration_text
from connector.monitoring.channels import Line, Message
from connector.monitoring.recipients import Recipient
from connector.storage.database import Database
from connector.storage.tables import alert_deliveries, alerts

MAX_LINES = 20  # lines per message; the rest follows in the next one


class AlertMessages:
    """Finds what each address is to be sent. `clock` returns Unix seconds."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def next_message(self, recipient: Recipient) -> Message | None:
        """Return what the address is to be sent next, or None."""
        sent = sa.select(alert_deliveries.c.key).where(alert_deliveries.c.address == recipient.id)
        is_new = sa.and_(alerts.c.over_at.is_(None), alerts.c.noted_at.is_not(None), alerts.c.key.not_in(sent))
        is_over = sa.and_(alerts.c.over_at <= self._clock() - CALM, alerts.c.key.in_(sent))
        query = sa.select(alerts).where(sa.or_(is_new, is_over)).order_by(alerts.c.since, alerts.c.key)
        with self._database.read() as connection:
            rows = [row for row in connection.execute(query) if row.over_at is not None or recipient.takes(row.key)]
        rows = rows[:MAX_LINES]
        begun = [Line(row.key, f"Problem: {row.sentence}") for row in rows if row.over_at is None]
        ended = [
            Line(row.key, f"Over after {duration_text(row.over_at - row.since)}: {row.sentence}", is_over=True)
            for row in rows
            if row.over_at is not None
        ]
        return Message.of_lines((*begun, *ended)) if rows else None

    def mark_delivered(self, recipient: Recipient, message: Message) -> None:
        """Note what the address was sent. A problem that has come back meanwhile is reported as a new one."""
        now = self._clock()
        begun = [line.key for line in message.lines if not line.is_over]
        ended = [line.key for line in message.lines if line.is_over]
        of_address = alert_deliveries.c.address == recipient.id
        with self._database.write() as connection:
            connection.execute(sa.delete(alert_deliveries).where(of_address, alert_deliveries.c.key.in_(ended)))
            known = connection.execute(sa.select(alerts.c.key).where(alerts.c.key.in_(begun))).scalars().all()
            if known:
                rows = [{"address": recipient.id, "key": key, "sent_at": now} for key in known]
                connection.execute(self._database.insert(alert_deliveries).on_conflict_do_nothing(), rows)
                unsent = (alerts.c.key.in_(known), alerts.c.told_at.is_(None))
                connection.execute(sa.update(alerts).where(*unsent).values(told_at=now))

    def forget_others(self, recipients: Collection[Recipient]) -> None:
        """Delete what addresses were sent that are no longer set; the first takes over what 0.1 has sent."""
        ids = [recipient.id for recipient in recipients]
        unnamed = alert_deliveries.c.address == ""
        with self._database.read() as connection:
            found = set(connection.execute(sa.select(alert_deliveries.c.address).distinct()).scalars())
        if found <= set(ids):
            return
        with self._database.write() as connection:
            if ids and "" in found:
                known = sa.select(alert_deliveries.c.key).where(alert_deliveries.c.address == ids[0])
                taken = sa.update(alert_deliveries).where(unnamed, alert_deliveries.c.key.not_in(known))
                connection.execute(taken.values(address=ids[0]))
            connection.execute(sa.delete(alert_deliveries).where(alert_deliveries.c.address.not_in(ids)))
