"""The folder in which all web processes of one server count requests, in shared memory if possible.

A server that is killed cannot remove its folder, so the next web process to start on the machine does. The master of
gunicorn holds a lock on the folder, and the workers forked from it share that lock; the kernel releases it when the
last of them has ended, for any reason. A folder whose lock can be taken is therefore abandoned, and the folder of
another running connector is never removed, even if it belongs to another user or container.
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
    """Return shared memory if it is writable, otherwise the folder for temporary files."""
    return Path(SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else tempfile.gettempdir())


def create_metrics_folder(location: Path) -> Path:
    """Create an empty folder, named with the process id, and lock it until this process and its forks have ended."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=location))
        with contextlib.suppress(FileNotFoundError):  # removed as abandoned before it was locked
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # never closed: the lock lasts as long as the descriptor
            if path.exists():
                return path
            os.close(descriptor)


def remove_abandoned_folders(location: Path) -> None:
    """Remove the folders whose processes have all ended. Those that cannot be opened or removed are left alone."""
    for path in location.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)  # under the lock, so that a process that has just created it notices
            finally:
                os.close(descriptor)
