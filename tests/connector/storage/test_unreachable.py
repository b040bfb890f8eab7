"""A database that cannot be opened: the sentence says why, and what to do."""

from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from connector.storage.engine import connect, require_current
from connector.storage.unreachable import why_unreachable


def _said(url: str) -> str:
    engine = connect(url, timeout=10.0)
    try:
        with pytest.raises(DBAPIError) as caught:
            require_current(engine)
    finally:
        engine.dispose()
    said = why_unreachable(url, caught.value)
    assert "not-the-password" not in said
    assert "`DATABASE_URL`" in said
    return said


def test_sqlite(tmp_path: Path) -> None:
    assert "create its folder" in _said(f"sqlite:///{tmp_path}/no-folder/connector.db")
    (tmp_path / "notes.txt").write_text("no database, but long enough to be read as the header of one\n" * 20)
    assert "notes.txt is not an SQLite database" in _said(f"sqlite:///{tmp_path}/notes.txt")


def test_postgresql_that_does_not_run() -> None:
    said = _said("postgresql://connector:not-the-password@127.0.0.1:1/shop")
    assert "nothing accepts connections at 127.0.0.1:1; start PostgreSQL there" in said
    assert "its host name db.invalid is not found" in _said("postgresql://connector:not-the-password@db.invalid/shop")


def test_postgresql_that_does_not_know_us(postgresql_server: str) -> None:
    url = make_url(postgresql_server).set(drivername="postgresql", password="not-the-password")
    assert "it has no database nowhere; create it" in _said(
        url.set(database="nowhere").render_as_string(hide_password=False)
    )
    said = _said(url.set(username="stranger").render_as_string(hide_password=False))
    assert "it has no user stranger" in said or "it refuses the user or the password" in said


def test_words_of_the_server_that_need_another_server() -> None:
    """Tests' PostgreSQL asks for no password."""
    url, words = "postgresql://connector@127.0.0.1/shop", 'FATAL:  password authentication failed for user "connector"'
    assert "it refuses the user or the password" in why_unreachable(url, psycopg.OperationalError(words))
    assert "(OperationalError); look at it" in why_unreachable(url, psycopg.OperationalError("Passwort falsch"))
