"""The tests' own PostgreSQL: it ends with the process it was started for, however that ends."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.faults.machinery import until
from tests.support.postgresql import ROOT

CODE = """
import time
from tests.support.postgresql import PostgreSQL
print(PostgreSQL.create(durable=False).folder, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_owner_leaves_no_server_behind(number: signal.Signals) -> None:
    """Neither its processes nor its data."""
    with subprocess.Popen([sys.executable, "-c", CODE], cwd=ROOT, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        folder = Path(owner.stdout.readline().strip())
        postmaster = psutil.Process(int((folder / "data/postmaster.pid").read_text().split("\n")[0]))
        owner.send_signal(number)
    until(lambda: not postmaster.is_running(), "the server has ended")
    until(lambda: not folder.exists(), "its data is gone")
