"""What `connector check` finds out about a Shopify shop."""

import pytest

from tests.support.shopify_api import Clock, at, connect, is_a_sentence, order

# --- examination ----------------------------------------------------------------------------------------------------


def test_a_good_shop_is_found_good(fake, shop):
    fake.place(order())
    verdicts = list(shop.check())
    assert [verdict.good for verdict in verdicts] == [True] * 4
    for verdict, word in zip(verdicts, ("key", "read_orders", "e-mail", "clock"), strict=True):
        assert word in verdict.sentence
        assert is_a_sentence(verdict.sentence)


def test_write_scopes_hold_the_read_scopes(fake, shop):
    fake.scopes = {"write_orders", "read_customers"}
    assert list(shop.check())[1].good


def test_a_refused_key_ends_the_examination(fake, shop):
    for how, word in ((401, "key"), (402, "bill"), (404, "myshopify.com"), (423, "locked"), (503, "503")):
        fake.fail(how)
        (verdict,) = shop.check()
        assert not verdict.good
        assert word in verdict.sentence


def test_missing_scopes_are_named(fake, shop):
    fake.scopes = set()
    verdicts = list(shop.check())
    assert [verdict.good for verdict in verdicts] == [True, False, False, True]
    assert "read_orders and read_customers" in verdicts[1].sentence
    assert "Dev Dashboard" in verdicts[1].sentence


@pytest.mark.parametrize("switch", [{"withholding": True}, {"approved": False}])
def test_withheld_persons_are_noticed(fake, shop, switch):
    """In the latest orders, whoever bought at the till before."""
    for number in range(1, 7):
        till = {"customer": None, "shipping_address": None, "created_at": at(-100 * number)}
        fake.place(order(number, id=number, **till))
    fake.place(order(7, id=7))
    for name, value in switch.items():
        setattr(fake, name, value)
    verdict = list(shop.check())[2]
    assert not verdict.good
    assert "protected customer data" in verdict.sentence


def test_before_the_first_order_nobody_knows(fake, shop):
    fake.place(order(1, customer=None, shipping_address=None, billing_address=None, email="", phone=None))
    verdict = list(shop.check())[2]
    assert verdict.good
    assert "first" in verdict.sentence


@pytest.mark.parametrize(("apart", "word"), [(61, "ahead of"), (-61, "behind"), (59, "agrees"), (-59, "agrees")])
def test_a_wrong_clock_is_noticed(fake, apart, word):
    ours = Clock()
    ours.now += apart
    verdict = list(connect(fake, ours).check())[-1]
    assert verdict.good is (word == "agrees")
    assert word in verdict.sentence
