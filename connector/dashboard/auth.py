"""The entrance to what only the administrator may see: the password, how often it may be tried, and sessions.

A session is a cookie that nobody can forge: signed with a key made of ADMIN_PASSWORD, so that a new password ends them
all, in every process. Attempts are counted in memory, by process: per caller, and of all callers together, so that many
callers guess no faster; who has once been let in is counted alone.
"""

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Literal

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from itsdangerous import BadData, URLSafeSerializer

from connector.core.client_ip import client_address, rate_limit_key

LoginResult = Literal["in", "wrong", "wait"]
LASTS = 12 * 3600.0  # seconds of a session
WINDOW = 300.0  # seconds in which wrong attempts add up
OF_ONE = 5  # wrong attempts of one caller in a window
OF_ALL = 50
REMEMBERED = 1000  # callers


@dataclass(frozen=True, slots=True)
class Session:
    """Who is in: until when (Unix seconds), and what a form must say to prove that it is ours."""

    until: float
    token: str


class Authenticator:
    """Lets in whoever knows the password. `clock` gives Unix seconds, `elapsed` seconds that never jump."""

    def __init__(
        self,
        password: str,
        clock: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self.closed = not password
        self._secret = _digest(password)
        self._clock = clock
        self._all = _Attempts(OF_ALL, elapsed)
        self._each = _Attempts(OF_ONE, elapsed)
        self._known: OrderedDict[str, None] = OrderedDict()
        self._lock = Lock()
        key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"connector: sessions of the dashboard")
        derived = key.derive(password.encode(errors="surrogateescape") or b"-")
        self._signer = URLSafeSerializer(derived, salt=b"session")
        self._notes = URLSafeSerializer(derived, salt=b"note")

    def ask(self, password: str, caller: str) -> LoginResult:
        """Whether this is the password. "wait": not even looked at, for there were too many wrong ones."""
        with self._lock:
            if self._each.over(caller) or (caller not in self._known and self._all.over("")):
                return "wait"
            if not self.closed and hmac.compare_digest(_digest(password), self._secret):
                self._each.forget(caller)
                self._known[caller] = None
                if len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
                return "in"
            self._each.add(caller)
            self._all.add("")
            return "wrong"

    def begin(self) -> tuple[str, Session]:
        """A new session, and its cookie."""
        session = Session(self._clock() + LASTS, secrets.token_urlsafe(18))
        return self._signer.dumps([session.until, session.token]), session

    def session(self, cookie: str) -> Session | None:
        """The session a cookie is of; None if it is none of ours, or over."""
        try:
            until, token = self._signer.loads(cookie)
            session = Session(float(until), str(token))
        except (BadData, ValueError, TypeError):
            return None
        return session if not self.closed and self._clock() < session.until else None

    def seal(self, sentence: str) -> str:
        """A sentence that a browser may carry from one page to the next without being able to change it."""
        return str(self._notes.dumps(sentence))

    def unseal(self, sealed: str) -> str:
        """The sentence; "" if it is none of ours."""
        try:
            return str(self._notes.loads(sealed))
        except BadData:
            return ""


def caller(peer: str, forwarded: str, hops: int) -> str:
    """Whose attempts count together: a household, in private networks too; see `proxies`."""
    return rate_limit_key(client_address(peer, forwarded, hops)[:64] or peer)


class _Attempts:
    """How many there were of each since its first one, for as long as a window lasts."""

    def __init__(self, most: int, elapsed: Callable[[], float]) -> None:
        self._most = most
        self._elapsed = elapsed
        self._since: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def over(self, name: str) -> bool:
        return self._fresh(name)[1] >= self._most

    def add(self, name: str) -> None:
        begun, number = self._fresh(name)
        self._since[name] = (begun, number + 1)
        if len(self._since) > REMEMBERED:
            self._since.popitem(last=False)

    def forget(self, name: str) -> None:
        self._since.pop(name, None)

    def _fresh(self, name: str) -> tuple[float, int]:
        now = self._elapsed()
        begun, number = self._since.get(name, (now, 0))
        return (begun, number) if now - begun < WINDOW else (now, 0)


def _digest(password: str) -> bytes:
    """All of one length, so that comparing tells nothing of it."""
    return hashlib.sha256(password.encode(errors="surrogateescape")).digest()
