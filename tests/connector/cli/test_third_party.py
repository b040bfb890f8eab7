"""The commands over a third party's platform that has neither API nor snippet nor samples."""

import os
import subprocess
import sys

import pytest

from tests.support.third_party import ROOT, STORES, install

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = install(tmp_path_factory.mktemp("third_party"))
    environ = {
        **os.environ,
        "PYTHONPATH": str(folder),
        "STORES_TOML": STORES.replace("api =", "# api ="),
        "SECRET": "shh",
        "DATABASE_URL": f"sqlite:///{folder}/none.db",
        "PUBLIC_URL": "https://connector.example",
    }

    def run(*arguments):
        command = [sys.executable, "-m", "connector", *arguments]
        return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["snippet", "other"], "there is no snippet for MyShop; --plain prints the one for your own pixel"),
        (["webhooks", "register", "other"], "the API of MyShop is not supported; create the webhooks by hand"),
        (["simulate", "other"], "MyShop has no sample webhooks"),
    ],
)
def test_what_it_lacks_is_said(run, arguments, why):
    """In a sentence with what to do, and exit 1."""
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert why in done.stderr
    assert "Traceback" not in done.stderr


def test_the_plain_snippet_is_there_for_all(run):
    """It needs nothing of the platform."""
    done = run("snippet", "other", "--plain")
    assert done.returncode == 0, done.stderr
    assert "connectorEventId" in done.stdout
    done = run("snippet", "other", "--plain", "--without-pixel")
    assert done.returncode == 2
    assert "the plain snippet has no option --without-pixel" in done.stderr


def test_check_says_what_holds_for_any_platform(run):
    """Without remedies that are of no use there."""
    done = run("check")
    assert done.returncode == 0, done.stdout
    lost = "webhooks that cannot be delivered while this server is down are lost"
    assert f"Webhooks that never arrived are not backfilled: {lost}.\n" in done.stdout
    assert "is sent as PlaceAnOrder when it is placed, with value" in done.stdout


def test_keys_that_it_has_no_use_for_are_a_fault(tmp_path):
    """As for any platform, with the stores file's key."""
    folder = install(tmp_path)
    environ = {**os.environ, "PYTHONPATH": str(folder), "STORES_TOML": STORES, "SECRET": "shh"}
    command = [sys.executable, "-m", "connector", "check"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "stores.other.api: platform myshop takes no [api]" in done.stderr


def test_a_store_is_not_named_as_a_platform_whose_url_is_shared(tmp_path):
    """/webhooks/myshop would be two places."""
    folder = install(tmp_path)
    stores = STORES.replace("api =", "# api =").replace("[stores.other]", "[stores.myshop]")
    environ = {**os.environ, "PYTHONPATH": str(folder), "STORES_TOML": stores, "SECRET": "shh"}
    command = [sys.executable, "-m", "connector", "check"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert 'and is not "myshop"' in done.stderr
