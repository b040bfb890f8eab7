"""Intake while a relay, with less claim on the processor, drains a backlog on the same machine; beside intake alone."""

import shutil
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from connector.config.settings import Config
from connector.outbox.ledger import Decision
from connector.outbox.outbox import Outbox
from connector.storage.database import Database
from connector.storage.engine import connect, migrate
from tests.benchmarks import intake
from tests.benchmarks.relay import SANDBOX, URL, accepted, answers, decisions, empty, running, wait_for

BACKLOG = 100_000
TEMPLATES = 500
ROUNDS = 3


def backlog(config: Config, number: int, turn: int) -> list[Decision]:
    """So many events of few shoppers, with ids of their own, which are in the payload too."""
    made: list[Decision] = []
    templates = [(found, mapped) for found in decisions(config, TEMPLATES) for mapped in found.events]
    for place in range(number):
        found, mapped = templates[place % len(templates)]
        ours = f"backlog-{turn}-{place}"
        payload = mapped.payload.replace(mapped.event_id.encode(), ours.encode())
        event = msgspec.structs.replace(mapped, event_id=ours, payload=payload)
        made.append(msgspec.structs.replace(found, body_sha256=f"{turn} {place}".encode(), events=(event,)))
    return made


def processor(pid: int) -> float:
    """Seconds a process has had so far."""
    spent = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return sum(map(int, spent)) / 100


def run(
    config: Config, environment: dict[str, str], databases: dict[str, str], folder: Path, say: Callable[[str], None]
) -> None:
    """Print both rates, their ratio, and what the others on this machine took from both."""
    if not shutil.which("wrk"):
        say("\nBeside: left out, for there is no wrk (apt-get install wrk)")
        return
    say(f"\nBeside: intake while a relay (nice 10) drains {BACKLOG:,} events on the same machine, and alone, in turns")
    script = folder / "load.lua"
    script.write_text(intake.SCRIPT)
    settings = intake.environment_of(environment, intake.PORT) | {"EVENTS_API_URL": f"{URL}/open_api/v1.3"}
    web, niced = [sys.executable, "-m", "connector", "web"], ["nice", "-n", "10"]
    for name, url in databases.items():
        engine = connect(url, timeout=600.0)
        migrate(engine)
        alone, together, drained, sandbox = [], [], [], []
        for turn in range(ROUNDS):
            empty(engine)
            requests = folder / "beside.bin"
            intake.prepare(requests, environment, 100 + turn)
            with intake.server(web, settings | {"DATABASE_URL": url}):
                alone.append(intake.load_it(script, requests, settings["PORT"])[0])
            empty(engine)
            outbox, waiting = Outbox(Database(engine)), backlog(config, BACKLOG, turn)
            for start in range(0, BACKLOG, 500):
                outbox.record_all(waiting[start : start + 500])
            intake.prepare(requests, environment, 200 + turn)
            here = settings | {"DATABASE_URL": url}
            with running("sandbox", here, "--port", str(SANDBOX)) as taking, intake.server(web, here):
                wait_for(answers, 20, "the sandbox")
                with running("relay", here, before=niced):
                    wait_for(lambda: accepted() > 0, 20, "the relay")
                    taken, spent = accepted(), processor(taking.pid)
                    together.append(intake.load_it(script, requests, settings["PORT"])[0])
                    drained.append((accepted() - taken) / intake.SECONDS)
                    sandbox.append((processor(taking.pid) - spent) / intake.SECONDS)
                    left = BACKLOG - accepted()
            if left <= 0:
                raise SystemExit("the backlog was drained before the load ended: that was no test")
        engine.dispose()
        ratio = statistics.median(both / one for both, one in zip(together, alone, strict=True))
        say(
            f"  {name:11} alone {statistics.median(alone):.0f}/s, beside {statistics.median(together):.0f}/s, "
            f"ratio {ratio:.2f}; meanwhile {statistics.median(drained):.0f} events/s accepted; "
            f"the sandbox took {statistics.median(sandbox):.0%} of a core"
        )
