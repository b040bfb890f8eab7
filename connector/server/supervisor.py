"""`connector serve`: a small parent of two children, gunicorn and the relay.

TERM and INT go to both, which finish what they have begun; HUP restarts both with the settings read again. A relay
that dies is started again; without gunicorn there is nothing to serve, so the parent ends. Children end with the
parent: they hold the read end of a pipe whose write end only the parent has.
"""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType

from connector.core import logs

log = logging.getLogger("connector.server.supervisor")

GRACE = 30.0  # seconds for requests under way; PaaSes kill after 30
LONGEST_PAUSE = 30.0  # seconds before a relay that keeps dying is started again
RELAY_NICE = 10  # more than the web's
SETTLED = 60.0  # seconds; a relay that lived this long starts afresh with the shortest pause
LIFELINE = "CONNECTOR_LIFELINE"
# glibc otherwise keeps a heap for every few threads, each as large as it ever was. Measured with 16 threads: 211 MB
# instead of 225 after 10,000 webhooks, 225 instead of 257 after 60,000.
# https://www.gnu.org/software/libc/manual/html_node/Memory-Allocation-Tunables.html
FEW_HEAPS = {"MALLOC_ARENA_MAX": "2"}


def end_with_parent() -> None:
    """End this process with TERM when the `serve` that started it is gone, however it went."""
    lifeline = os.environ.get(LIFELINE)
    if lifeline is None:
        return

    def watch() -> None:
        os.read(int(lifeline), 1)  # returns only at end of file
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="lifeline").start()


class Supervisor:
    """The parent. Command lines of its children: `ready` ends with 0 when the others can be started."""

    def __init__(self, ready: Sequence[str], web: Sequence[str], relay: Sequence[str]) -> None:
        self._ready = list(ready)
        self._commands = {"web": list(web), "relay": list(relay)}
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._lifeline, self._held = os.pipe()
        self._ending = False
        self._reload = False
        self._wake = threading.Event()
        self._restarts = 0
        self._relay_due = 0.0
        self._relay_began = 0.0

    def listen(self) -> None:
        """Take the signals, from now on."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_end)
        signal.signal(signal.SIGHUP, self._on_reload)

    def run(self) -> int:
        """Start both, when all is ready, and watch over them; the exit status."""
        if unready := self._make_ready():
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

    def _make_ready(self) -> int:
        """A child's work, for it needs most of our libraries, and the parent would carry them for ever after."""
        child = subprocess.Popen(self._ready, start_new_session=True)  # noqa: S603 — our own command
        _wait(lambda: 0 if self._ending else child.poll(), float("inf"))
        if self._ending and child.poll() is None:
            child.send_signal(signal.SIGTERM)
        return child.wait()

    def _start(self, name: str) -> None:
        if name == "relay":
            self._relay_began = time.monotonic()
        environment = FEW_HEAPS | os.environ | {LIFELINE: str(self._lifeline)}
        self._children[name] = subprocess.Popen(  # noqa: S603 — our own commands
            self._commands[name], pass_fds=(self._lifeline,), env=environment, start_new_session=True
        )
        if name == "relay":
            # A shop waits for its answer, TikTok for nothing: webhooks come first where both want the processor.
            with contextlib.suppress(OSError):  # a host may forbid it; then they are equals
                own = os.getpriority(os.PRIO_PROCESS, 0)
                os.setpriority(os.PRIO_PROCESS, self._children[name].pid, own + RELAY_NICE)

    def _watch_relay(self) -> None:
        relay = self._children["relay"]
        if self._ending or relay.poll() is None:
            return
        if not self._relay_due:
            if time.monotonic() - self._relay_began > SETTLED:
                self._restarts = 0
            pause = min(2.0**self._restarts - 1, LONGEST_PAUSE)
            log.error("the relay ended with status %s, starting it again in %.0f s", relay.returncode, pause)
            self._relay_due = time.monotonic() + pause
            self._restarts += 1
        if time.monotonic() >= self._relay_due:
            self._relay_due = 0.0
            self._start("relay")

    def _restart_both(self) -> None:
        if self._make_ready():
            log.error("the new settings cannot be used, for the reason above, so the old ones stay")
            return
        log.info("restarting with the settings read again")
        # Gunicorn keeps its socket over a HUP and replaces the workers, so no webhook is refused meanwhile.
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
                log.error("%s did not end in time and is killed; its work falls due again", name)
                child.kill()
                child.wait()
        # A child that had not come so far as to listen for TERM ends by it: in good order all the same.
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
    """Both halves of the way on this machine; the exit status. TERM ends it at any moment."""
    logs.set_up(*logs.wanted(os.environ))
    own = [sys.executable, "-m", "connector"]
    supervisor = Supervisor([*own, "ready"], [*own, "web"], [*own, "relay"])
    supervisor.listen()
    return supervisor.run()


def _wait(done: Callable[[], int | None], seconds: float) -> None:
    until = time.monotonic() + seconds
    pause = threading.Event()
    while done() is None and time.monotonic() < until:
        pause.wait(0.05)
