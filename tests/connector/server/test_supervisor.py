"""The supervisor of `serve` with commands of this file in place of the connector's."""

import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from connector.server.supervisor import Supervisor

pytestmark = pytest.mark.processes


def ends_the_supervisor(arguments):
    """The web process asks the supervisor to end while everything has just begun."""
    if arguments[0] == "ready":
        sys.exit(0)
    if arguments[0] == "web":
        os.kill(os.getppid(), signal.SIGTERM)
    threading.Event().wait(600)


def refuses(arguments):
    sys.exit("the settings are wrong" if arguments[0] == "ready" else 0)


def writes_names(arguments):
    """Each process writes its name to a file. The web process ends once the relay has begun."""
    if arguments[0] == "ready":
        sys.exit(0)
    Path(f"{os.environ['NAMES']}/{arguments[0]}").write_text(Path("/proc/self/comm").read_text() + sys.argv[1])
    with open(f"{os.environ['NAMES']}/meeting", "r" if arguments[0] == "web" else "w"):
        pass  # to open a named pipe takes both
    if arguments[0] == "web":
        sys.exit(7)
    threading.Event().wait(600)


def dies_three_times(arguments):
    """The relay begins when the web process can take a reload; its fourth process asks the supervisor to end."""
    if arguments[0] == "ready":
        sys.exit(0)
    if arguments[0] == "web":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    begun = Path(f"{os.environ['NAMES']}/begun")
    if arguments[0] == "web" or not begun.exists():
        with open(f"{os.environ['NAMES']}/meeting", "r" if arguments[0] == "web" else "w"):
            pass
    if arguments[0] == "relay":
        with begun.open("a") as file:
            file.write("x")
        if begun.stat().st_size <= 3:
            sys.exit(3)
        os.kill(os.getppid(), signal.SIGTERM)
    threading.Event().wait(600)


def supervised(commands, **environment):
    """Run the supervisor as a program; return its exit status and its output."""
    ended = subprocess.run(
        [sys.executable, "-m", __name__, commands.__name__],
        check=False,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return ended.returncode, ended.stderr


def test_a_signal_that_meets_a_child_at_its_start_is_not_lost():
    """Else the child would be waited for until the time for work in progress is over, and be killed."""
    status, said = supervised(ends_the_supervisor)
    assert (status, said) == (0, "")


def test_nothing_is_started_that_is_not_ready():
    status, said = supervised(refuses)
    assert (status, said) == (1, "the settings are wrong\n")


def test_each_process_has_a_name_and_ends_with_the_web_process(tmp_path):
    os.mkfifo(tmp_path / "meeting")
    status, said = supervised(writes_names, NAMES=str(tmp_path))
    assert (status, said) == (1, "gunicorn ended with status 7\n")
    found = {name: (tmp_path / name).read_text().split("\n") for name in ("web", "relay")}
    assert found == {"web": ["connector-web", "web"], "relay": ["connector-relay", "relay"]}


def test_nothing_outlives_an_error_of_the_supervisor(tmp_path):
    os.mkfifo(tmp_path / "meeting")
    status, said = supervised(writes_names, NAMES=str(tmp_path), FAILS="1")
    assert (status, said.splitlines()[-1]) == (1, "RuntimeError: an error")


def test_a_reload_during_a_back_off_ends_it(tmp_path):
    """The relay that the reload starts is watched like any other."""
    os.mkfifo(tmp_path / "meeting")
    status, said = supervised(dies_three_times, NAMES=str(tmp_path), RELOADS="1")
    ended = "the relay ended with status 3; restarting it in"
    assert (status, said.splitlines()) == (0, [f"{ended} {seconds} s" for seconds in (0, 1, 0)])


def reload_in_back_off(record):
    if record.args == (3, 1.0):
        os.kill(os.getpid(), signal.SIGHUP)
    return True


def fail(_):
    raise RuntimeError("an error")


if __name__ == "__main__":
    if "FAILS" in os.environ:
        logging.getLogger("connector.server.supervisor").addFilter(fail)  # fails where it says that gunicorn ended
    if "RELOADS" in os.environ:
        logging.getLogger("connector.server.supervisor").addFilter(reload_in_back_off)
    supervisor = Supervisor(globals()[sys.argv[1]])
    supervisor.listen()
    sys.exit(supervisor.run())
