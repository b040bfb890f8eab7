"""The commands over a third party's platform that has neither API nor snippet nor samples."""

from typing import NamedTuple

import pytest

from tests.support.third_party import STORES, install, python

pytestmark = pytest.mark.processes
WITHOUT_API = STORES.replace("api =", "# api =")
NAMED = WITHOUT_API.replace("[stores.other]", "[stores.myshop]")  # as the platform
LACKING = {
    "snippet other": "there is no snippet for MyShop; --plain prints the one for your own pixel",
    "webhooks register other": "the API of MyShop is not supported; create the webhooks by hand",
    "simulate other": "MyShop has no sample webhooks",
}
RUNS = [
    *((words, WITHOUT_API) for words in LACKING),
    ("snippet other --plain", WITHOUT_API),
    ("snippet other --plain --without-pixel", WITHOUT_API),
    ("check", WITHOUT_API),
    ("check", STORES),
    ("check", NAMED),
]
CODE = """
from click.testing import CliRunner
from connector.cli.main import main
found = []
for words, stores in {runs!r}:
    done = CliRunner().invoke(main, words.split(), env={{"STORES_TOML": stores}})
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    found.append([done.exit_code, done.stdout, done.stderr])
print(json.dumps(found))
"""


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The output of each of RUNS, all from one process, because its start takes longest."""
    folder = install(tmp_path_factory.mktemp("third_party"))
    settings = {"SECRET": "shh", "DATABASE_URL": f"sqlite:///{folder}/none.db"}
    found = python(CODE.format(runs=RUNS), path=[folder], PUBLIC_URL="https://connector.example", **settings)
    return {run: Done(*printed) for run, printed in zip(RUNS, found, strict=True)}


@pytest.mark.parametrize("words", LACKING)
def test_what_it_lacks_is_said(done, words):
    """In a sentence with what to do, and exit 1."""
    found = done[words, WITHOUT_API]
    assert (found.returncode, found.stdout) == (1, "")
    assert LACKING[words] in found.stderr


def test_the_plain_snippet_is_there_for_all(done):
    """It needs nothing of the platform."""
    found = done["snippet other --plain", WITHOUT_API]
    assert found.returncode == 0, found.stderr
    assert "connectorEventId" in found.stdout
    found = done["snippet other --plain --without-pixel", WITHOUT_API]
    assert found.returncode == 2
    assert "the plain snippet has no option --without-pixel" in found.stderr


def test_check_says_what_holds_for_any_platform(done):
    """Without remedies that are of no use there."""
    found = done["check", WITHOUT_API]
    assert found.returncode == 0, found.stdout
    lost = "webhooks that cannot be delivered while this server is down are lost"
    assert f"Webhooks that never arrived are not backfilled: {lost}.\n" in found.stdout
    assert "is sent as PlaceAnOrder when it is placed, with value" in found.stdout


def test_keys_that_it_has_no_use_for_are_a_fault(done):
    """As for any platform, with the stores file's key."""
    found = done["check", STORES]
    assert found.returncode == 1
    assert "stores.other.api: platform myshop takes no [api]" in found.stderr


def test_a_store_is_not_named_as_a_platform_whose_url_is_shared(done):
    """/webhooks/myshop would be two places."""
    found = done["check", NAMED]
    assert found.returncode == 1
    assert 'and is not "myshop"' in found.stderr
