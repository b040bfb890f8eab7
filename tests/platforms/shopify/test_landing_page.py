"""The page on which a visit began, and the addresses that Shopify gives in its place."""

import pytest

from tests.support.rows import each_row
from tests.support.sample_bodies import CHECKOUT, PLACED, SHOPIFY, item, sample

NO_PAGES = [
    "/wallets/checkouts.json",
    "/api/2019-07/graphql.json",
    "/api/2025-01/graphql.json?operation=cartCreate",
    "/api/unstable/graphql",
    "/admin/auth/login",
    "/admin",
    "/password",
    "/password?ttclid=E.C.P.x",
    "/cart/c/Z2NwLXVz?key=abcdef",
    "/en-ca/cart/c/Z2NwLXVz?key=abcdef",
    "/fr/wallets/checkouts.json",
    "/cart.js",
    "/cart/add.js?id=1",
    "https://acme.example/wallets/checkouts.json",
    "https://acme.myshopify.com/admin/draft_orders/1",
]
PAGES = [
    "/",
    "/products/cup",
    "/pages/api",
    "/collections/admin",
    "/blogs/news/password",
    "/cart",
    "/pages/wallets.html",
]


@pytest.mark.parametrize("topics", [PLACED, CHECKOUT], ids=["order", "checkout"])
@pytest.mark.parametrize("landing", NO_PAGES)
def test_an_endpoint_is_no_page(landing, topics):
    """The shop's front page stands for it, which the browser's real page may replace."""
    page = item(SHOPIFY, sample(SHOPIFY, topics, landing_site=landing), topics)["page"]
    assert page["url"] in ("https://acme.example", "https://acme.example/")


@each_row("landing", PAGES)
def test_a_page_of_the_shop_is_one(landing):
    assert item(SHOPIFY, sample(SHOPIFY, landing_site=landing))["page"]["url"] == f"https://acme.example{landing}"


def test_the_click_id_of_an_endpoint_is_read_all_the_same():
    body = sample(SHOPIFY, landing_site="/password?ttclid=E.C.P.CqABexample", note_attributes=[])
    assert item(SHOPIFY, body)["user"]["ttclid"] == "E.C.P.CqABexample"
