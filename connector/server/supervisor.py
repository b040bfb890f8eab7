"""`connector serve`: a small supervisor of two child processes, gunicorn and the relay.

TERM and INT are forwarded to both, which finish the work in progress; HUP restarts both with reloaded settings. A relay
that dies is restarted with back-off; if gunicorn dies, the supervisor exits with 1. The children end with the
supervisor, because they watch a pipe whose write end only the supervisor holds.
"""

import contextlib
import errno
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType

from connector.core import logs

log = logging.getLogger(__name__)

GRACE = 30.0  # seconds for work in progress; a PaaS kills after 30
MAX_BACKOFF = 30.0  # seconds before a relay that keeps dying is restarted
RELAY_NICE = 10  # added to the niceness of the web process
STABLE_AFTER = 60.0  # seconds after which a running relay resets the back-off
PARENT_PIPE = "CONNECTOR_LIFELINE"  # environment variable: the pipe's file descriptor


def end_with_parent() -> None:
    """Send TERM to this process as soon as the `serve` process that started it has ended, even if it was killed."""
    descriptor = os.environ.get(PARENT_PIPE)
    if descriptor is None:
        return

    def watch() -> None:
        os.read(int(descriptor), 1)  # returns only at end of file
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="parent-pipe").start()


class Supervisor:
    """Starts, watches and ends the child processes, given as command lines.

    `ready` checks and prepares the database; it exits with 0 if `web` and `relay` can be started. At the start it also
    gets the option `--port-free`: a second server started by mistake must end before its relay sends anything.
    """

    def __init__(self, ready: Sequence[str], web: Sequence[str], relay: Sequence[str]) -> None:
        self._ready = list(ready)
        self._commands = {"web": list(web), "relay": list(relay)}
        self._children: dict[str, subprocess.Popen[bytes]] = {}
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
        for name in self._commands:
            if not self._ending:
                self._start(name)
        while not self._ending:
            self._wake.wait(0.5)
            self._wake.clear()
            if self._reload:
                self._reload = False
                self._restart_both()
            self._watch_relay()
            if (status := self._children["web"].poll()) is not None and not self._ending:
                log.error("gunicorn ended with status %s", status)
                self._end_all()
                return 1
        return self._end_all()

    def _run_ready(self, *options: str) -> int:
        """Run `ready` and return its exit status; a child process, so that its libraries do not stay in memory here."""
        child = subprocess.Popen([*self._ready, *options], start_new_session=True)  # noqa: S603 (a fixed command)
        _wait(lambda: 0 if self._ending else child.poll(), float("inf"))
        if self._ending and child.poll() is None:
            child.send_signal(signal.SIGTERM)
        return child.wait()

    def _start(self, name: str) -> None:
        if name == "relay":
            self._relay_started = time.monotonic()
        environment = os.environ | {PARENT_PIPE: str(self._pipe_read)}
        self._children[name] = subprocess.Popen(  # noqa: S603 (fixed commands)
            self._commands[name], pass_fds=(self._pipe_read,), env=environment, start_new_session=True
        )
        if name == "relay":
            # Shops wait for an answer, nobody waits for the relay: webhooks get the processor first.
            with contextlib.suppress(OSError):  # forbidden by the host; both have the same priority then
                own_nice = os.getpriority(os.PRIO_PROCESS, 0)
                os.setpriority(os.PRIO_PROCESS, self._children[name].pid, own_nice + RELAY_NICE)

    def _watch_relay(self) -> None:
        relay = self._children["relay"]
        if self._ending or relay.poll() is None:
            return
        if not self._relay_due:
            if time.monotonic() - self._relay_started > STABLE_AFTER:
                self._restarts = 0
            backoff = min(2.0**self._restarts - 1, MAX_BACKOFF)
            log.error("the relay ended with status %s; restarting it in %.0f s", relay.returncode, backoff)
            self._relay_due = time.monotonic() + backoff
            self._restarts += 1
        if time.monotonic() >= self._relay_due:
            self._relay_due = 0.0
            self._start("relay")

    def _restart_both(self) -> None:
        if self._run_ready():
            log.error("the new settings are invalid (see above); the old ones stay in use")
            return
        log.info("restarting with reloaded settings")
        # On HUP gunicorn keeps its socket and replaces the workers, so no webhook is refused.
        self._children["web"].send_signal(signal.SIGHUP)
        self._children["relay"].send_signal(signal.SIGTERM)
        _wait(lambda: 0 if self._ending else self._children["relay"].poll(), GRACE)
        self._restarts = 0
        if self._children["relay"].poll() is not None:
            self._start("relay")

    def _end_all(self) -> int:
        for child in self._children.values():
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        _wait(lambda: 0 if all(child.poll() is not None for child in self._children.values()) else None, GRACE - 2)
        for name, child in self._children.items():
            if child.poll() is None:
                log.error("%s did not end in time and is killed; its unfinished work will be retried", name)
                child.kill()
                child.wait()
        # A child that had not installed its handler yet is ended by TERM itself, which is fine, too.
        return max(
            (0 if child.returncode in (0, -signal.SIGTERM) else 1 for child in self._children.values()), default=0
        )

    def _on_end(self, _number: int, _frame: FrameType | None) -> None:
        self._ending = True
        self._wake.set()

    def _on_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._reload = True
        self._wake.set()


def serve() -> int:
    """Run gunicorn and the relay until TERM or INT; return the exit status."""
    logs.set_up(*logs.form_and_level(os.environ))
    command = [sys.executable, "-m", "connector"]
    supervisor = Supervisor([*command, "ready"], [*command, "web"], [*command, "relay"])
    supervisor.listen()
    return supervisor.run()


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


def _wait(done: Callable[[], int | None], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while done() is None and time.monotonic() < deadline:
        pause.wait(0.05)
