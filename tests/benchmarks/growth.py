"""What a million rows cost: claiming, settling and recording beside a small database of the same kind, in turns."""

import os
import statistics
import time
from collections.abc import Callable

import sqlalchemy as sa

from connector.config.settings import Config
from connector.outbox.lanes import Lane
from connector.outbox.outbox import Outbox
from connector.outbox.settlement import settled
from connector.storage.database import Database
from connector.storage.engine import connect, migrate
from tests.benchmarks.relay import decisions

SMALL, BIG = 10_000, 1_000_000
BATCH = 100  # events a claim
GROUP = 16  # webhooks a transaction, as under load
ROUNDS = 40
OPEN, DENIED = Lane("acme", "COPEN000000000000000"), Lane("acme", "CDENIED0000000000000")
NUMBERS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n WHERE i < :last) ",
    "postgresql": "WITH n(i) AS (SELECT generate_series(CAST(:first AS INTEGER), CAST(:last AS INTEGER))) ",
}


def fill(engine: sa.Engine, pixel: str, state: str, first: int, number: int) -> None:
    """So many events of a lane, and as many lines of the ledger, a second apart each."""
    now = time.time()
    settled_at = ":now - i" if state == "accepted" else "NULL"
    event = (
        "INSERT INTO events (store, pixel, event, event_id, object_key, test_code, state, due_at, attempts,"
        " occurred_at, created_at, settled_at, payload, email) "
    )
    row = (
        f"SELECT 'acme', :pixel, 'Purchase', 'acme-order-' || i, 'order:' || i, '', :state, :now - i, 0, :now - i,"
        f" :now - i, {settled_at}, :payload, :email FROM n"
    )
    line = (
        "INSERT INTO ledger (store, topic, body_sha256, object_key, order_number, delivery, outcome, reason,"
        " received_at) "
    )
    told = (
        "SELECT 'acme', :pixel, CAST('body ' || i AS {blob}), 'order:' || i, '#' || i, '', 'relayed', '',"
        " :now - i FROM n"
    ).format(blob="BLOB" if engine.dialect.name == "sqlite" else "bytea")
    numbers = NUMBERS[engine.dialect.name]
    with engine.begin() as connection:
        for start in range(first, first + number, 20_000):
            last = min(start + 20_000, first + number) - 1
            given = {"first": start, "last": last, "pixel": pixel, "state": state, "now": now}
            given |= {"payload": b"{}" * 200, "email": os.urandom(32)}
            for into, chosen in ((event, row), (line, told)):
                connection.execute(sa.text(f"{numbers}{into}{chosen}"), given)
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("ANALYZE"))


def relayed(outbox: Outbox, lane: Lane) -> float:
    """Seconds to find the lanes, claim a batch of one and settle it."""
    now = time.time()
    begun = time.perf_counter()
    outbox.lanes_due(now)
    claimed = outbox.claim(lane, BATCH, "bench", now, 60)
    done = outbox.settle("bench", now + 60, [settled(item, "accepted", now, 0, "OK", "1") for item in claimed])
    took = time.perf_counter() - begun
    if not len(claimed) == done == BATCH:
        raise SystemExit(f"{len(claimed)} events were claimed and {done} settled of {BATCH}")
    return took


def plan(engine: sa.Engine, lane: Lane) -> str:
    """The index by which the next events of a lane are found; ends everything if it is none."""
    query = (
        f"SELECT id FROM events WHERE store = '{lane.store}' AND pixel = '{lane.pixel}' AND state = 'due'"
        f" AND due_at <= {time.time()} ORDER BY due_at LIMIT {BATCH}"
    )
    with engine.connect() as connection:
        explain = "EXPLAIN QUERY PLAN " if engine.dialect.name == "sqlite" else "EXPLAIN "
        told = " ".join(str(row) for row in connection.execute(sa.text(explain + query)))
    if "events_due" not in told or "Sort" in told or "TEMP B-TREE" in told:
        raise SystemExit(f"the next events are not found by their index: {told}")
    return "events_due"


def run(config: Config, databases: dict[str, tuple[str, str]], say: Callable[[str], None]) -> None:
    """`databases` gives the URLs of two empty databases of each kind."""
    say(f"\nGrowth: {BIG:,} rows that wait, 90 % of them in another lane, and {BIG:,} finished ones; beside {SMALL:,}")
    batch = decisions(config, 2 * ROUNDS * GROUP)
    for name, urls in databases.items():
        small, big = (connect(url, timeout=600.0) for url in urls)
        for engine in (small, big):
            migrate(engine)
            Outbox(Database(engine)).add_lanes([OPEN, DENIED])
        fill(small, OPEN.pixel, "due", 1, SMALL)
        fill(big, OPEN.pixel, "due", 1, BIG // 10)
        fill(big, DENIED.pixel, "due", 1, BIG - BIG // 10)
        fill(big, "CDONE000000000000000", "accepted", 1, BIG)
        Outbox(Database(big)).suspend(DENIED, time.time() + 600, time.time(), "token", "40105")
        index = plan(big, OPEN)
        boxes = Outbox(Database(small)), Outbox(Database(big))
        times: dict[str, list[float]] = {"small": [], "open": [], "denied": [], "few": [], "many": []}
        for turn in range(ROUNDS):
            times["small"].append(relayed(boxes[0], OPEN))
            times["open"].append(relayed(boxes[1], OPEN))
            times["denied"].append(relayed(boxes[1], DENIED))
            group = batch[turn * GROUP : (turn + 1) * GROUP]
            for key, outbox in zip(("few", "many"), boxes, strict=True):
                begun = time.perf_counter()
                if sum(outbox.record_all(group)) != 2 * GROUP:
                    raise SystemExit("not every event was new")
                times[key].append(time.perf_counter() - begun)
        for engine in (small, big):
            engine.dispose()
        middle = {key: statistics.median(found) for key, found in times.items()}
        say(
            f"  {name:11} claim and settle {BATCH}: {middle['small'] * 1000:.1f} ms; "
            f"× {middle['open'] / middle['small']:.2f} beside the denied lane, "
            f"× {middle['denied'] / middle['small']:.2f} in a lane of {BIG - BIG // 10:,} (index {index}); "
            f"record {GROUP} webhooks: {middle['few'] * 1000:.1f} ms, × {middle['many'] / middle['few']:.2f}"
        )
