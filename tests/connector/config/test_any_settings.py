"""connector.config: whatever is written anywhere, a Config or lines without secrets come of it."""

import string
from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.config.settings import Config, ConfigError, load
from tests.support.rows import each_row
from tests.support.stores_file import BAD, BASE, KEYS, SUPPORTED, WOO, loaded, store

# Secrets


SECRET = "s3cr3t-VALUE"
SECRET_PLACES = [
    *[("webhook_secrets", form) for form in ('"{}"', '["{}"]', '["{}", 1]', "{{ {} = 1 }}", r'"{}\n"')],
    *[("access_token", form) for form in ('"{}"', '"{} x"', '["{}"]', r'"{}\u0007"', '"${{file:/none}}{}"')],
    *[("pixel", form) for form in ('"{}"', '["{}"]')],
    *[("api", form) for form in ('"{}"', '{{ consumer_key = "{}" }}', '{{ access_token = "{} x" }}', '["{}"]')],
    *[("api", form) for form in ('{{ client_secret = "{}" }}', '{{ access_tokn = "{}" }}')],
    *[("pixels", form) for form in ('"{}"', '["{}"]', '[{{ pixel = "{}" }}]', '[{{ access_token = ["{}"] }}]')],
    ("access_tokn", '"{}"'),
    ("url", '"https://u:{}@acme.example"'),
    ("access_token", '"{}'),
]


@each_row(("key", "form"), SECRET_PLACES)
def test_problems_hold_no_secret(key, form):
    """No problem prints what may be a secret, written or read from the environment."""
    toml = store(**{key: form.format(SECRET)})
    try:
        assert SECRET not in repr(loaded(toml))
    except ConfigError as error:
        assert SECRET not in str(error)  # noqa: PT017
    for path in KEYS:
        try:
            assert SECRET not in repr(loaded(store(**{path: '"${NAME}"'}), NAME=SECRET))
        except ConfigError as error:
            assert SECRET not in str(error)  # noqa: PT017


def test_repr_holds_no_secret():
    """The repr of a configuration shows no secret."""
    config = loaded(
        store(
            webhook_secrets=f'"{SECRET}1"',
            access_token=f'"{SECRET}2"',
            more=f'api = {{ client_id = "id", client_secret = "{SECRET}3" }}',
        )
        + store("beans", **{**WOO, "more": f'api = {{ consumer_key = "{SECRET}4", consumer_secret = "{SECRET}5" }}'}),
        DATABASE_URL=f"postgres://u:{SECRET}@h/d",
        ADMIN_PASSWORD=SECRET,
        ALERT_URL=f"https://hooks.example/{SECRET}",
    )
    assert SECRET not in repr(config)
    assert SECRET in str(vars(config)["database_url"])


# Any value at any key


PATHS = [
    *KEYS,
    *("test_event_code", "country", "browser_pixel", "go_live", "max_event_age", "limited_data_use", "reconcile"),
    *(
        "external_id",
        "pixels",
        "events",
        "orders",
        "mapping",
        "event_id",
        "consent_source",
        "signals",
        "api",
        "unknown",
    ),
    *sorted({key for key, _, _ in BAD if "." in key}),
    "api.client_id",
    "api.consumer_key",
    *sorted({key for key, _, _ in SUPPORTED if "." in key}),
]
TEXTS = st.one_of(
    st.text(max_size=12).filter(lambda text: not text.startswith("${file")),
    st.text(string.ascii_letters + string.digits + "{}$:/.[]@%-_ ", max_size=30).filter(lambda t: "${file" not in t),
    st.sampled_from(["", "7d", "{order_id}", "${SECRET}", "${NONE}", "web", "https://a.example", "a.myshopify.com"]),
)
VALUES = st.recursive(
    st.one_of(
        TEXTS,
        st.booleans(),
        st.integers(),
        st.floats(),
        st.dates(),
        st.times(),
        st.datetimes(),
        st.datetimes(timezones=st.just(UTC)),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def written(value):
    """`value` as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(char):08x}" for char in value) + '"'
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{written(key)} = {written(row)}' for key, row in value.items())} }}"
    return value.isoformat() if hasattr(value, "isoformat") else repr(value)


@given(st.sampled_from(PATHS), VALUES, st.sampled_from(["store", "defaults"]))
@pytest.mark.slow
def test_any_value_at_any_key(path, value, place):
    """Whatever stands at a key, the outcome is a Config or a ConfigError of single lines."""
    table, _, last = path.rpartition(".")
    line = f"{table} = {{ {last} = {written(value)} }}" if table else f"{last} = {written(value)}"
    keys = {key: text for key, text in KEYS.items() if key != path}
    body = "\n".join(f"{key} = {text}" for key, text in keys.items())
    toml = f"[stores.acme]\n{body}\n" + ("" if place == "store" else "[defaults]\n") + line
    try:
        assert isinstance(loaded(toml), Config)
    except ConfigError as error:
        assert error.problems  # noqa: PT017
        assert all(problem.isprintable() for problem in error.problems)  # noqa: PT017


@given(st.dictionaries(st.sampled_from(["stores", "connector", "defaults", "x", "acme"]), VALUES, max_size=3))
def test_any_document(document):
    """Whatever the document is, the outcome is a Config or a ConfigError."""
    toml = "\n".join(f"{key} = {written(value)}" for key, value in document.items())
    with pytest.raises(ConfigError):
        load({**BASE, "STORES_TOML": toml, "CONNECTOR_CONFIG": "/nonexistent.toml"})


@given(
    st.dictionaries(
        st.sampled_from(
            [
                *("DATABASE_URL", "EVENTS_API_URL", "PORT", "WEB_CONCURRENCY", "TRUSTED_PROXIES", "PUBLIC_URL"),
                *("ADMIN_PASSWORD", "ALERT_URL", "DIGEST_URL", "LOG_FORMAT", "LOG_LEVEL"),
            ]
        ),
        st.text(max_size=20) | st.sampled_from(["postgres://", "sqlite://", "https://[", "https://a:99999"]),
    )
)
def test_any_environment(environ):
    """Whatever the environment holds, the outcome is settings or a ConfigError."""
    try:
        loaded(store(), **environ)
    except ConfigError as error:
        assert all(": must be " in problem for problem in error.problems)  # noqa: PT017


HIDDEN = st.recursive(
    st.sampled_from(
        [SECRET, f" {SECRET}", f"{SECRET}\n", f"https://u:{SECRET}@acme.example", f"{{{SECRET}}}", f"7d{SECRET}"]
    ),
    lambda inner: (
        st.lists(inner | VALUES, min_size=1, max_size=3)
        | st.dictionaries(st.sampled_from([path.rpartition(".")[2] for path in PATHS]), inner, min_size=1, max_size=2)
    ),
    max_leaves=4,
)


@given(st.sampled_from([*PATHS, "keep_ledger"]), HIDDEN, st.sampled_from(["store", "defaults", "connector"]))
def test_no_problem_repeats_a_value(path, value, place):
    """A secret in any value at any key of any table is in no line."""
    table, _, last = path.rpartition(".")
    line = f"{table} = {{ {last} = {written(value)} }}" if table else f"{last} = {written(value)}"
    body = "\n".join(f"{key} = {text}" for key, text in KEYS.items() if key != path)
    toml = f"[stores.acme]\n{body}\n" + ("" if place == "store" else f"[{place}]\n") + line
    try:
        loaded(toml)
    except ConfigError as error:
        assert error.problems  # noqa: PT017
        assert SECRET not in str(error)  # noqa: PT017
