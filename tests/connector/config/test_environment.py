"""connector.config.environment: every variable, and what is said of a bad one."""

import pytest

from tests.support.rows import each_row
from tests.support.stores_file import loaded, only_problem, store

# Environment


def test_environment_defaults():
    """Without settings the documented defaults apply."""
    found = loaded(store(), PORT="", LOG_LEVEL=" ")
    assert found.database_url == "sqlite:///connector.db"
    assert found.events_api_url == "https://business-api.tiktok.com/open_api/v1.3"
    assert (found.port, found.trusted_proxies, found.public_url) == (8000, 0, "")
    assert 1 <= found.web_concurrency <= 4
    assert (found.admin_password, found.alert_url, found.log_level) == ("", "", "INFO")


@pytest.mark.parametrize(("terminal", "expected"), [(True, "text"), (False, "json")])
def test_log_format_default(monkeypatch, terminal, expected):
    """Logs are text on a terminal, else JSON."""
    import io
    import sys

    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(sys, "stderr", stream)
    assert loaded(store()).log_format == expected


@each_row(
    ("name", "value", "attribute", "expected"),
    [
        ("DATABASE_URL", "postgres://u:p@h/d", "database_url", "postgresql+psycopg://u:p@h/d"),
        (
            "DATABASE_URL",
            "postgresql://u:p@h/d?sslmode=require",
            "database_url",
            "postgresql+psycopg://u:p@h/d?sslmode=require",
        ),
        ("DATABASE_URL", "postgresql+psycopg://u:p@h/d", "database_url", "postgresql+psycopg://u:p@h/d"),
        ("DATABASE_URL", "sqlite:////data/c.db", "database_url", "sqlite:////data/c.db"),
        ("EVENTS_API_URL", "http://127.0.0.1:9090/x/", "events_api_url", "http://127.0.0.1:9090/x"),
        ("PORT", " 65535 ", "port", 65535),
        ("WEB_CONCURRENCY", "1", "web_concurrency", 1),
        ("TRUSTED_PROXIES", "2", "trusted_proxies", 2),
        ("PUBLIC_URL", "https://c.example/", "public_url", "https://c.example"),
        ("ADMIN_PASSWORD", "pass word", "admin_password", "pass word"),
        ("ALERT_URL", "https://hooks.example/T0/x?y=1", "alert_url", "https://hooks.example/T0/x?y=1"),
        ("ALERT_URL", "https://hooks.example/x/", "alert_url", "https://hooks.example/x/"),
        ("ALERT_URL", "http://localhost:9/x", "alert_url", "http://localhost:9/x"),
        ("ALERT_URL", "http://127.0.0.1:9/x", "alert_url", "http://127.0.0.1:9/x"),
        ("ALERT_URL", "http://[::1]:9/x", "alert_url", "http://[::1]:9/x"),
        (
            "ALERT_URL",
            "https://hooks.example/x, slack://A/B/C,mailto://u:p@h?to=a@example.com,b@example.com\n\ntgram://T/1  tgram://T/1",
            "alert_url",
            "https://hooks.example/x slack://A/B/C mailto://u:p@h?to=a@example.com,b@example.com tgram://T/1",
        ),
        ("DIGEST_URL", "mailtos://u:p@h?to=a@example.com", "digest_url", "mailtos://u:p@h?to=a@example.com"),
        ("LOG_FORMAT", "text", "log_format", "text"),
        ("LOG_FORMAT", "json", "log_format", "json"),
        ("LOG_LEVEL", "debug", "log_level", "DEBUG"),
    ],
)
def test_good_setting(name, value, attribute, expected):
    """Each variable arrives normalised."""
    assert getattr(loaded(store(), **{name: value}), attribute) == expected


@each_row(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://u:hidden@h/d"),
        ("DATABASE_URL", "postgres://u:hidden@h:port/d"),
        ("DATABASE_URL", "hidden"),
        ("DATABASE_URL", "postgresql+asyncpg://hidden@h/d"),
        ("EVENTS_API_URL", "ftp://hidden"),
        ("EVENTS_API_URL", "tiktok"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "80.5"),
        ("PORT", "²"),
        ("WEB_CONCURRENCY", "0"),
        ("WEB_CONCURRENCY", "many"),
        ("TRUSTED_PROXIES", "-1"),
        ("TRUSTED_PROXIES", "yes"),
        ("PUBLIC_URL", "c.example"),
        ("ADMIN_PASSWORD", "hid\udcffden"),
        ("ALERT_URL", "http://hidden.example"),
        ("ALERT_URL", "http://127.0.0.1.hidden.example"),
        ("ALERT_URL", "http://localhost@hidden.example"),
        ("ALERT_URL", "https://hooks.example/x http://hidden.example"),
        ("ALERT_URL", "slack://A/B/C hidden"),
        ("ALERT_URL", "slack://"),
        ("ALERT_URL", "hidden"),
        ("LOG_FORMAT", "xml"),
        ("LOG_FORMAT", "te\udcffxt"),
        ("LOG_LEVEL", "LOUD"),
        ("LOG_LEVEL", "NOTSET"),
    ],
)
def test_bad_setting(name, value):
    """A bad variable is one problem that names it and does not print it."""
    line = only_problem(store(), **{name: value})
    assert line.startswith(f"{name}: must be ")
    assert "hidden" not in line


@each_row("host", ["DYNO", "K_SERVICE", "RENDER", "RAILWAY_ENVIRONMENT"])
def test_vanishing_disk(host):
    """SQLite where the disk vanishes is refused with the remedy, unless the owner says it is a volume."""
    for url in ("", "sqlite:///x.db"):
        line = only_problem(store(), DATABASE_URL=url, **{host: "x"})
        assert line.startswith("DATABASE_URL: ")
        assert "ALLOW_SQLITE=1" in line
        assert "PostgreSQL" in line
        assert "ALLOW_SQLITE" in only_problem(store(), DATABASE_URL=url, ALLOW_SQLITE="0", **{host: "x"})
        assert loaded(store(), DATABASE_URL=url, ALLOW_SQLITE="1", **{host: "x"})
    assert loaded(store(), DATABASE_URL="postgres://h/d", **{host: "x"})
    assert "mounted" not in only_problem(store(), DATABASE_URL="mysql://h/d", **{host: "x"})


@each_row(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///file::memory:?uri=true",
        "sqlite:///file:x?mode=memory&cache=shared&uri=true",
    ],
)
def test_database_in_memory(url):
    """SQLite in memory is refused with the reason: each of the processes would have its own."""
    line = only_problem(store(), DATABASE_URL=url)
    assert line.startswith("DATABASE_URL: must be sqlite:///FILE or postgresql://")
    assert "in memory" in line
    assert "several processes share the database" in line


def test_database_file_as_host():
    """The error for SQLite with two slashes, which names a host, gives the spelling with three."""
    assert "memory" not in only_problem(store(), DATABASE_URL="sqlite://connector.db")
