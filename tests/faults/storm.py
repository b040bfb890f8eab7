"""The crash harness: everything is hurt at random, from a seed; then what arrived is held against what was answered.

    python -m tests.faults.storm [--kills N | --seconds S] [--seed N] [--database sqlite|postgresql|both]

Exits 1 when an event answered 200 has not arrived, when one arrived under an id that nobody asked for, when one
arrived more often than it was sent with cause, or when the table tells another story than the sandbox.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from connector.outbox.queries import EventFilter, OutboxQueries
from connector.storage.database import Database
from connector.storage.engine import connect
from tests.faults.machinery import LOCK_HELD, Machinery, until
from tests.faults.shoppers import Key, Shoppers

DRAINED_WITHIN = 60.0
KILLS = {"worker": 30, "relay": 30, "other relay": 20, "gunicorn": 6, "parent": 6}
FAULTS = (
    {"kind": "rate_limit", "times": 3},
    {"kind": "server_error", "times": 2, "after": False},
    {"kind": "server_error", "times": 1, "after": True},
    {"kind": "html", "times": 2, "after": True},
    {"kind": "truncated", "times": 2, "after": True},
    {"kind": "missing_code", "times": 1, "after": False},
    {"kind": "drop", "times": 2, "after": False},
    {"kind": "drop", "times": 2, "after": True},
    {"kind": "hang", "times": 2, "seconds": 2.0, "after": False},
    {"kind": "hang", "times": 2, "seconds": 2.0, "after": True},
    {"kind": "redirect", "times": 1},
    {"kind": "code", "times": 2, "code": 50002, "message": "Internal service timed out.", "after": True},
    {"kind": "no_permission", "times": 2},
    {"kind": "revoke"},
    {"kind": "poison"},
)


@dataclass
class Report:
    """What happened and what was found."""

    database: str
    seed: int
    seconds: float = 0.0
    done: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    stored: int = 0
    accepted: int = 0
    duplicates: int = 0
    lost: set[Key] = field(default_factory=set)
    foreign: set[Key] = field(default_factory=set)
    unexplained: set[Key] = field(default_factory=set)
    disagreeing: dict[Key, str] = field(default_factory=dict)

    @property
    def kills(self) -> int:
        return sum(number for what, number in self.done.items() if what.startswith(("KILL", "TERM")))

    @property
    def good(self) -> bool:
        return not (self.lost or self.foreign or self.unexplained or self.disagreeing)

    def __str__(self) -> str:
        said = ", ".join(f"{what} {number}" for what, number in sorted(self.done.items()))
        answers = ", ".join(f"{number} × {status}" for status, number in sorted(self.statuses.items()))
        wrong = [*self.lost, *self.foreign, *self.unexplained, *self.disagreeing.items()][:5]
        return (
            f"{self.database}, seed {self.seed}: {self.kills} kills in {self.seconds:.0f} s\n"
            f"  done: {said}\n"
            f"  webhooks: {answers}\n"
            f"  events answered 200: {self.stored}, accepted by the sandbox: {self.accepted}, "
            f"copies it dropped: {self.duplicates}\n"
            f"  {len(self.lost)} lost, {len(self.foreign)} foreign ids, {len(self.unexplained)} copies without cause, "
            f"{len(self.disagreeing)} told differently by the table" + (f"\n  such as {wrong}" if wrong else "")
        )


class Storm:
    """One run on one database."""

    def __init__(self, machinery: Machinery, seed: int, say: Callable[[str], None] = lambda _: None) -> None:
        self._machinery = machinery
        self._rng = random.Random(seed)
        self._say = say
        self._calm = threading.Event()  # never set: waiting for it is a pause
        self.report = Report(machinery.kind, seed)
        self.shoppers = Shoppers(machinery, seed)

    def run(self, kills: int = 0, seconds: float = 0.0) -> Report:
        """Rage for so many kills, or so many seconds; then let everything drain and compare."""
        begun = told = time.monotonic()
        self.shoppers.start()
        try:
            while (self.report.kills < kills) if kills else (time.monotonic() - begun < seconds):
                self._calm.wait(self._rng.uniform(0.1, 0.8))
                self._act()
                self._machinery.keep_up()
                if time.monotonic() - told > 15:
                    told = time.monotonic()
                    self._say(f"  {told - begun:4.0f} s  {self.report.kills} kills, {dict(self.shoppers.statuses)}")
        finally:
            self.shoppers.join()
        self._drain()
        self._compare()
        self.report.seconds = time.monotonic() - begun
        return self.report

    def _act(self) -> None:
        dice = self._rng.random()
        if dice < 0.68:
            self._kill()
        elif dice < 0.95:
            self._set_fault(dict(self._rng.choice(FAULTS)))
        elif self._machinery.server and dice < 0.98:
            mode = self._rng.choice(("fast", "immediate"))
            self._machinery.server.restart(mode)
            self.report.done[f"database restarted, {mode}"] += 1
        else:
            with self._machinery.away():
                self._calm.wait(LOCK_HELD)
            self.report.done["database away"] += 1

    def _kill(self) -> None:
        name = self._rng.choices(list(KILLS), list(KILLS.values()))[0]
        number = self._rng.choices((signal.SIGKILL, signal.SIGTERM), (3, 1))[0]
        pid = self._machinery.victim(name)
        if pid is None:
            return
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        self.report.done[f"{number.name.removeprefix('SIG')} {name}"] += 1
        if name in ("parent", "gunicorn") and self._machinery.parent:
            self._machinery.parent.wait(120)

    def _set_fault(self, fault: dict[str, object]) -> None:
        self.report.done[f"fault {fault['kind']}"] += 1
        if fault["kind"] == "poison":
            with self.shoppers.lock:
                self.shoppers.poison_next += 1
        elif fault["kind"] == "revoke":
            store = self._rng.choice(list(self._machinery.config.stores.values()))
            self._machinery.fault(kind="revoke", token=store.pixels[0].access_token)
            self._calm.wait(self._rng.uniform(0.5, 2.0))
            self._machinery.heal()
        else:
            self._machinery.fault(**fault)

    def _drain(self) -> None:
        """No more faults: everything that was answered 200 must find its way."""
        self._machinery.heal()
        until(
            lambda: (self._machinery.keep_up(), self._machinery.ready())[1], "the server is ready again", DRAINED_WITHIN
        )
        engine = connect(self._machinery.database_url, timeout=10)
        queries = OutboxQueries(Database(engine))
        until(lambda: not queries.waiting(), "nothing is due any more", DRAINED_WITHIN)
        engine.dispose()

    def _compare(self) -> None:
        report, shoppers = self.report, self.shoppers
        received: Counter[Key] = Counter()
        for receipt in self._machinery.received():
            received[receipt["event_source_id"], receipt["item"]["event"], receipt["item"]["event_id"]] += 1
        engine = connect(self._machinery.database_url, timeout=10)
        rows = {
            (row.pixel, row.event, row.event_id): row
            for row in OutboxQueries(Database(engine)).find(EventFilter(), 10_000_000)
        }
        engine.dispose()
        report.statuses = shoppers.statuses
        report.stored, report.accepted = len(shoppers.stored), len(received)
        report.duplicates = received.total() - len(received)
        refused = {key for key in shoppers.asked if key[2] in shoppers.poisoned}
        report.lost = shoppers.stored - received.keys() - refused
        report.foreign = received.keys() - shoppers.asked
        # Each claim sends an event once at most, so a copy has a cause: a claim that did not end with a sure answer.
        report.unexplained = {key for key, times in received.items() if key in rows and times > rows[key].attempts}
        for key in shoppers.stored | rows.keys() | received.keys():
            state = rows[key].state if key in rows else "missing"
            agreed = state == "accepted" and key in received
            if not agreed and not (state == "rejected" and key in refused):
                report.disagreeing[key] = f"{state}, received {received[key]} times"


def storm(kind: str, seed: int, kills: int, seconds: float, say: Callable[[str], None]) -> Report:
    """Start everything in a folder of its own, run one storm and end everything."""
    with tempfile.TemporaryDirectory(prefix="storm-") as folder:
        machinery, good = Machinery(Path(folder), kind), False
        try:
            machinery.start()
            report = Storm(machinery, seed, say).run(kills, seconds)
            good = report.good
        finally:
            machinery.close()
            if not good:
                _keep_log(Path(folder), say)
    return report


def _keep_log(folder: Path, say: Callable[[str], None]) -> None:
    kept = Path(tempfile.mkdtemp(prefix="storm-log-")) / "processes.log"
    kept.write_bytes((folder / "processes.log").read_bytes())
    say(f"  the processes' log is kept: {kept}")


def main() -> int:
    """The command; prints the seed first, so that a run that was interrupted can be repeated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=0, help="on each database; default 50")
    parser.add_argument("--seconds", type=float, default=0.0, help="instead of kills")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both")
    words = parser.parse_args()
    kills = words.kills or (0 if words.seconds else 50)
    good = True
    for kind in ("sqlite", "postgresql") if words.database == "both" else (words.database,):
        print(f"{kind}: seed {words.seed}, {f'{kills} kills' if kills else f'{words.seconds} s'}", flush=True)
        report = storm(kind, words.seed, kills, words.seconds, lambda line: print(line, flush=True))
        print(report, flush=True)
        good = good and report.good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
