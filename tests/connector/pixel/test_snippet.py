"""The printed snippets: what goes into them, what never does, and when there is none."""

import json
import re
from dataclasses import replace
from datetime import timedelta
from importlib.resources import files

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from connector.cli.main import main
from connector.core.snippet import NoSnippet
from connector.core.store import (
    ApiKeys,
    ConsentSource,
    FunnelSettings,
    OrderSettings,
    Pixel,
    SignalSettings,
)
from connector.pixel.snippet import as_json
from tests.support.factories import CODE, OTHER_CODE, a_section, a_store, a_stores_file
from tests.support.rows import each_row
from tests.support.snippets import snippet, snippet_warnings, where_to_paste

SECRETS = (
    "whsec-0123456789",
    "token-0123456789",
    "TESTCODE1",
    "client-0123456789",
    "shpat-0123456789",
    "cs-0123456789",
)
CHOICES = {
    "webhook_secrets": (SECRETS[0],),
    "pixels": (Pixel(CODE, SECRETS[1], SECRETS[2]),),
    "browser_pixel": "snippet",
    "signals": SignalSettings(timedelta(seconds=20), timedelta(seconds=5)),
    "api": ApiKeys(
        access_token=SECRETS[4], client_secret=SECRETS[3], consumer_secret=SECRETS[5], consumer_key="ck-0123456789"
    ),
}
SHOPIFY, WOOCOMMERCE = (a_store(platform, **CHOICES) for platform in ("shopify", "woocommerce"))
FUNNELS = tuple(replace(store, funnel=FunnelSettings(), meter=True) for store in (SHOPIFY, WOOCOMMERCE))
BASE = "https://connector.example"
KINDS = [(SHOPIFY, "shopify"), (WOOCOMMERCE, "woocommerce"), (SHOPIFY, "plain"), (WOOCOMMERCE, "plain")]
KINDS += [(store, store.platform) for store in FUNNELS]
FOLDERS = ("connector.pixel", "platforms.shopify.snippet", "platforms.woocommerce.snippet")
SCRIPTS = {
    f"{folder}/{file.name}": file.read_text()
    for folder in FOLDERS
    for file in files(folder).iterdir()
    if file.name.endswith(".js")
}
EACH = pytest.mark.parametrize(
    ("store", "kind"),
    KINDS,
    ids=lambda one: one if isinstance(one, str) else one.platform + (" funnel" if one.funnel else ""),
)


def refusal(store, kind, base=BASE):
    with pytest.raises(NoSnippet) as refused:
        snippet(store, kind, base)
    return str(refused.value)


@EACH
def test_no_secret_is_in_it(store, kind):
    """Anybody can read a shop's pages: neither tokens, webhook secrets, keys nor test codes are there."""
    code = snippet(store, kind, BASE)
    assert not [secret for secret in (*SECRETS, "ck-0123456789") if secret in code]


@EACH
def test_two_lines_say_where_it_goes(store, kind):
    """And the same settings give the same code."""
    assert len(where_to_paste(store, kind)) == 2
    assert snippet(store, kind, BASE) == snippet(store, kind, BASE)


@given(
    st.recursive(st.text(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))
)
def test_settings_stay_data_wherever_they_are_put(settings):
    """One line of ASCII that ends no script element, no nowdoc and no string."""
    written = as_json(settings)
    assert written.isascii()
    assert not set("<>&\n\r") & set(written)
    assert json.loads(written) == settings


@given(st.text(alphabet=st.sampled_from("</script>'\"\\`$(){}?\n SETTINGS_JSON;{settings}{pixel}")))
def test_what_a_store_writes_does_not_become_code(written):
    """The code around the settings is the same for every store."""
    plain = snippet(WOOCOMMERCE, "woocommerce")
    other = snippet(replace(WOOCOMMERCE, consent_source=ConsentSource(written), external_id=written), "woocommerce")
    lines = [number for number, (a, b) in enumerate(zip(plain.split("\n"), other.split("\n"), strict=True)) if a != b]
    assert len(lines) <= 1


def test_the_files_are_filled_in_whole():
    """No mark is left, and a script can end neither its element nor the text it is in."""
    plugin = snippet(FUNNELS[1], "woocommerce", BASE)
    assert not re.search(r"^(// )?\{[a-z_]+\}$", plugin, re.MULTILINE)
    for source in SCRIPTS.values():
        assert "</script" not in source
        assert not re.search(r"^\s*(PIXEL_SCRIPT|REMEMBER_SCRIPT|SETTINGS_JSON)\b", source, re.MULTILINE)
        assert source.rstrip() in plugin + snippet(FUNNELS[0], "shopify", BASE) + snippet(SHOPIFY, "plain", BASE)


def test_no_script_is_newer_than_shopifys_sandbox_takes():
    """ES2017 at most: no spread of objects, optional chaining, nullish coalescing, or catch without a name."""
    for name, source in SCRIPTS.items():
        assert not re.search(r"\?\.|\?\?|\{\s*\.\.\.|catch \{|\.flat(Map)?\(|matchAll|fromEntries", source), name


@each_row("placeholder", ["order_number", "order_name", "cart_token", "meta:x"])
def test_what_a_shopify_browser_cannot_know_is_refused(placeholder):
    """Rather no snippet than one with other ids than the server's; only for events that are on."""
    store = replace(SHOPIFY, event_id=replace(SHOPIFY.event_id, order=f"o-{{{placeholder}}}"))
    assert refusal(store, "shopify") == (
        f"event_id.order of store acme has {{{placeholder}}}, which the browser cannot know here; use one of "
        "{order_id}, {checkout_token}, {customer_id}, {attribute:KEY}, or switch off events.order_placed and "
        "events.order_paid"
    )
    off = replace(store, events={**store.events, "order_placed": (), "order_paid": ()})
    assert snippet(off, "shopify", BASE)
    assert snippet(store, "plain", BASE)


@pytest.mark.parametrize(
    ("store", "kind", "template"),
    [
        (SHOPIFY, "shopify", "c-{order_id}"),
        (WOOCOMMERCE, "woocommerce", "c-{meta:x}"),
        (WOOCOMMERCE, "woocommerce", "c-{cart_token}"),
    ],
)
def test_a_checkout_has_no_order_yet(store, kind, template):
    """Its template may name only what is there by then."""
    assert "event_id.checkout of store acme" in refusal(
        replace(store, event_id=replace(store.event_id, checkout=template)), kind
    )


def test_a_woocommerce_order_knows_neither_checkout_nor_cart():
    """As its webhook; its number and meta it knows."""
    ids = WOOCOMMERCE.event_id
    assert "{checkout_token}" in refusal(
        replace(WOOCOMMERCE, event_id=replace(ids, order="{checkout_token}")), "woocommerce"
    )
    assert snippet(replace(WOOCOMMERCE, event_id=replace(ids, order="{order_number}{meta:x}")), "woocommerce")


@each_row("base", ["", "http://connector.example", "connector.example", "https://", "https://[x"])
def test_a_beacon_needs_an_https_address(base):
    """Only where signals or a funnel are expected; a WooCommerce shop sends its signals with the order."""
    for store in FUNNELS:
        assert "set PUBLIC_URL or give --base-url" in refusal(store, store.platform, base)
    assert refusal(SHOPIFY, "shopify", base) == (
        "the browser needs an address for its signals: set PUBLIC_URL or give --base-url https://HOST"
    )
    assert '"collect": ""' in snippet(replace(SHOPIFY, signals=None), "shopify", base)
    assert snippet(WOOCOMMERCE, "woocommerce", base)
    assert '"collect": "https://c.example/x/collect/acme"' in snippet(SHOPIFY, "shopify", "https://c.example/x/")


def test_orders_that_the_server_leaves_out_need_no_pixel():
    """A store that relays no web orders would have them in the browser only."""
    assert 'has no "web"' in refusal(replace(SHOPIFY, orders=OrderSettings(include=("pos",))), "shopify")


@pytest.mark.parametrize("consent", ["required", "required_in_europe", "not_required"])
@pytest.mark.parametrize("key", ["", "tiktok_ok"])
@pytest.mark.parametrize("signals", [SHOPIFY.signals, None], ids=["signals", "no signals"])
def test_the_permission_of_the_pixel_fits_the_consent(consent, key, signals):
    """With "Required", Shopify does not load the pixel before a yes, so it can tell nobody of a no.

    A no changes something only if the server could find a yes elsewhere.
    """
    store = replace(SHOPIFY, consent=consent, consent_source=ConsentSource(key), signals=signals)
    (_, line) = where_to_paste(store, "shopify")
    must_hear = bool(key and signals and consent != "not_required")
    assert line.startswith("Permission: Not required if") == must_hear
    assert "Required, Marketing;" in line


def test_doubts_name_the_setting():
    """What is to be set for the two copies to meet."""
    quiet = replace(SHOPIFY, pixels=(Pixel(CODE, "t"),))
    assert [*snippet_warnings(quiet, "shopify")] == []
    (doubt,) = snippet_warnings(replace(quiet, browser_pixel="none"), "shopify")
    assert 'set browser_pixel = "snippet" in [stores.acme]' in doubt
    (doubt,) = snippet_warnings(quiet, "plain")
    assert 'set browser_pixel = "own"' in doubt
    (doubt,) = snippet_warnings(replace(quiet, consent="required"), "woocommerce")
    assert 'set key = "tiktok_consent" in [stores.acme.consent_source]' in doubt
    (doubt,) = snippet_warnings(replace(quiet, orders=OrderSettings(exclude_tags=("b2b",))), "shopify")
    assert "orders.exclude_tags" in doubt
    bundled = replace(quiet, mapping=replace(quiet.mapping, bundles="bundle"))
    (doubt,) = snippet_warnings(bundled, "shopify")
    assert "bundles" in doubt
    (doubt,) = snippet_warnings(SHOPIFY, "shopify")
    assert "test_event_code" in doubt


def test_doubts_about_several_pixels():
    """An offline set has no browser; what a page does not know is the server's."""
    offline = Pixel("7012345678901234567", "t", source="offline", milestones=("order_paid",))
    for kind, browser in (("shopify", "snippet"), ("woocommerce", "snippet"), ("plain", "own")):
        (doubt,) = snippet_warnings(replace(SHOPIFY, pixels=(offline,), browser_pixel=browser), kind)
        assert doubt == 'every pixel has source = "offline", so browsers send TikTok nothing'
    market = Pixel(CODE, "t", countries=("US",))
    (doubt,) = snippet_warnings(replace(SHOPIFY, pixels=(market, offline)), "shopify")
    assert "a checkout without an address" in doubt
    assert [*snippet_warnings(replace(SHOPIFY, pixels=(market, offline)), "woocommerce")] == []


@pytest.mark.parametrize("kind", ["shopify", "woocommerce", "plain"])
def test_no_offline_set_is_in_a_snippet(kind):
    """No browser sends to it, and it is nobody's to know."""
    offline = Pixel("7012345678901234567", "t", source="offline", milestones=("order_paid",))
    assert offline.code not in snippet(replace(SHOPIFY, pixels=(Pixel(CODE, "t"), offline)), kind, "https://r.example")


# --- the command ----------------------------------------------------------------------------------------------

STORES = a_stores_file(
    a_section(pixel=None),
    a_section("woocommerce", "beans", url=None, pixel=OTHER_CODE, browser_pixel="snippet"),
    '[stores.beans.event_id]\norder = "{cart_token}"\ncheckout = "{cart_token}"\n',
    url="https://acme.example",
    pixel=CODE,
    webhook_secrets=[SECRETS[0]],
    access_token=SECRETS[1],
    country=None,
)


def run(*arguments, stores=STORES):
    return CliRunner(env={"STORES_TOML": stores}).invoke(main, ["snippet", *arguments])


def test_the_code_alone_is_on_the_output():
    """Ready for a file; where it goes and what to mind is said beside it."""
    result = run("acme")
    assert result.exit_code == 0
    assert result.stdout.startswith("(function (settings) {")
    assert [line[0] for line in result.stderr.splitlines()] == ["#", "#", "#", "!"]
    assert "Customer events" in result.stderr
    assert run("acme", "--plain").stdout.count("connectorEventId = ") == 1


def test_a_woocommerce_store_gets_a_file_of_php():
    """The first thing in it is PHP's own mark, or WordPress would print what is before it."""
    result = run("beans", stores=STORES.partition("[stores.beans.event_id]")[0])
    assert result.exit_code == 0
    assert result.stdout.startswith("<?php\n")
    official = run("beans", "--with-official-plugin", stores=STORES.partition("[stores.beans.event_id]")[0])
    assert '"with_official_plugin": true' in official.stdout


def test_a_refusal_prints_no_code():
    """Every reason in a sentence, exit 1."""
    result = run("beans")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert [line.startswith("connector: event_id.") for line in result.stderr.splitlines()] == [True, True]


@each_row(
    "arguments",
    [
        ["nobody"],
        ["acme", "--with-official-plugin"],
        ["acme", "--without-pixel"],
        ["beans", "--plain", "--with-official-plugin"],
    ],
)
def test_wrong_use_is_told(arguments):
    """Exit 2, as everywhere."""
    assert run(*arguments).exit_code == 2
