"""Times of events that were only assumed: another webhook of the same milestone states the right one.

Webhooks arrive in any order. An update that shows an order as paid can come before the webhook that says when it was
paid. Its event waits ASSUMED_TIME_WAIT seconds, and the other webhook corrects and releases it.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import Raw
from sqlalchemy import Connection

from connector.signals.unsent import UNSENT
from connector.storage.tables import events

ASSUMED_TIME_WAIT = 60.0  # seconds; a shop sends both webhooks at once, and repeats a failed one within a minute

_PARTS = msgspec.json.Decoder(dict[str, Raw])


def state_times(connection: Connection, rows: Iterable[dict[str, Any]]) -> None:
    """Give stored events the times of `rows`, as written for new events, unless they may have been sent.

    Runs in the caller's transaction. A due event does not wait any longer than that of its row.
    """
    for row in rows:
        same = [events.c[name] == row[name] for name in ("store", "pixel", "event", "event_id")]
        query = sa.select(events.c.id, events.c.payload).where(
            *same, UNSENT, events.c.occurred_at != row["occurred_at"]
        )
        stored = connection.execute(query.with_for_update()).first()
        if stored is None:
            continue
        parts = _PARTS.decode(stored.payload) | {"event_time": Raw(b"%d" % int(row["occurred_at"]))}
        values = {
            "payload": msgspec.json.encode(parts),
            "occurred_at": row["occurred_at"],
            "due_at": sa.case(
                (sa.and_(events.c.state == "due", events.c.due_at > row["due_at"]), row["due_at"]),
                else_=events.c.due_at,
            ),
        }
        connection.execute(sa.update(events).where(events.c.id == stored.id, UNSENT).values(values))
