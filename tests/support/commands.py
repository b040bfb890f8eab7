"""Commands of the connector, each a process of its own.

They are forked from one process that has imported what they need, for to import it takes 0.8 s of CPU time each time.
"""

import multiprocessing
import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["connector.cli.main", "connector.config.settings", "connector.outbox.queries", __name__])


def run_command(*arguments: str, environment: Mapping[str, str], typed: str = "") -> CompletedProcess[str]:
    """Run `connector` with these arguments, and return what it has printed."""
    with TemporaryDirectory() as folder:
        streams = [Path(folder, name) for name in ("stdin", "stdout", "stderr")]
        streams[0].write_text(typed)
        process = FORKS.Process(target=_become, args=(arguments, dict(environment), streams))
        process.start()
        process.join(120)
        if process.is_alive():
            process.kill()
        assert process.exitcode is not None, f"connector {' '.join(arguments)} does not end"
        return CompletedProcess(arguments, process.exitcode, streams[1].read_text(), streams[2].read_text())


def _become(arguments: Sequence[str], environment: Mapping[str, str], streams: Sequence[Path]) -> None:
    """Be `python -m connector` in this process."""
    for number, stream in enumerate(streams):
        opened = os.open(stream, os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(opened, number)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 # multiprocessing has put another one there
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["connector", *arguments]
    runpy.run_module("connector", run_name="__main__")
