"""A sentence for a database that cannot be opened: what is wrong, and the one thing to do."""

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import DBAPIError

# By a part of what libpq, psycopg or SQLite says; the first that fits. The texts of others may be translated: the last
# resort is then the error's class.
CAUSES = (
    ("Connection refused", "nothing accepts connections at {place}; start PostgreSQL there, or correct `DATABASE_URL`"),
    ("No such file", "nothing accepts connections at {place}; start PostgreSQL there, or correct `DATABASE_URL`"),
    ("resolve host", "its host name {host} is not found; see how `DATABASE_URL` spells it"),
    ("translate host name", "its host name {host} is not found; see how `DATABASE_URL` spells it"),
    ("timeout", "{place} does not answer; see its firewall, and the host and port in `DATABASE_URL`"),
    ("does not answer", "{place} does not answer; see its firewall, and the host and port in `DATABASE_URL`"),
    ("authentication failed", "it refuses the user or the password; correct `DATABASE_URL`"),
    ("no password supplied", "it asks for a password; `DATABASE_URL` is postgresql://USER:PASSWORD@HOST/DATABASE"),
    ("no pg_hba.conf entry", "it does not admit this user from this machine; change its pg_hba.conf"),
    ('role "', "it has no user {user}; create it, or correct `DATABASE_URL`"),
    ('database "', "it has no database {name}; create it, or correct `DATABASE_URL`"),
    (
        "unable to open",
        "{name} cannot be opened; create its folder, let this user write there, or correct `DATABASE_URL`",
    ),
    ("not a database", "{name} is not an SQLite database; correct `DATABASE_URL`"),
    ("readonly", "{name} cannot be written by this user; change its owner, or correct `DATABASE_URL`"),
)


def why_unreachable(database_url: str, error: Exception) -> str:
    """Return why the database cannot be reached and what to do, without a password: settings are between backticks."""
    said = str(error.orig if isinstance(error, DBAPIError) else error)
    url = make_url(database_url)
    for part, sentence in CAUSES:
        if part in said:
            found = sentence.format(place=_place(url), host=url.host, user=url.username, name=url.database)
            return f"the database cannot be reached: {found}"
    return f"the database cannot be reached ({type(error).__name__}); look at it and at `DATABASE_URL`"


def _place(url: URL) -> str:
    return f"{url.host or 'this machine'}:{url.port or 5432}"


def is_not_created(database_url: str) -> bool:
    """Return True for an SQLite file that is not there yet, and that `connector serve` would create."""
    file = Path(make_url(database_url).database or "")
    return database_url.startswith("sqlite") and not file.exists() and file.parent.exists()
