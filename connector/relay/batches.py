"""Splits leased events into batches, one request each."""

from collections.abc import Iterator

from connector.outbox.settlement import LeasedEvent

BATCH = 100  # events per request; TikTok accepts 1,000 and recommends fewer
BATCH_BYTES = 512 * 1024  # of the payloads
BACKLOG_BATCH = 1000  # events per request while a lane has a backlog: TikTok's maximum
BACKLOG_BYTES = 2 * 1024 * 1024


def split_into_batches(claimed: list[LeasedEvent], backlog: bool) -> Iterator[list[LeasedEvent]]:
    """Yield batches of one test code each, limited in events and bytes; larger ones for a backlog."""
    most, most_bytes = (BACKLOG_BATCH, BACKLOG_BYTES) if backlog else (BATCH, BATCH_BYTES)
    for code in dict.fromkeys(item.test_code for item in claimed):
        batch: list[LeasedEvent] = []
        size = 0
        for item in (item for item in claimed if item.test_code == code):
            if batch and (len(batch) == most or size + len(item.payload) > most_bytes):
                yield batch
                batch, size = [], 0
            batch.append(item)
            size += len(item.payload) + 1
        if batch:
            yield batch
