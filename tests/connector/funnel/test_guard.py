"""connector.funnel.guard: programs, prefetches, and how much one browser can report."""

import pytest

from connector.core.funnel_token import new_token
from connector.funnel.guard import (
    ADDRESS_BURST,
    ADDRESS_RATE,
    PROCESS_BURST,
    STORE_BURST,
    TOKEN_BURST,
    USES,
    Guard,
    is_prefetch,
    is_program,
)
from tests.support.funnel import AGENT, IP, NOW, funnel_store
from tests.support.rows import each_row

STORE = funnel_store()
PRINTED = "p.1790001800.AbCdEfGhIjKlMnOp."


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def guard(clock):
    return Guard(elapsed=lambda: clock[0])


@each_row(
    "agent",
    [
        "",
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Mozilla/5.0 (Linux; Android 6.0.1) AppleWebKit/537.36 Mobile Safari/537.36 (compatible; bingbot/2.0)",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 HeadlessChrome/130.0.0.0 Safari/537.36",
        "Mozilla/5.0 (compatible; Bytespider; spider-feedback@bytedance.com)",
        "facebookexternalhit/1.1",
        "curl/8.5.0",
        "python-requests/2.32",
        "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
        "Chrome-Lighthouse",
        "Mozilla/5.0",
    ],
)
def test_programs_name_themselves(agent):
    assert is_program(agent)


@each_row(
    "agent",
    [
        AGENT,
        "Mozilla/5.0 (Linux; Android 14; CUBOT P80) AppleWebKit/537.36 Chrome/130.0.0.0 Mobile Safari/537.36",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/130.0.0.0 Safari/537.36 Edg/130.0",
        "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/130 Mobile Safari/537.36 BytedanceWebview",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 musical_ly_36.5.0",
        "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
    ],
)
def test_shoppers_browsers_are_none(agent):
    assert not is_program(agent)


def test_a_page_that_nobody_sees_yet_is_no_view():
    assert is_prefetch({"sec-purpose": "prefetch;prerender"})
    assert is_prefetch({"x-moz": "prefetch"})
    assert not is_prefetch({"user-agent": AGENT})


@pytest.mark.slow
def test_an_address_reports_a_bounded_number_an_hour(guard, clock):
    """60 at once, then one every 2 seconds: 1,860 in an hour at most, from a whole IPv6 line together."""
    taken = 0
    for second in range(3600):
        clock[0] = float(second)
        taken += sum(guard.admit_address(f"2001:4860:4860:8888::{number + 1}", 1) for number in range(10))
    assert taken <= ADDRESS_BURST + 3600 * ADDRESS_RATE == 1860
    assert guard.admit_address(IP, 10)
    assert not guard.admit_address(IP, 51)
    assert all(guard.admit_address("", 10) for _ in range(20))  # behind a proxy that names nobody


def test_an_address_gets_a_bounded_number_of_tokens(guard):
    assert [guard.admit_token_request(IP) for _ in range(TOKEN_BURST + 1)][-1] is False


def test_a_token_is_used_up(guard):
    token = new_token(STORE, IP, NOW)
    assert guard.use_token(token, STORE, IP, USES - 1, NOW)
    assert not guard.use_token(token, STORE, IP, 2, NOW)
    assert guard.use_token(token, STORE, IP, 1, NOW)
    assert not guard.use_token(token, STORE, IP, 1, NOW)
    assert guard.use_token(new_token(STORE, IP, NOW), STORE, IP, 1, NOW)


def test_a_shops_token_belongs_to_the_first_network_that_uses_it(guard):
    store = funnel_store(webhook_secrets=("whsec-example",))
    token = f"{PRINTED}1c3ac5336b3c25e2e3670a2fe6142ff0"
    assert guard.use_token(token, store, IP, 1, NOW)
    assert guard.use_token(token, store, "93.184.216.200", 1, NOW)
    assert not guard.use_token(token, store, "8.8.4.4", 1, NOW)


def test_a_store_and_a_process_have_their_share(guard, clock):
    assert guard.admit_events(STORE, STORE_BURST)
    assert not guard.admit_events(STORE, 1)
    assert guard.admit_events(funnel_store(name="beans"), 1)
    assert sum(guard.admit() for _ in range(PROCESS_BURST * 2)) == PROCESS_BURST
    clock[0] = 60.0
    assert guard.admit_events(STORE, 1)
    assert guard.admit()
