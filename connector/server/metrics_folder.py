"""The folder in which the web's processes count their requests together, in memory where possible.

A kill -9 cannot remove it, so the next web process to start on the machine does. A folder is in use as long as some
process holds its lock: the kernel keeps the lock for gunicorn's master and every worker forked from it, and lets go of
it when the last of them is gone, however it went. So a folder whose lock can be taken belongs to nobody, and one that
belongs to another connector is never removed, whichever user or container that runs in.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "connector-request-metrics-"
SHARED_MEMORY = "/dev/shm"  # noqa: S108


def default_location() -> Path:
    """Shared memory where it can be written to, or the folder for temporary files."""
    return Path(SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else tempfile.gettempdir())


def create_metrics_folder(location: Path) -> Path:
    """A new, empty folder; its name has the process id, its lock is held until this process and its forks are gone."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=location))
        with contextlib.suppress(FileNotFoundError):  # removed as abandoned before it was locked
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # never closed: the lock lasts as long as the descriptor
            if path.exists():
                return path
            os.close(descriptor)


def remove_abandoned_folders(location: Path) -> None:
    """Remove the folders whose processes are all gone. One that cannot be opened or removed is left alone."""
    for path in location.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)  # under the lock, so that whoever has just made it sees that it is gone
            finally:
                os.close(descriptor)
