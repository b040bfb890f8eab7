"""connector.core.funnel_token: which tokens and signatures of browsers and shops' servers are accepted."""

from hypothesis import given
from hypothesis import strategies as st

from connector.core.funnel_token import (
    LIFETIME,
    LONGEST_LIFETIME,
    address_prefix,
    check_token,
    funnel_key,
    is_signed,
    new_token,
)
from tests.support.factories import a_store
from tests.support.rows import each_row

NOW = 1_790_000_000.0
STORE = a_store(webhook_secrets=("whsec-example",))
# Made by another implementation (hmac and sha256 of a shell), so that a plugin in another language makes the same.
PRINTED = "p.1790001800.AbCdEfGhIjKlMnOp.1c3ac5336b3c25e2e3670a2fe6142ff0"
BOUND = {
    "203.0.113.7": "a.1790001800.AbCdEfGhIjKlMnOp.7c48b504a968cbf8377a866319d7ee33",
    "2001:db8:85a3::8a2e:370:7334": "a.1790001800.AbCdEfGhIjKlMnOp.8e292acef6260a459425ed3304f87af3",
    "127.0.0.1": "a.1790001800.AbCdEfGhIjKlMnOp.b2d9344bb24d780d7e69df8b2420639c",
}
BODY = b'{"events":[{"milestone":"cart_added","event_id":"3f0c9d2e5a414c7b9a550d6f7b1f2a10","time":1790000000}]}'
SIGNATURE = "166d531a5a96963d379771636308d218c6289a2bbadfb4e7f0ed8822e64f7721"


def test_the_documented_vectors():
    """The vectors of docs/browser.md."""
    assert funnel_key(STORE) == "161f0d60baa5f5d5ba6da2af55f55b0804b6ed2f0154cbc32eb78c8bab25afc3"
    assert check_token(PRINTED, STORE, "198.51.100.1", NOW) == ("AbCdEfGhIjKlMnOp", "p")
    for address, token in BOUND.items():
        assert check_token(token, STORE, address, NOW) == ("AbCdEfGhIjKlMnOp", "a")
    assert is_signed(BODY, SIGNATURE, STORE)
    assert is_signed(BODY, f" {SIGNATURE.upper()}\r\n", STORE)


def test_a_token_is_valid_in_its_network_for_its_time_and_store():
    token = new_token(STORE, "203.0.113.7", NOW)
    assert check_token(token, STORE, "203.0.113.200", NOW + LIFETIME - 1)
    assert check_token(token, STORE, "::ffff:203.0.113.9", NOW)
    assert not check_token(token, STORE, "203.0.114.7", NOW)
    assert not check_token(token, STORE, "", NOW)
    assert not check_token(token, STORE, "203.0.113.7", NOW + LIFETIME)
    assert not check_token(token, a_store(name="beans", webhook_secrets=("whsec-example",)), "203.0.113.7", NOW)
    assert not check_token(token, a_store(), "203.0.113.7", NOW)


def test_ipv6_renews_its_lower_bits():
    token = new_token(STORE, "2001:db8:85a3::1", NOW)
    assert check_token(token, STORE, "2001:db8:85a3:ffff::2", NOW)
    assert not check_token(token, STORE, "2001:db8:85a4::1", NOW)


def test_a_shop_cannot_make_a_token_that_outlives_an_hour():
    """A key that leaks from a shop's server makes no token for ever."""
    assert not check_token(PRINTED, STORE, "", 1_790_001_800 - LONGEST_LIFETIME - 1)
    assert check_token(PRINTED, STORE, "", 1_790_001_800 - LONGEST_LIFETIME)


def test_secrets_rotate():
    """The plugin's key is that of the secret that was the first one when it was printed."""
    both = a_store(webhook_secrets=("new", "whsec-example"))
    assert funnel_key(both) != funnel_key(STORE)
    assert check_token(PRINTED, both, "", NOW)
    assert is_signed(BODY, SIGNATURE, both)
    assert not is_signed(BODY, SIGNATURE, a_store(webhook_secrets=("new",)))


@each_row("at", range(len(PRINTED)))
def test_no_character_of_a_token_can_be_changed(at):
    changed = PRINTED[:at] + ("0" if PRINTED[at] != "0" else "1") + PRINTED[at + 1 :]
    assert check_token(changed, STORE, "203.0.113.7", NOW) is None


@given(st.text(), st.text(), st.binary(), st.text())
def test_junk_is_refused(token, address, body, signature):
    assert check_token(token, STORE, address, NOW) is None
    assert not is_signed(body, signature, STORE)
    assert len(address_prefix(address)) in (0, 6, 12)
