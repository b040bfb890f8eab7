"""What hosts, plugins and firewalls say instead of JSON, and what the connector makes of it."""

import gzip
import logging
import socket
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.shop_api import ShopApiError
from platforms.woocommerce.rest_client import MAX_WAIT, RestClient
from platforms.woocommerce.rest_errors import Answer, RequestInfo, error_of, read
from tests.support.woocommerce_api import NOW, connect, fake, impatient

URL = "https://connector.example/webhooks/beans"


def caught(api, method="subscriptions", *given):
    with pytest.raises(ShopApiError) as raised:
        getattr(api, method)(*given)
    assert raised.value.__context__ is None  # requests' exceptions quote the URL with the key in it
    return raised.value


# --- each its own sentence


@pytest.mark.parametrize(
    ("kind", "options", "expected", "told"),
    [
        ("firewall", {}, "refused", "security plugin or firewall blocks"),
        ("plain permalinks", {}, "refused", "Permalinks but Plain"),
        ("no route", {}, "refused", "activate WooCommerce"),
        ("closed", {"status": 401}, "refused", "rest_login_required"),
        ("closed", {"status": 403}, "refused", "make an exception for /wp-json/wc/v3/"),
        ("password", {}, "refused", "take the password off"),
        ("challenge", {}, "broken", "web page instead of JSON"),
        ("warning", {}, "broken", "WP_DEBUG_DISPLAY"),
        ("cut", {}, "broken", "not WooCommerce's JSON"),
        ("fatal", {}, "broken", "PHP error"),
        ("critical", {}, "broken", "PHP error"),
        ("gateway", {"status": 502}, "unreachable", "no answer from WordPress"),
        ("gateway", {"status": 522}, "unreachable", "HTTP 522"),
        ("odd", {}, "refused", "HTTP 418, some_code"),
    ],
)
def test_what_comes_instead_of_an_answer(shop, kind, options, expected, told):
    shop.fail(kind, **options)
    found = caught(connect(shop))
    assert found.kind == expected
    assert told in str(found)
    assert "secret@example.com" not in str(found)


def test_wrong_keys(shop):
    for keys in ({"key": "ck_wrong"}, {"secret": "cs_wrong"}):
        found = caught(connect(shop, **keys))
        assert found.kind == "keys"
        assert "refuses the keys" in str(found)
        assert "clock" in str(found)  # a signature has a time


def test_wrong_keys_over_https(pem, monkeypatch):
    """An unknown key looks like a dropped header at first; the signed try afterwards tells them apart."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem[0]))
    with fake(certificate=pem) as shop:
        found = caught(connect(shop, key="ck_wrong"))
        assert (found.kind, "HTTPS=on" in str(found)) == ("keys", True)
        found = caught(connect(shop, secret="cs_wrong"))
        assert (found.kind, "HTTPS=on" in str(found)) == ("keys", False)


def test_a_proxy_that_does_not_tell_php_of_tls_is_named(pem, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem[0]))
    with fake(certificate=pem) as shop:
        shop.proxied = True
        found = caught(connect(shop))
    assert found.kind == "keys"
    assert "ends TLS without telling PHP" in str(found)


def test_keys_that_may_only_read(shop):
    """The same code as for wrong keys; that they can read tells."""
    shop.permissions = "read"
    found = caught(connect(shop), "subscribe", "order.created", URL, "s")
    assert (found.kind, "Read/Write" in str(found)) == ("scopes", True)
    shop.permissions = "read_write"
    assert caught(connect(shop, secret="cs_wrong"), "subscribe", "order.created", URL, "s").kind == "keys"


def test_a_user_who_may_not(shop):
    shop.forbidden = {"webhooks"}
    found = caught(connect(shop))
    assert (found.kind, "shop manager" in str(found)) == ("scopes", True)


@pytest.mark.parametrize(
    ("to", "told"),
    [
        ("https://127.0.0.1/wp-json/wc/v3/webhooks?oauth_consumer_key=ck_1", 'set url = "https://127.0.0.1"'),
        ("http://www.127.0.0.1/shop/wp-json/wc/v3/webhooks", 'set url = "http://www.127.0.0.1/shop"'),
        ("https://parked.example/wp-json/", "the address WordPress has"),
        ("/wp-login.php", "the address WordPress has"),
        ("", "the address WordPress has"),
    ],
)
def test_a_redirect_is_not_followed_and_says_what_to_set(shop, to, told):
    shop.fail("redirect", to=to)
    found = caught(connect(shop))
    assert found.kind == "refused"
    assert told in str(found)
    assert "ck_" not in str(found)
    assert len(shop.requests) == 1


@pytest.mark.parametrize("to", ["URL/wp-json/wc/v3/webhooks/?oauth_consumer_key=ck_1", "/wp-json/wc/v3/webhooks/"])
def test_a_redirect_to_the_same_path_with_a_slash_is_plain_permalinks(shop, to):
    """WordPress, handed every request under plain permalinks, adds the slash; url is right already."""
    shop.fail("redirect", to=to.replace("URL", shop.url))
    found = caught(connect(shop))
    assert found.kind == "refused"
    assert "choose any Settings › Permalinks but Plain" in str(found)
    assert "set url" not in str(found)
    assert "ck_" not in str(found)


def test_a_web_page_is_no_proof_of_the_keys(shop):
    """A bot check or an old cache answers anybody with 200."""
    shop.fail("challenge", times=100)
    results = list(connect(shop).check())
    assert not any("the keys are valid" in result.sentence for result in results)
    assert [result.good for result in results if "web page instead of JSON" in result.sentence] == [False]


def test_a_byte_order_mark_before_the_json_does_no_harm(shop):
    shop.fail("mark")
    assert connect(shop).subscriptions() == []


def test_a_compressed_answer_is_read():
    import http.server
    import threading

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = gzip.compress(b"[]" + b" " * 300_000)
            self.send_response(200)
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        shop = RestClient(f"http://127.0.0.1:{server.server_port}", "ck_1", "cs_1", [].append)
        assert read(shop.get("webhooks"), list) == []
        server.shutdown()


# --- trying again


def test_a_busy_shop_is_given_the_time_it_asks_for(shop):
    pauses = []
    shop.fail("busy", 1, retry_after="17")
    shop.fail("busy", 1, status=503, retry_after=f"{NOW + timedelta(seconds=40):%a, %d %b %Y %H:%M:%S} GMT")
    shop.fail("busy", 1, status=503, retry_after="soon")
    shop.fail("busy", 1)
    assert connect(shop, pauses=pauses).subscriptions() == []
    assert pauses == [17, 40, 40, 60]


def test_patience_ends(shop):
    pauses = []
    shop.fail("busy")
    found = caught(connect(shop, pauses=pauses))
    assert (found.kind, "HTTP 429" in str(found)) == ("throttled", True)
    assert sum(pauses) <= MAX_WAIT
    shop.heal()
    shop.fail("busy", status=503, retry_after="86400")
    assert caught(connect(shop, pauses=pauses)).kind == "throttled"
    assert sum(pauses) <= MAX_WAIT


@pytest.mark.parametrize("kind", ["fatal", "gateway"])
def test_a_passing_fault_is_tried_again(shop, kind):
    pauses = []
    shop.fail(kind, 2)
    assert connect(shop, pauses=pauses).subscriptions() == []
    assert pauses == [2, 4]
    shop.fail(kind, 3)
    caught(connect(shop, pauses=pauses))


@pytest.mark.slow
def test_a_webhook_is_not_made_twice_by_trying_again(shop):
    """After a 500 or no answer it may exist; after a 429 it cannot."""
    shop.fail("fatal", 1)
    caught(connect(shop), "subscribe", "order.created", URL, "s")
    assert len(shop.requests) == 1
    shop.fail("hang", 1)
    found = caught(impatient(shop), "subscribe", "order.created", URL, "s")
    assert "check first" in str(found)
    shop.fail("busy", 1, retry_after="1")
    connect(shop).subscribe("order.created", URL, "s")
    assert len(shop.webhooks) == 1


def test_removing_is_tried_again(shop):
    api = connect(shop)
    made = api.subscribe("order.created", URL, "s")
    shop.fail("gateway", 1)
    api.unsubscribe(made)
    assert shop.webhooks == {}


@pytest.mark.slow
def test_a_shop_that_hangs_is_left_in_time(shop):
    pauses = []
    shop.fail("hang")
    found = caught(impatient(shop, pauses=pauses))
    assert (found.kind, "did not answer within 0.2 seconds" in str(found)) == ("unreachable", True)
    assert len(pauses) == 2


def test_an_answer_that_trickles_for_ever_is_left(shop):
    shop.fail("trickle")
    times = iter(range(0, 10**6, 100))
    found = caught(impatient(shop, 60, lambda: next(times)))
    assert (found.kind, "not complete in 120 seconds" in str(found)) == ("unreachable", True)


@pytest.mark.slow
def test_an_answer_without_end_is_left(shop):
    shop.fail("endless")
    found = caught(connect(shop))
    assert (found.kind, "is too large" in str(found)) == ("broken", True)


def test_nobody_there():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = RestClient(f"http://127.0.0.1:{unused.getsockname()[1]}", "ck_1", "cs_1", [].append)
        with pytest.raises(ShopApiError, match="cannot be reached") as raised:
            nowhere.get("webhooks")
    assert raised.value.kind == "unreachable"


def test_a_certificate_nobody_vouches_for(pem):
    with fake(certificate=pem) as shop:
        found = caught(connect(shop))
    assert (found.kind, "renew its certificate" in str(found)) == ("refused", True)


@pytest.mark.parametrize(("url", "key"), [("http://127.0.0.1:9\x00", "ck_1"), ("https://127.0.0.1:9", "ck_\u2713")])
def test_url_and_keys_of_which_no_request_can_be_made(url, key):
    with pytest.raises(ShopApiError) as raised:
        RestClient(url, key, "cs_1", [].append).get("webhooks")
    assert key not in str(raised.value)


# --- secrets


@pytest.mark.parametrize(
    "kind",
    [
        "fatal",
        "firewall",
        pytest.param("hang", marks=pytest.mark.slow),
        "plain permalinks",
        "redirect",
        "cut",
        "busy",
        None,
    ],
)
def test_keys_reach_no_log_and_no_error(shop, kind, caplog):
    """Not even at DEBUG, where urllib3 writes whole URLs."""
    caplog.set_level(logging.DEBUG)
    api = impatient(shop) if kind == "hang" else connect(shop)
    if kind:
        shop.fail(
            kind, **({"to": "https://127.0.0.1/wp-json/wc/v3/x?oauth_consumer_key=ck_1"} if kind == "redirect" else {})
        )
        told = str(caught(api))
    else:
        told = str(api.subscriptions())
    for secret in (shop.key, shop.secret, "oauth"):
        assert secret not in told + caplog.text


ANSWERS = st.builds(
    Answer,
    st.integers(300, 599),
    st.dictionaries(st.sampled_from(["Location", "Retry-After", "Date", "X-WP-Total"]), st.text(max_size=40)),
    st.binary(max_size=80) | st.builds(lambda code: b'{"code":"%s"}' % code.encode(), st.text('ab_-"', max_size=9)),
)


@given(ANSWERS, st.booleans())
def test_any_answer_is_judged_without_an_error(answer, signed):
    found = error_of(answer, RequestInfo("https://shop.example", signed))
    assert str(found)
    assert answer.total is None or answer.total >= 0
    assert answer.retry_after is None or answer.retry_after >= 0


@given(st.binary(max_size=80))
def test_any_body_is_read_or_broken(body):
    try:
        found = read(Answer(200, {}, body), list)
    except ShopApiError as broken:
        found = broken
    assert isinstance(found, list) or (found.kind, found.__context__) == ("broken", None)
