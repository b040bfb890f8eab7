"""`connector serve`: a small supervisor of two child processes, gunicorn and the relay.

TERM and INT are forwarded to both, which finish the work in progress; HUP restarts both with reloaded settings. A relay
that dies is restarted with back-off; if gunicorn dies, the supervisor exits with 1. The children end with the
supervisor, because they watch a pipe whose write end only the supervisor holds.

Children are forked, so that what all of them import is loaded once and shared: the five processes start in half the
processor time, and with a tenth less memory, than as programs of their own.
"""

import contextlib
import errno
import gc
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType

from connector.core import logs

log = logging.getLogger(__name__)

GRACE = 30.0  # seconds for work in progress; a PaaS kills after 30
MAX_BACKOFF = 30.0  # seconds before a relay that keeps dying is restarted
RELAY_NICE = 10  # added to the niceness of the web process
STABLE_AFTER = 60.0  # seconds after which a running relay resets the back-off
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

Command = Callable[[Sequence[str]], object]


class Supervisor:
    """Starts, watches and ends the child processes `connector web` and `connector relay`.

    `run_command` runs a command of the connector, given as its arguments, in the process that calls it. The command
    `ready` checks and prepares the database; it exits with 0 if the others can be started. At the start it also gets
    the option `--port-free`: a second server started by mistake must end before its relay sends anything.
    """

    def __init__(self, run_command: Command) -> None:
        self._run_command = run_command
        self._children: dict[str, BaseProcess] = {}
        self._pipe_read, self._pipe_write = os.pipe()
        self._ending = False
        self._reload = False
        self._wake = threading.Event()
        self._restarts = 0
        self._relay_due = 0.0
        self._relay_started = 0.0

    def listen(self) -> None:
        """Install the signal handlers."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_end)
        signal.signal(signal.SIGHUP, self._on_reload)

    def run(self) -> int:
        """Start both children and watch them until a signal or a failure; return the exit status."""
        if unready := self._run_ready("--port-free"):
            return 0 if self._ending else unready
        for name in ("web", "relay"):
            if not self._ending:
                self._start(name)
        while not self._ending:
            self._wake.wait(0.5)
            self._wake.clear()
            if self._reload:
                self._reload = False
                self._restart_both()
            self._watch_relay()
            if (status := self._children["web"].exitcode) is not None and not self._ending:
                log.error("gunicorn ended with status %s", status)
                self._end_all()
                return 1
        return self._end_all()

    def _run_ready(self, *options: str) -> int:
        """Run `ready` and return its exit status; a child process, so that what it reads does not stay in memory."""
        child = self._fork("ready", *options)
        _wait(lambda: self._ending or child.exitcode is not None, float("inf"))
        if child.exitcode is None:
            child.terminate()
        child.join()
        return int(child.exitcode or 0)

    def _start(self, name: str) -> None:
        if name == "relay":
            self._relay_started, self._relay_due = time.monotonic(), 0.0
        self._children[name] = child = self._fork(name)
        if name == "relay":
            # Shops wait for an answer, nobody waits for the relay: webhooks get the processor first.
            with contextlib.suppress(OSError):  # forbidden by the host; both have the same priority then
                os.setpriority(os.PRIO_PROCESS, child.pid or 0, os.getpriority(os.PRIO_PROCESS, 0) + RELAY_NICE)

    def _fork(self, *arguments: str) -> BaseProcess:
        # Ends with an error of the supervisor, too: a daemon process gets TERM then.
        child = multiprocessing.get_context("fork").Process(target=self._run_child, args=(arguments,), daemon=True)
        # A signal in between would meet the supervisor's own handler in the child, and be lost.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            child.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return child

    def _run_child(self, arguments: Sequence[str]) -> None:
        os.close(self._pipe_write)
        os.setsid()
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        with contextlib.suppress(OSError):  # the name in `top` and `ps -e`, which Linux alone lets us set
            Path("/proc/self/comm").write_text(f"connector-{arguments[0]}")
        sys.argv[1:] = arguments
        _end_with(self._pipe_read)
        self._run_command(arguments)

    def _watch_relay(self) -> None:
        relay = self._children["relay"]
        if self._ending or relay.exitcode is None:
            return
        if not self._relay_due:
            if time.monotonic() - self._relay_started > STABLE_AFTER:
                self._restarts = 0
            backoff = min(2.0**self._restarts - 1, MAX_BACKOFF)
            log.error("the relay ended with status %s; restarting it in %.0f s", relay.exitcode, backoff)
            self._relay_due = time.monotonic() + backoff
            self._restarts += 1
        if time.monotonic() >= self._relay_due:
            self._start("relay")

    def _restart_both(self) -> None:
        if self._run_ready():
            log.error("the new settings are invalid (see above); the old ones stay in use")
            return
        log.info("restarting with reloaded settings")
        # On HUP gunicorn keeps its socket and replaces the workers, so no webhook is refused.
        _signal(self._children["web"], signal.SIGHUP)
        self._children["relay"].terminate()
        _wait(lambda: self._ending or self._children["relay"].exitcode is not None, GRACE)
        self._restarts = 0
        if self._children["relay"].exitcode is not None:
            self._start("relay")

    def _end_all(self) -> int:
        children = self._children.values()
        for child in children:
            child.terminate()
        _wait(lambda: all(child.exitcode is not None for child in children), GRACE - 2)
        for name, child in self._children.items():
            if child.exitcode is None:
                log.error("%s did not end in time and is killed; its unfinished work will be retried", name)
                child.kill()
                child.join()
        # A child that had not installed its handler yet is ended by TERM itself, which is fine, too.
        return 0 if all(child.exitcode in (0, -signal.SIGTERM) for child in children) else 1

    def _on_end(self, _number: int, _frame: FrameType | None) -> None:
        self._ending = True
        self._wake.set()

    def _on_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._reload = True
        self._wake.set()


def serve(run_command: Command) -> int:
    """Run gunicorn and the relay until TERM or INT; return the exit status. See `Supervisor` for `run_command`."""
    logs.set_up(*logs.form_and_level(os.environ))
    supervisor = Supervisor(run_command)
    supervisor.listen()
    _load_shared_modules()
    return supervisor.run()


def _load_shared_modules() -> None:
    """Import what the children share; they import the rest, such as gunicorn, themselves."""
    import pydantic  # noqa: F401, PLC0415

    import connector.config.settings  # noqa: PLC0415
    import connector.server.relay_process  # noqa: F401, PLC0415

    gc.collect()
    gc.freeze()  # keeps the garbage collector from writing into the shared pages


def _end_with(descriptor: int) -> None:
    """Send TERM to this process as soon as the other end of a pipe is closed: its holder ended, even if by a kill."""

    def watch() -> None:
        os.read(descriptor, 1)  # returns only at end of file
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="parent-pipe").start()


def why_port_unusable(port: int, host: str = "0.0.0.0", remedy: str = "set PORT") -> str:  # noqa: S104
    """Return why nothing could listen on a port, and what to do, or "". Binds it for a moment.

    The default is what the web process binds (`web_process.gunicorn_settings`).
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return f"port {port} is in use: another server runs here, perhaps this one; end it or {remedy}"
            return f"port {port} cannot be used ({error.strerror}): {remedy}"
    return ""


def _signal(child: BaseProcess, number: int) -> None:
    if child.pid and child.exitcode is None:
        os.kill(child.pid, number)


def _wait(done: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not done() and time.monotonic() < deadline:
        pause.wait(0.05)
