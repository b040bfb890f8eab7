"""`connector check --live STORE`: the same list as the dashboard's, in a terminal."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from connector.cli.main import main
from tests.support.new_store import SECRET, a_sandbox

TOML = """
[stores.acme]
platform = "shopify"
url = "https://acme.example"
shop = "acme.myshopify.com"
webhook_secrets = ["${SECRET}"]
pixel = "CACME000000000000000"
access_token = "${TOKEN}"
consent = "not_required"
test_event_code = "TEST12345"
"""


def run(
    file: Path, *arguments: str, api: str = "http://127.0.0.1:9/open_api/v1.3", toml: str = TOML, **more: str
) -> Result:
    environ = {"SECRET": SECRET, "TOKEN": "token-of-the-check", "STORES_TOML": toml}
    environ |= {"DATABASE_URL": f"sqlite:///{file}", "EVENTS_API_URL": api, "PUBLIC_URL": "http://127.0.0.1:9"}
    return CliRunner().invoke(main, ["check", *arguments], env=environ | more)


@pytest.fixture
def file(migrated_sqlite: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(migrated_sqlite, tmp_path / "connector.db"))


def test_every_line_with_what_to_do(file: Path) -> None:
    """Exit 1, because something is wrong; what is only waiting is not."""
    with a_sandbox() as (_, api):
        result = run(file, "--live", "acme", api=api)
    lines = result.output.splitlines()
    assert result.exit_code == 1
    assert "✓ Settings: valid" in lines
    assert "✗ Database and relay: no relay is running, so no event is sent" in lines
    assert lines[lines.index("✗ Database and relay: no relay is running, so no event is sent") + 1] == (
        "    to do: start `connector serve`"
    )
    assert any(line.startswith("✗ Public address: PUBLIC_URL http://127.0.0.1:9 cannot be reached") for line in lines)
    assert "✓ Access token: TikTok accepts the token of every pixel" in lines
    assert "      http://127.0.0.1:9/webhooks/acme" in lines
    assert lines[-1].endswith(" done")
    assert SECRET not in result.output


def test_the_word_of_the_administrator_is_kept(file: Path) -> None:
    """By the option; without it the line waits."""
    assert "… TikTok's own app" in run(file, "--live", "acme").output
    run(file, "--live", "acme", "--app-off")
    assert "✓ TikTok's own app: switched off, as you said on" in run(file, "--live", "acme").output


def test_before_there_is_a_database(tmp_path: Path) -> None:
    """The other lines are there all the same, with what was answered; no file is made."""
    with a_sandbox() as (_, api):
        result = run(tmp_path / "none.db", "--live", "acme", api=api)
    assert "✗ Database and relay: there is no database file yet; `connector serve` or" in result.output
    assert "✓ Access token: TikTok accepts the token of every pixel" in result.output
    assert not (tmp_path / "none.db").exists()


def test_a_database_that_cannot_be_reached() -> None:
    """The line says why; what only the database shows is not called missing; what was asked is there."""
    with a_sandbox() as (_, api):
        result = run(
            Path(), "--live", "acme", api=api, DATABASE_URL="postgresql://me:not-the-password@127.0.0.1:1/shop"
        )
    assert result.exit_code == 1
    assert "✗ Database and relay: the database cannot be reached: nothing accepts connections at" in result.output
    assert "… Signed webhooks: not known while the database cannot be read" in result.output
    assert "no webhook has arrived" not in result.output
    assert "✓ Access token: TikTok accepts the token of every pixel" in result.output
    assert "not-the-password" not in result.output


def test_a_folder_of_the_database_that_is_not_there(tmp_path: Path) -> None:
    """`connector serve` would not make it."""
    result = run(tmp_path / "no-folder" / "connector.db", "--live", "acme")
    assert "connector.db cannot be opened; create its folder" in result.output
    assert "`connector serve` or `connector migrate` creates it" not in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("acme",), "a STORE needs --live: connector check --live acme"),
        (("--app-off",), "--app-off needs a STORE"),
        (("--live", "acne"), "there is no store 'acne'; there are: acme"),
    ],
)
def test_wrong_use(file: Path, arguments: tuple[str, ...], said: str) -> None:
    result = run(file, *arguments)
    assert result.exit_code == 2
    assert said in result.output
