"""Which events have not been sent yet, so that their payload may still change."""

import sqlalchemy as sa

from connector.storage.tables import events

# Only the payload of an event that is neither leased, sent nor erased may still change.
UNSENT = sa.and_(
    events.c.state.in_(("held", "due")),
    events.c.lease_owner.is_(None),
    events.c.attempts == 0,
    events.c.sent_at.is_(None),
    events.c.payload.is_not(None),
)
