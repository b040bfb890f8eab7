"""The folder of the request metrics: whose processes are gone is removed, and nobody else's."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from connector.server.metrics_folder import create_metrics_folder, remove_abandoned_folders

# A master that makes the folder and forks a worker; both wait. It prints the folder and the worker's process id.
CONNECTOR = """
import os, sys
from pathlib import Path
from connector.server.metrics_folder import create_metrics_folder
folder = create_metrics_folder(Path(sys.argv[1]))
worker = os.fork()
if worker:
    print(folder, worker, flush=True)
sys.stdin.read()
"""


@contextmanager
def connector(location: Path) -> Iterator[tuple[subprocess.Popen[str], Path, int]]:
    master = subprocess.Popen(
        [sys.executable, "-c", CONNECTOR, str(location)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with master:
        assert master.stdin is not None
        assert master.stdout is not None
        folder, worker = master.stdout.readline().rsplit(" ", 1)
        yield master, Path(folder), int(worker)
        master.stdin.close()  # ends both


@pytest.mark.processes
def test_a_folder_is_kept_while_its_connector_lives(tmp_path: Path) -> None:
    with connector(tmp_path) as (_, one, _), connector(tmp_path) as (_, other, _):
        (one / "counter_1.db").write_bytes(b"1")
        remove_abandoned_folders(tmp_path)
        assert {one, other} == set(tmp_path.iterdir())
        assert (one / "counter_1.db").exists()


@pytest.mark.processes
def test_a_folder_is_removed_after_the_last_of_its_processes_was_killed(tmp_path: Path) -> None:
    """While a worker outlives the master, it may still count."""
    with connector(tmp_path) as (master, killed, worker), connector(tmp_path) as (_, other, _):
        (killed / "counter_1.db").write_bytes(b"1")
        master.kill()
        master.wait()
        remove_abandoned_folders(tmp_path)
        assert killed.exists()
        os.kill(worker, signal.SIGKILL)
        assert master.stdout is not None
        assert master.stdout.read() == ""  # the end of the pipe: the worker is gone
        remove_abandoned_folders(tmp_path)
        assert list(tmp_path.iterdir()) == [other]


def test_only_folders_of_this_name_are_removed(tmp_path: Path) -> None:
    """No others' folders, and nothing a link of this name leads to."""
    (tmp_path / "connector-metrics-abc").mkdir()
    (tmp_path / "precious").mkdir()
    (tmp_path / "connector-request-metrics-1-link").symlink_to(tmp_path / "precious")
    (tmp_path / "connector-request-metrics-1-file").touch()
    before = set(tmp_path.iterdir())
    remove_abandoned_folders(tmp_path)
    assert set(tmp_path.iterdir()) == before


def test_the_name_tells_the_process(tmp_path: Path) -> None:
    assert create_metrics_folder(tmp_path).name.startswith(f"connector-request-metrics-{os.getpid()}-")
