"""One writer at a time among processes and threads."""

import signal
import subprocess
import sys

import pytest

from connector.storage.write_lock import WaitTimeout, exclusive_writer

LONG = 30.0

HOLDER = """
import sys
from connector.storage.write_lock import exclusive_writer
with exclusive_writer(sys.argv[1], 30):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.processes
def test_a_turn_excludes_other_processes_and_ends_with_its_holder(tmp_path):
    """Also when the holder is killed."""
    path = str(tmp_path / "queue")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(WaitTimeout), exclusive_writer(path, 0.02):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait(LONG)
    with exclusive_writer(path, LONG):
        pass


def test_a_turn_excludes_other_threads(tmp_path):
    """Each turn opens the file anew, so threads of one process queue like processes."""
    path = str(tmp_path / "queue")
    with exclusive_writer(path, LONG), pytest.raises(WaitTimeout), exclusive_writer(path, 0.02):
        pass
