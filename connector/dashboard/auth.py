"""Authentication for the administrator: password, attempt limits, session cookies.

A session is a cookie signed with a key derived from ADMIN_PASSWORD, so a new password ends all sessions in every
process. Wrong attempts are counted in each process's memory: per caller, and over all callers, so that many callers
guess no faster than a few. A caller who has logged in before is limited only by their own attempts.
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
SESSION_SECONDS = 12 * 3600.0
ATTEMPT_WINDOW = 300.0  # seconds over which wrong attempts are counted
MAX_PER_CALLER = 5  # wrong attempts of one caller in a window
MAX_OVERALL = 50  # wrong attempts of all callers in a window
MAX_CALLERS = 1000  # callers kept in memory


@dataclass(frozen=True, slots=True)
class Session:
    """A logged-in session: its end in Unix seconds, and the CSRF token that its forms must contain."""

    until: float
    token: str


class Authenticator:
    """Verifies the password and signs cookies. `clock` returns Unix seconds, `elapsed` seconds that never jump.

    `disabled` is true if there is no password; nobody can log in then.
    """

    def __init__(
        self,
        password: str,
        clock: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self.disabled = not password
        self._password_digest = _digest(password)
        self._clock = clock
        self._all = _AttemptCounter(MAX_OVERALL, elapsed)
        self._each = _AttemptCounter(MAX_PER_CALLER, elapsed)
        self._known: OrderedDict[str, None] = OrderedDict()  # callers who have logged in
        self._lock = Lock()
        key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"connector: sessions of the dashboard")
        derived = key.derive(password.encode(errors="surrogateescape") or b"-")
        self._signer = URLSafeSerializer(derived, salt=b"session")
        self._note_signer = URLSafeSerializer(derived, salt=b"note")

    def verify_password(self, password: str, caller: str) -> LoginResult:
        """Compare a password: "in", "wrong", or "wait" after too many wrong attempts, without comparing."""
        with self._lock:
            if self._each.reached(caller) or (caller not in self._known and self._all.reached("")):
                return "wait"
            if not self.disabled and hmac.compare_digest(_digest(password), self._password_digest):
                self._each.reset(caller)
                self._known[caller] = None
                if len(self._known) > MAX_CALLERS:
                    self._known.popitem(last=False)
                return "in"
            self._each.add(caller)
            self._all.add("")
            return "wrong"

    def start_session(self) -> tuple[str, Session]:
        """Return the cookie of a new session, and the session."""
        session = Session(self._clock() + SESSION_SECONDS, secrets.token_urlsafe(18))
        return self._signer.dumps([session.until, session.token]), session

    def read_session(self, cookie: str) -> Session | None:
        """Return the session of a cookie, or None if the cookie is forged or expired."""
        try:
            until, token = self._signer.loads(cookie)
            session = Session(float(until), str(token))
        except (BadData, ValueError, TypeError):
            return None
        return session if not self.disabled and self._clock() < session.until else None

    def sign_note(self, sentence: str) -> str:
        """Return a sentence signed, so that a browser can carry it to the next page but not change it."""
        return str(self._note_signer.dumps(sentence))

    def read_note(self, signed: str) -> str:
        """Return the sentence of a signed note, or "" if the signature is wrong."""
        try:
            return str(self._note_signer.loads(signed))
        except BadData:
            return ""


def caller_id(peer: str, forwarded: str, trusted_proxies: int) -> str:
    """Return the key under which attempts are counted: the client's address, an IPv6 network as one."""
    return rate_limit_key(client_address(peer, forwarded, trusted_proxies)[:64] or peer)


class _AttemptCounter:
    """Counts attempts per key in a window of ATTEMPT_WINDOW seconds that begins with the first of them."""

    def __init__(self, most: int, elapsed: Callable[[], float]) -> None:
        self._most = most
        self._elapsed = elapsed
        self._since: OrderedDict[str, tuple[float, int]] = OrderedDict()  # key → start of its window, attempts

    def reached(self, key: str) -> bool:
        return self._window(key)[1] >= self._most

    def add(self, key: str) -> None:
        start, attempts = self._window(key)
        self._since[key] = (start, attempts + 1)
        if len(self._since) > MAX_CALLERS:
            self._since.popitem(last=False)

    def reset(self, key: str) -> None:
        self._since.pop(key, None)

    def _window(self, key: str) -> tuple[float, int]:
        now = self._elapsed()
        start, attempts = self._since.get(key, (now, 0))
        return (start, attempts) if now - start < ATTEMPT_WINDOW else (now, 0)


def _digest(password: str) -> bytes:
    """Return a hash of fixed length, so that the comparison's duration says nothing about the password."""
    return hashlib.sha256(password.encode(errors="surrogateescape")).digest()
