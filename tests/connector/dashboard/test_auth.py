"""The entrance: who is let in, who has to wait, and whose session holds."""

import itertools
import tracemalloc

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import URLSafeSerializer

from connector.dashboard.auth import (
    ATTEMPT_WINDOW,
    MAX_CALLERS,
    MAX_OVERALL,
    MAX_PER_CALLER,
    SESSION_SECONDS,
    Authenticator,
    Session,
    caller_id,
)
from tests.support.rows import each_row


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1_780_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def authenticator(clock: Clock, password: str = "correct horse") -> Authenticator:
    return Authenticator(password, clock, clock)


def test_the_password_and_nothing_else(clock: Clock) -> None:
    """Neither its beginning nor another case."""
    guard = authenticator(clock)
    assert guard.verify_password("correct horse", "a") == "in"
    assert {
        guard.verify_password(word, str(n)) for n, word in enumerate(["", "correct", "Correct horse", "correct horse "])
    } == {"wrong"}


def test_without_a_password_nobody_is_let_in(clock: Clock) -> None:
    """Least of all with an empty one."""
    guard = authenticator(clock, "")
    assert guard.disabled
    assert guard.verify_password("", "a") == "wrong"
    assert guard.read_session(guard.start_session()[0]) is None


def test_a_caller_with_too_many_wrong_ones_waits(clock: Clock) -> None:
    """Even with the right one: else trying would go on. Others do not wait."""
    guard = authenticator(clock)
    for _ in range(MAX_PER_CALLER):
        assert guard.verify_password("guess", "a") == "wrong"
    assert guard.verify_password("correct horse", "a") == "wait"
    assert guard.verify_password("correct horse", "b") == "in"
    clock.now += ATTEMPT_WINDOW
    assert guard.verify_password("correct horse", "a") == "in"


def test_being_let_in_forgets_the_wrong_ones(clock: Clock) -> None:
    """Whoever mistypes four times a day is no attacker."""
    guard = authenticator(clock)
    for _ in range(3):
        for _ in range(MAX_PER_CALLER - 1):
            guard.verify_password("guess", "a")
        assert guard.verify_password("correct horse", "a") == "in"


def test_many_callers_guess_no_faster(clock: Clock) -> None:
    """A botnet has as few attempts; who has been let in before is not locked out by it."""
    guard = authenticator(clock)
    assert guard.verify_password("correct horse", "admin") == "in"
    for number in range(MAX_OVERALL):
        assert guard.verify_password("guess", f"bot {number}") == "wrong"
    assert guard.verify_password("correct horse", "stranger") == "wait"
    assert guard.verify_password("correct horse", "admin") == "in"
    clock.now += ATTEMPT_WINDOW
    assert guard.verify_password("correct horse", "stranger") == "in"


def test_little_is_remembered(clock: Clock) -> None:
    """A flood of callers fills no memory."""
    guard, numbers = authenticator(clock), itertools.count()

    def memory_after_a_flood() -> int:
        for number in itertools.islice(numbers, MAX_CALLERS * 3):
            clock.now += ATTEMPT_WINDOW  # so that none has to wait
            guard.verify_password("correct horse" if number % 2 else "guess", str(number))
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        first, second = memory_after_a_flood(), memory_after_a_flood()
    finally:
        tracemalloc.stop()
    assert first > MAX_CALLERS * 100  # bytes
    assert second - first < MAX_CALLERS * 30


def test_a_session_lasts_half_a_day(clock: Clock) -> None:
    """In every process, for the key is made of the password."""
    cookie, session = authenticator(clock).start_session()
    other = authenticator(clock)
    assert other.read_session(cookie) == session
    clock.now += SESSION_SECONDS - 1
    assert other.read_session(cookie) == session
    clock.now += 1
    assert other.read_session(cookie) is None


def test_another_password_ends_all_sessions(clock: Clock) -> None:
    """Everywhere, at once."""
    cookie, _ = authenticator(clock).start_session()
    assert authenticator(clock, "another").read_session(cookie) is None


@given(st.text())
def test_no_cookie_can_be_made_up(cookie: str) -> None:
    """Junk is no session and raises nothing."""
    assert authenticator(Clock()).read_session(cookie) is None


def test_a_cookie_that_was_changed_is_none(clock: Clock) -> None:
    """Not one character of it, and none signed for something else."""
    guard = authenticator(clock)
    cookie, _ = guard.start_session()
    assert guard.read_session(cookie[:-2] + ("A" if cookie[-2] != "A" else "B") + cookie[-1]) is None
    purpose = b"connector: sessions of the dashboard"
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(b"correct horse")
    signer = URLSafeSerializer(key, salt=b"session")
    assert guard.read_session(str(signer.dumps([clock.now + 1, "t"]))) == Session(clock.now + 1, "t")
    for other in ("text", [1], ["x", "y"], [9e12, "t", 3], None):
        assert guard.read_session(str(signer.dumps(other))) is None


@each_row(
    ("forwarded", "hops", "expected"),
    [
        ("", 0, "10.0.0.1"),
        ("198.51.100.1", 0, "10.0.0.1"),  # nobody is believed
        ("", 1, "10.0.0.1"),
        ("198.51.100.1", 1, "198.51.100.1"),
        ("198.51.100.1:4711", 1, "198.51.100.1"),  # another port is nobody else
        ("made.up, 198.51.100.1", 1, "198.51.100.1"),
        ("made.up, 198.51.100.1, 10.0.0.2", 2, "198.51.100.1"),
    ],
)
def test_attempts_count_by_the_address_that_can_be_believed(forwarded: str, hops: int, expected: str) -> None:
    """Whoever invents X-Forwarded-For gets no new attempts by it."""
    assert caller_id("10.0.0.1", forwarded, hops) == expected


def test_another_address_of_the_same_ipv6_line_gives_no_new_attempts(clock: Clock) -> None:
    """A client has 2^64 of them; the line next door has attempts of its own."""
    guard = authenticator(clock)
    for number in range(MAX_PER_CALLER):
        assert guard.verify_password("wrong", caller_id(f"2001:db8:0:7::{number:x}", "", 0)) == "wrong"
    assert guard.verify_password("correct horse", caller_id("2001:db8:0:7:1234:5678:9abc:def0", "", 0)) == "wait"
    assert guard.verify_password("correct horse", caller_id("2001:db8:0:8::1", "", 0)) == "in"
