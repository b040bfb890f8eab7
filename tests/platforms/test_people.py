"""Who the shopper is and whether they agreed: on realistic bodies of each platform."""

import hashlib
import json
import shutil

import pytest

from connector.core.store import ConsentSource
from connector.intake.intake import Intake
from connector.outbox.outbox import Outbox
from connector.outbox.queries import OutboxQueries
from connector.plugin.testing.bench import handle_request
from connector.privacy.requests import DataRequestStore
from connector.storage.database import Database
from connector.storage.engine import connect
from tests.support.platforms import PLATFORMS
from tests.support.rows import each_row
from tests.support.sample_bodies import (
    BOTH,
    CHECKOUT,
    NOW,
    PAID,
    PLACED,
    REGISTERED,
    SHOPIFY,
    WOOCOMMERCE,
    choose,
    item,
    names,
    reasons,
    sample,
    see,
    signed,
    user,
)

each_platform = pytest.mark.parametrize("store", BOTH, ids=lambda store: store.platform)
DIGEST = hashlib.sha256(b"jane@example.com").hexdigest()


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def living(store, topics=PAID, billing=(), shipping=(), **changes):
    """The sample with other values in its addresses; None leaves a key as it is."""
    body = sample(store, topics)
    suffix = "_address" if store.platform == "shopify" else ""
    for name, values in (("billing", billing), ("shipping", shipping)):
        body[name + suffix] = {**body.get(name + suffix, {}), **dict(values)}
    return {**body, **changes}


# --- e-mails and phones ---------------------------------------------------------------------------------------


def test_all_addresses_of_a_shopify_customer_without_doubles():
    body = sample(SHOPIFY, email="Jane@example.com ", contact_email="jane@example.com")
    body["customer"] = {**body["customer"], "email": "j.doe@example.org"}
    assert user(SHOPIFY, body)["email"] == [DIGEST, digest("j.doe@example.org")]
    body["customer"] = {**body["customer"], "email": None}
    assert user(SHOPIFY, body)["email"] == DIGEST


def test_all_addresses_of_a_woocommerce_customer():
    body = sample(WOOCOMMERCE, REGISTERED, email="Jane@example.com")
    body["billing"] = {**body["billing"], "email": "j.doe@example.org"}
    assert user(WOOCOMMERCE, body, REGISTERED)["email"] == [DIGEST, digest("j.doe@example.org")]


def test_all_phones_of_a_shopify_order_each_by_the_country_of_its_address():
    body = living(
        SHOPIFY,
        billing={"phone": "020 7946 0123", "country_code": "GB"},
        shipping={"phone": "(212) 555-0123", "country_code": "US"},
        phone="+12125550123",
    )
    home = {**body["customer"]["default_address"], "country_code": "DE"}
    body["customer"] = {**body["customer"], "phone": "030 23125 001", "default_address": home}
    found = user(SHOPIFY, body)["phone"]
    assert found == [digest("+12125550123"), digest("+442079460123"), digest("+493023125001")]


def test_all_phones_of_a_woocommerce_order_each_by_the_country_of_its_address():
    body = living(
        WOOCOMMERCE,
        billing={"phone": "020 7946 0123", "country": "GB"},
        shipping={"phone": "212.555.0123", "country": "US"},
    )
    assert user(WOOCOMMERCE, body)["phone"] == [digest("+442079460123"), digest("+12125550123")]


@each_platform
@each_row(
    ("typed", "country", "own", "expected"),
    [
        ("(212) 555-0123 ext. 45", "US", "", "+12125550123"),
        ("+1 (212) 555-0123 x45", "DE", "", "+12125550123"),
        ("0171 39200 12", "DE", "US", "+491713920012"),
        ("+44 (0)20 7946 0123", "US", "", "+442079460123"),
        ("+442079460123", "US", "", "+442079460123"),
        ("0044 20 7946 0123", "DE", "", "+442079460123"),
        ("06 0000 0000", "IT", "", "+390600000000"),  # Italy keeps the zero
        ("(212) 555-0123", "", "US", "+12125550123"),
        ("(212) 555-0123", "", "", None),
        ("call me", "US", "", None),
        ("12", "US", "", None),
    ],
)
def test_phones_as_people_type_them(store, typed, country, own, expected):
    key = "country_code" if store.platform == "shopify" else "country"
    body = living(store, billing={"phone": typed, key: country}, shipping={"phone": "", key: country}, phone=None)
    if store.platform == "shopify":
        body["customer"] = {**body["customer"], "default_address": None}
    found = user(choose(store, country=own), body).get("phone")
    assert found == (digest(expected) if expected else None)


@each_platform
def test_what_is_hashed_already_is_not_hashed_again(store):
    phone = digest("+12125550123")
    body = living(store, billing={"phone": phone.upper(), "email": DIGEST.upper()}, shipping={"phone": ""}, phone=None)
    body |= {"email": DIGEST.upper(), "contact_email": DIGEST}
    if store.platform == "shopify":
        body["customer"] = {**body["customer"], "email": None}
    found = user(store, body)
    assert found["email"] == DIGEST
    assert found["phone"] == phone


@each_platform
def test_names_and_places_survive_in_any_script(store):
    province, country, zip_code = (
        ("province_code", "country_code", "zip") if store.platform == "shopify" else ("state", "country", "postcode")
    )
    german = {"first_name": "Jürgen", "last_name": "Groß-Kopf", "city": "München", province: "BY", country: "DE"}
    found = user(store, no_person(living(store, billing={**german, zip_code: "80331"}, shipping=german)))
    assert (found["city"], found["state"], found["country"]) == ("münchen", "by", "de")
    assert (found["first_name"], found["last_name"]) == (digest("jürgen"), digest("großkopf"))
    assert found["zip_code"] == digest("80331")
    japanese = {"first_name": "さくら", "last_name": "山田川", "city": "東京", province: "東京都", country: "JP"}
    found = user(store, no_person(living(store, billing=japanese, shipping=japanese)))
    assert (found["city"], found["state"]) == ("東京", "東京都")
    assert (found["first_name"], found["last_name"]) == (digest("さくら"), digest("山田川"))


def no_person(body):
    """A guest of Shopify is only in the addresses."""
    return {**body, "customer": None} if "customer" in body else body


@each_platform
@each_row(
    ("written", "country", "sent"),
    [
        *(("CA", "US", "ca"), ("California", "US", "ca"), ("NEW YORK", "US", "ny"), ("US-TX", "US", "tx")),
        *(("Washington", "US", "wa"), ("ON", "CA", "on"), ("New South Wales", "AU", "newsouthwales")),
    ],
)
def test_states_as_tiktok_wants_them(store, written, country, sent):
    """Two letters in the United States, whether the shop gives the code or the name."""
    if store.platform == "shopify":
        body = living(store, billing={"province_code": None, "province": written, "country_code": country})
    else:
        body = living(store, billing={"state": written, "country": country})
    assert user(store, body)["state"] == sent


@each_platform
def test_external_id_keeps_its_case_follows_its_template_or_is_off(store):
    body = sample(store)
    number = str(body["customer"]["id"] if store.platform == "shopify" else body["customer_id"])
    assert user(store, body)["external_id"] == digest(number)
    assert user(choose(store, external_id="Acme-{customer_id}"), body)["external_id"] == digest(f"Acme-{number}")
    assert "external_id" not in user(choose(store, external_id=""), body)
    guest = {"customer": None} if store.platform == "shopify" else {"customer_id": 0}
    assert "external_id" not in user(store, sample(store, **guest))


# --- consent --------------------------------------------------------------------------------------------------


def asking(store, consent="required", key="marketing", country="", **changes):
    source = ConsentSource(key=key) if key else ConsentSource()
    return choose(store, consent=consent, consent_source=source, country=country, **changes)


def answered(store, topics, value):
    """The sample with the shopper's answer where this platform keeps it; None is no answer."""
    if store.platform == "shopify":
        answer = [{"name": "marketing", "value": value}] if value is not None else []
        return sample(store, topics, note_attributes=answer)
    if topics is CHECKOUT:
        return sample(store, topics, **({"marketing": value} if value is not None else {}))
    answer = [{"id": 5, "key": "marketing", "value": value}] if value is not None else []
    return sample(store, topics, meta_data=answer)


PLACES = [
    *((SHOPIFY, topics, name) for topics, name in ((PAID, "order"), (CHECKOUT, "checkout"))),
    *((WOOCOMMERCE, topics, name) for topics, name in ((PAID, "order"), (CHECKOUT, "checkout"))),
    (WOOCOMMERCE, REGISTERED, "registration"),
]
places = pytest.mark.parametrize(
    ("store", "topics"), [pytest.param(store, topics, id=f"{store.platform} {name}") for store, topics, name in PLACES]
)


@places
@each_row("value", ["yes", " YES ", "true", "1", 1, True])
def test_a_yes_is_consent(store, topics, value):
    assert see(asking(store), topics, answered(store, topics, value)).events


@places
@each_row("value", [None, "", {}, []])
def test_nothing_said_is_a_no(store, topics, value):
    seen = see(asking(store), topics, answered(store, topics, value))
    assert not seen.events
    assert set(reasons(seen)) == {"no consent: no answer was given (consent)"}


@places
@each_row("value", ["no", "false", "0", False, 0, "yes please", "on", 2])
def test_anything_else_is_a_no(store, topics, value):
    seen = see(asking(store), topics, answered(store, topics, value))
    assert not seen.events
    assert set(reasons(seen)) == {"no consent: the shopper said no (consent)"}


@places
def test_without_a_key_nobody_can_say_yes(store, topics):
    seen = see(asking(store, key=""), topics, answered(store, topics, "yes"))
    assert set(reasons(seen)) == {"no consent: consent_source.key is not set (consent)"}


def test_a_shopify_registration_has_no_place_for_a_yes():
    assert reasons(see(asking(SHOPIFY), REGISTERED, sample(SHOPIFY, REGISTERED))) == [
        "no consent: no answer was given (consent)"
    ]


@each_platform
def test_newsletters_are_no_consent(store):
    body = sample(store, buyer_accepts_marketing=True, buyer_accepts_sms_marketing=True)
    marketing = {"state": "subscribed", "opt_in_level": "confirmed_opt_in"}
    body |= {"customer": {**body.get("customer", {}), "accepts_marketing": True, "email_marketing_consent": marketing}}
    body["meta_data"] = [{"id": 1, "key": "newsletter", "value": "yes"}]
    assert not see(asking(store), PAID, body).events
    assert not see(asking(store, key="buyer_accepts_marketing"), PAID, body).events


def test_consent_is_not_asked_for_where_it_is_not_required():
    for store in BOTH:
        assert see(asking(store, "not_required", key=""), PAID, answered(store, PAID, "no")).events


@each_platform
@each_row(
    ("shipping", "billing", "own", "asked"),
    [
        *(("DE", "US", "US", True), ("US", "DE", "DE", False), ("gb", "US", "US", True), ("CH", "", "", True)),
        *(("NO", "", "", True), ("", "FR", "US", True), ("", "US", "FR", False), ("", "", "DE", True)),
        *(("", "", "US", False), ("", "", "", True), ("RE", "US", "US", True), ("GP", "", "", True)),
        *(("TR", "", "", False), ("Germany", "US", "US", True), ("UK", "US", "US", True)),
    ],
)
def test_consent_in_europe_by_where_the_shopper_is(store, shipping, billing, own, asked):
    """Shipping, else billing, else the store's country; where nothing tells it, as if in Europe."""
    key = "country_code" if store.platform == "shopify" else "country"
    body = living(store, shipping={key: shipping}, billing={key: billing})
    body |= {"customer": None} if store.platform == "shopify" else {}
    store = asking(store, "required_in_europe", country=own)
    assert bool(see(store, PAID, body).events) is not asked


def test_consent_in_europe_of_registrations_and_checkouts():
    store = asking(SHOPIFY, "required_in_europe", country="US")
    body = sample(store, REGISTERED)
    assert see(store, REGISTERED, body).events
    home = {**body["default_address"], "country_code": "DE"}
    assert not see(store, REGISTERED, {**body, "default_address": home}).events
    store = asking(WOOCOMMERCE, "required_in_europe", country="US")
    assert see(store, CHECKOUT, sample(store, CHECKOUT)).events
    assert not see(store, CHECKOUT, sample(store, CHECKOUT, country="FR")).events


def texts_of(value):
    """Every text of a body that could tell of a person."""
    if isinstance(value, dict):
        for row in value.values():
            yield from texts_of(row)
    elif isinstance(value, list):
        for row in value:
            yield from texts_of(row)
    elif isinstance(value, str) and len(value) > 5:
        yield value


@pytest.mark.parametrize("topics", [PLACED, PAID, CHECKOUT, REGISTERED], ids=["placed", "paid", "checkout", "account"])
@each_platform
def test_of_a_refused_event_nothing_personal_is_stored(store, topics, migrated_sqlite, tmp_path):
    """The ledger keeps the line: which order, and why. The file's raw bytes hold nothing else of the body."""
    file = tmp_path / "connector.db"
    shutil.copy(migrated_sqlite, file)
    engine = connect(f"sqlite:///{file}")
    store, body = asking(store), answered(store, topics, "no" if topics in (PLACED, PAID) else None)
    outbox, data_requests = Outbox(Database(engine)), DataRequestStore(Database(engine))
    intake = Intake({"acme": store}, PLATFORMS, outbox, data_requests, lambda: NOW)
    assert handle_request(intake, store, signed(store, topics, body)) == "skipped"
    assert OutboxQueries(Database(engine)).skipped("no consent") == {"acme": 1}
    engine.dispose()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"no consent" in stored
    # What the line says: the order's or checkout's own name, and words that are no one's.
    said = {str(body.get("number")), str(body.get("name")), body.get("token"), body.get("arg", {}).get("token")}
    said |= {"customer", "checkout", "wc_tiktok_initiate_checkout"}  # the first two are words of the schema, too
    for text in set(texts_of(body)) - said:
        for form in (text, text.lower(), digest(text), digest(text.strip().lower()), json.dumps(text)[1:-1]):
            assert form.encode() not in stored, text
        assert hashlib.sha256(text.strip().lower().encode()).digest() not in stored


# --- limited data use -----------------------------------------------------------------------------------------


def public(store, ip, state, country="US", topics=PAID):
    keys = ("province_code", "country_code") if store.platform == "shopify" else ("state", "country")
    place = dict(zip(keys, (state, country), strict=True))
    body = living(store, topics, billing={keys[1]: "US"}, shipping=place)
    if store.platform == "shopify":
        return {**body, "browser_ip": ip, "client_details": {**body.get("client_details", {}), "browser_ip": None}}
    return {**body, "customer_ip_address": ip}


@each_platform
@each_row(
    ("state", "country", "limited"),
    [
        *(("CA", "US", True), ("ca", "US", True), ("California", "US", True), ("CO", "US", True)),
        *(("TX", "US", False), ("CA", "CA", False), ("CO", "IT", False)),
    ],
)
def test_limited_data_use_by_the_state_the_order_goes_to(store, state, country, limited):
    store = choose(store, limited_data_use=("CA", "CO"))
    found = item(store, public(store, "8.8.8.8", state, country))
    assert found.get("limited_data_use") is (True if limited else None)


@each_platform
@each_row("ip", ["", "10.0.0.1", "203.0.113.7", "not an ip"])
def test_limited_data_use_needs_a_public_ip(store, ip):
    store = choose(store, limited_data_use=("CA",))
    seen = see(store, PAID, public(store, ip, "CA"))
    assert names(seen) == []
    assert set(reasons(seen)) == {
        "limited_data_use applies and TikTok honours it only with a public ip, which is missing"
    }
    assert names(see(store, PAID, public(store, ip, "TX"))) == ["PlaceAnOrder", "Purchase"]


def test_limited_data_use_skips_shopify_s_checkouts_for_they_have_no_ip():
    store = choose(SHOPIFY, limited_data_use=("MA", "TX", "IL"))  # where the sample's shoppers live
    assert reasons(see(store, CHECKOUT, sample(store, CHECKOUT)))[0].startswith("limited_data_use applies")
