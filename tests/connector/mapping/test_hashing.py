"""connector.mapping.hashing: normalised the way TikTok matches, absent where nothing can be normalised."""

import hashlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.mapping import hashing
from tests.support.rows import each_row

EMPTY = hashlib.sha256(b"").hexdigest()
HASH = hashlib.sha256(b"already").hexdigest()
WORDS = st.text(st.characters(exclude_categories=("Cs",)))


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


# The official examples of TikTok's parameter page, and two that PostHog's tests publish.
VECTORS = [
    (hashing.email, (" ALICE_abc@gmail.com ",), "848a771458438fc2ec420560d769fb9b9b86851ee338ec56517baabd79d3bb4f"),
    (hashing.phone, ("(+1)2133734253", ""), "9f7ec22d72092cd3c0b58726ed9c2d91b92e51a3f29837508fb2948bb22dd2fd"),
    (hashing.external_id, ("user_123",), "80fba0ae1c48e3978e43e4efc365e14e12ea0c830ba8ba5b9a2dafc7e3f2ab8b"),
    (hashing.name, ("Max",), "9baf3a40312f39849f46dad1040f2f039f1cffa1238c41e9db675315cfad39b6"),
    (hashing.name, ("AI",), "32e83e92d45d71f69dcf9d214688f0375542108631b45d344e5df2eb91c11566"),
]


@each_row(("normalise", "raw", "expected"), VECTORS)
def test_published_vectors(normalise, raw, expected):
    assert normalise(*raw) == expected


@given(WORDS)
def test_nothing_is_ever_the_hash_of_nothing_nor_anything_but_a_digest(raw):
    for found in (
        *(hashing.email(raw), hashing.phone(raw, "US"), hashing.phone(raw, ""), hashing.external_id(raw)),
        *(hashing.name(raw), hashing.zip_code(raw, "US"), hashing.zip_code(raw, "DE")),
    ):
        assert found == "" or (len(found) == 64 and found != EMPTY)


@pytest.mark.parametrize("blank", ["", " ", "\t\n"])
def test_blank_is_absent(blank):
    assert not any((hashing.email(blank), hashing.phone(blank, "US"), hashing.external_id(blank), hashing.name(blank)))
    assert not any((hashing.zip_code(blank, "US"), hashing.place(blank), hashing.country_code(blank)))
    assert not any((hashing.public_ip(blank), hashing.locale(blank)))


def test_what_is_hashed_already_is_not_hashed_again_but_lower_cased():
    assert hashing.email(HASH) == hashing.email(f" {HASH.upper()} ") == HASH
    assert hashing.phone(HASH, "US") == hashing.phone(f" {HASH.upper()} ", "") == HASH
    assert hashing.external_id(HASH) == hashing.external_id(HASH.upper()) == HASH
    assert hashing.name(HASH.upper()) == HASH
    assert hashing.zip_code(HASH, "US") == HASH
    assert hashing.sha256(HASH[:-1]) == digest(HASH[:-1])


@each_row("raw", ["nobody", "@example.com", "a@", "a@localhost", "a b@example.com", "a@exa mple.com"])
def test_what_is_no_address_is_absent(raw):
    assert hashing.email(raw) == ""


def test_an_address_keeps_its_dots_and_plus():
    assert hashing.email("J.Doe+Shop@Example.COM") == digest("j.doe+shop@example.com")


@each_row(
    ("raw", "country", "e164"),
    [
        *(("(212) 555-0123", "US", "+12125550123"), ("212.555.0142", "us", "+12125550142")),
        *(("020 7946 0123", "GB", "+442079460123"), ("03-0000-1234", "JP", "+81300001234")),
        *(("+49 30 23125 001", "US", "+493023125001"), ("+1555-555-5555", "", "+15555555555")),
        *(("(212) 555-0123 ext. 9", "US", "+12125550123"), ("+49 30 23125 001", "not a country", "+493023125001")),
    ],
)
def test_a_phone_is_hashed_as_e164_of_the_country_it_was_typed_in(raw, country, e164):
    assert hashing.phone(raw, country) == digest(e164)


@each_row(
    ("raw", "country"),
    [("(212) 555-0123", ""), ("212", "US"), ("call me", "US"), ("+999 1", "US"), ("1" * 300, "US"), ("1", "Nowhere")],
)
def test_an_impossible_phone_is_absent(raw, country):
    assert hashing.phone(raw, country) == ""


def test_an_external_id_keeps_its_case():
    assert hashing.external_id(" testId123 ") == digest("testId123")


@each_row(
    ("raw", "normalised"),
    [
        *(
            ("O'Dell-Smith", "odellsmith"),
            ("de La Brière", "delabrière"),
            ("Großkopf", "großkopf"),
            ("さくら", "さくら"),
        ),
        *(("Bre\u0301a", "bréa"), ("Dr. No", "drno"), ("नमस्ते", "नमस्ते")),
    ],
)
def test_a_name_loses_case_punctuation_and_spaces_but_no_accents(raw, normalised):
    assert hashing.name(raw) == digest(normalised)


@each_row(
    ("raw", "country", "normalised"),
    [
        *(("02118-2203", "US", "02118"), ("02118 2203", "us", "02118"), ("SE15 4QL", "GB", "se154ql")),
        *(("154-0024", "JP", "1540024"), ("M6K 3P6", "CA", "m6k3p6"), ("123456", "", "123456")),
    ],
)
def test_zip_codes(raw, country, normalised):
    assert hashing.zip_code(raw, country) == digest(normalised)


@each_row(
    ("raw", "plain"),
    [
        *(("New York", "newyork"), ("München", "münchen"), ("MU\u0308NCHEN", "münchen"), ("東京", "東京")),
        *(("Saint-Étienne", "saintétienne"), ("St. Louis 2", "stlouis2"), ("!?", "")),
    ],
)
def test_a_place_is_plain_letters_and_digits_of_any_script(raw, plain):
    assert hashing.place(raw) == plain


@each_row(("raw", "code"), [("US", "us"), (" de ", "de"), ("USA", ""), ("Germany", ""), ("1a", ""), ("ÄÖ", "")])
def test_country_code(raw, code):
    assert hashing.country_code(raw) == code


@each_row(
    ("raw", "public"),
    [
        *((" 8.8.8.8 ", "8.8.8.8"), ("2606:4700:0:0::1111", "2606:4700::1111"), ("::ffff:8.8.8.8", "8.8.8.8")),
        *(("2001:4860:4860::8888", "2001:4860:4860::8888"),),
    ],
)
def test_a_public_ip_is_kept(raw, public):
    assert hashing.public_ip(raw) == public


@each_row(
    "raw",
    [
        *("10.0.0.1", "172.16.9.9", "192.168.1.1", "127.0.0.1", "169.254.0.1", "100.64.0.1", "0.0.0.0", "224.0.0.1"),
        *("203.0.113.7", "2001:db8::42", "fe80::1", "fc00::1", "::1", "::", "ff02::1", "::ffff:10.0.0.1", "240.0.0.1"),
        *("255.255.255.255", "8.8.8.8, 1.1.1.1", "8.8.8.8:443", "8.8.8", "unknown", "2606:4700::1%eth0", "134744072"),
    ],
)
def test_a_private_reserved_or_unreadable_ip_is_dropped(raw):
    assert hashing.public_ip(raw) == ""


@each_row(
    ("raw", "tag"),
    [("en-US", "en-US"), ("de_DE", "de-DE"), ("zh-Hans-CN", "zh-Hans-CN"), ("en US", ""), ("x" * 40, "")],
)
def test_locale(raw, tag):
    assert hashing.locale(raw) == tag


BASE = "https://shop.example"


@each_row(
    ("raw", "url"),
    [
        (
            "/a/b?ttclid=E.C.P.x-_1&utm_source=tiktok&fbclid=1&key=wc_order_x",
            "/a/b?ttclid=E.C.P.x-_1&utm_source=tiktok",
        ),
        *(
            ("/?xutm_source=1&UTM_SOURCE=2&ttclid2=3&email=a%40b.de", "/"),
            ("", "/"),
            ("a?utm_id=%C3%A9", "/a?utm_id=%C3%A9"),
        ),
        ("/checkout/order-received/17/?key=wc_order_abc&utm_medium=paid", "/checkout/order-received?utm_medium=paid"),
        *(("/checkout/order-pay/17/?pay_for_order=true&key=x", "/checkout/order-pay"), ("/a#secret", "/a")),
        *(
            ("/checkouts/cn/Z2NwLXVzLWVhc3QxOjAx", "/checkouts"),
            ("/66001/orders/9b1c0d9b1c0d/authenticate", "/66001/orders"),
        ),
        *(
            ("/go/5f1e5f1e5f1e5f1e5f1e5f1e5f1e5f1e/x", "/go"),
            ("/products/nordlys-wool-blanket-2", "/products/nordlys-wool-blanket-2"),
        ),
    ],
)
def test_a_page_keeps_its_path_and_of_the_query_only_click_id_and_utm(raw, url):
    assert hashing.page_url(raw, BASE) == BASE + url
    if raw.startswith("/"):
        assert hashing.page_url(BASE + raw, "https://elsewhere.example") == BASE + url


@each_row(
    ("raw", "url"),
    [
        *(("https://user:pw@shop.example:8443/a", "https://shop.example:8443/a"), ("HTTPS://SHOP.example", BASE + "/")),
        *(("javascript:alert(1)", ""), ("mailto:a@example.com", ""), ("https://[", ""), ("https://x:99999/", "")),
        ("//cdn.example/x", ""),
        ("/?" + "&".join(["utm_id=1"] * 201), BASE + "/?" + "&".join(["utm_id=1"] * 200)),
    ],
)
def test_a_page_without_credentials_or_no_page(raw, url):
    assert hashing.page_url(raw, BASE) == url


@each_row("segment", ["a" * 30_000, "a" * 30_000 + "!", "a-" * 15_000, "%" * 30_000])
def test_a_long_path_costs_little(segment):
    """Anybody may send one with a beacon."""
    begun = time.thread_time()
    hashing.page_url(f"https://acme.example/{segment}", "")
    assert time.thread_time() - begun < 2


@given(WORDS)
def test_page_url_takes_any_text(raw):
    assert hashing.page_url(raw, BASE) == "" or hashing.page_url(raw, BASE).startswith("http")


@each_row(
    ("landing", "kept"),
    [
        ("/account/activate/9876/5a8c1b2d3e4f5a6b7c8d-1700000000?ttclid=abc&key=x", "/account?ttclid=abc"),
        ("/gift_cards/123456/abcdef1234567890abcdef", "/gift_cards"),
        ("/unsubscribe/anna@example.com", "/unsubscribe"),
        ("/pages/anna%40example.com/x", "/pages"),
        ("/?utm_email=anna@example.com&utm_source=anna@example.com&utm_medium=paid", "/?utm_medium=paid"),
        ("/apps/x/eyJhbGciOi-J9.abc_1234567890123456.zzz", "/apps/x"),
        ("/apps/x/5a8c1b2d3e4f5a6b7c8d-1700000000", "/apps/x"),
        ("/products/linen-shirt-2026-blue-edition-xl", "/products/linen-shirt-2026-blue-edition-xl"),
        ("/collections/summer/products/7372642342342", "/collections/summer/products/7372642342342"),
    ],
)
def test_a_page_carries_no_key_and_no_address(landing, kept):
    assert hashing.page_url(landing, "https://acme.example") == f"https://acme.example{kept}"
