"""The documentation: links and anchors resolve, and every command in it exists with the options it is given."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from connector.cli.main import main
from connector.config.settings import load
from connector.config.summary import plain_words
from connector.monitoring.problems import RELAY_SILENT
from connector.relay.events_api import LONGEST_REQUEST
from connector.relay.relay import HEARTBEAT, LEASE
from connector.sync import reconcile
from tests.support.rows import each_row
from tests.support.third_party import python

ROOT = Path(__file__).parents[1]
ADDING = ROOT / "docs" / "adding-a-platform.md"
SECRETS = {"MUGS_WEBHOOK_SECRET": "s3cret", "MUGS_TIKTOK_TOKEN": "text-of-a-token"}
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
CURRENT = [page for page in PAGES if page.name != "CHANGELOG.md"]  # a changelog may name what is gone
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
NAMED_FILES = (
    "order.json",
    "event.json",
    "copied.har",
    "file",
    "new.toml",
    "feed.csv",
)  # the files that commands in the documentation read


def prose(page: Path) -> str:
    """Return the page without its fenced blocks."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def by_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@each_row("page", PAGES, ids=by_name)
def test_links_and_anchors_resolve(page: Path) -> None:
    """Every relative link leads to a file of the repository, and its anchor to a heading of that page."""
    broken = []
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            broken.append(link)
        elif anchor and anchor not in anchors(target):
            broken.append(f"{link}: no such heading")
    assert broken == []


@each_row("page", CURRENT, ids=by_name)
def test_paths_in_the_text_exist(page: Path) -> None:
    """So does every file and folder of the code that the text names."""
    named = set(re.findall(r"`((?:connector|platforms|tests|docs)/[\w./]+)`", prose(page)))
    assert {path for path in named if "NAME" not in path and not (ROOT / path).exists()} == set()


def test_the_reading_order_is_of_ten_files() -> None:
    """docs/architecture.md leads through an order in ten files or fewer, the HTTP entry first."""
    section = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("## Reading order")[2]
    files = re.findall(r"^\d+\. `([\w/.]+\.py)`", section.partition("\n##")[0], re.MULTILINE)
    assert 5 < len(files) <= 10
    assert files[0] == "connector/web/webhook_endpoint.py"
    assert files[-1] == "connector/relay/events_api.py"


def test_every_page_is_linked_from_the_readme() -> None:
    readme = set(LINK.findall(prose(ROOT / "README.md")))
    assert {f"docs/{page.name}" for page in PAGES if page.parent != ROOT} <= readme


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def shell_commands(page: Path) -> Iterator[list[str]]:
    """Yield the words of each simple command in the page's shell blocks, without assignments and redirections.

    A command that runs `python -m connector` somewhere, as in a container, begins with `connector`.
    """
    for _, language, block in FENCED.findall(page.read_text(encoding="utf-8")):
        if language != "sh":
            continue
        for line in block.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            words: list[str] = []
            for token in [*lexer, ";"]:
                if set(token) <= set("&|;"):
                    yield words[words.index("-m") + 1 :] if "connector" in words[1:] and "-m" in words else words
                    words = []
                elif words or not re.match(r"[A-Z_]+=", token):
                    words.append(token)


def without_redirections(words: list[str]) -> list[str]:
    return [word for word, before in zip(words, ["", *words], strict=False) if not {word, before} & {"<", ">"}]


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """Return the command that the words after `connector` name, and the rest of them. Raises KeyError."""
    command: click.Command = main
    while isinstance(command, click.Group) and words:
        command, words = command.commands[words[0]], words[1:]
    return command, words


@pytest.mark.parametrize("page", CURRENT, ids=by_name)
def test_shell_commands_are_understood(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every `connector` command in a shell block parses, with the right names, options and number of arguments."""
    monkeypatch.chdir(tmp_path)
    for name in NAMED_FILES:
        Path(name).touch()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for words in shell_commands(page):
        if words[:1] == ["make"]:
            assert {word for word in words[1:] if "=" not in word} <= targets, words
        if words[:1] != ["connector"]:
            continue
        command, rest = command_of(without_redirections(words)[1:])
        assert not isinstance(command, click.Group), words
        command.make_context(str(command.name), rest)  # raises UsageError


@each_row("page", CURRENT, ids=by_name)
def test_commands_in_the_text_exist(page: Path) -> None:
    """So do those in the text, with their options; their arguments may be placeholders."""
    named = re.findall(r"`(?:[^`\n]*python -m )?connector ([a-z][^`]*)`", prose(page))
    named += re.findall(r"^ExecStart=.* -m connector (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    for found in named:
        words = found.split(" && ")[0].split()
        command, rest = command_of([word for word in words if not re.match(r"[A-Z]+$", word)])
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= known, found


def test_commands_in_the_documentation_are_found() -> None:
    """The tests above see the commands at all: the README's first steps, and one of each command group."""
    seen = {" ".join(words[:3]) for page in CURRENT for words in shell_commands(page) if words[:1] == ["connector"]}
    assert {"connector check", "connector simulate acme", "connector webhooks register"} <= seen
    assert len(seen) > 20


def stores_files(page: Path) -> list[str]:
    """Return the page's TOML blocks that describe a whole store."""
    blocks = FENCED.findall(page.read_text(encoding="utf-8"))
    return [block for _, language, block in blocks if language == "toml" and "platform =" in block]


def test_the_store_of_a_host_without_files_is_valid() -> None:
    """docs/running.md, with the variables that app.json and render.yaml ask for."""
    (text,) = stores_files(ROOT / "docs" / "running.md")
    named = set(re.findall(r"\$\{(\w+)\}", text))
    assert named == {name for name in json.loads((ROOT / "app.json").read_text())["env"] if name.startswith("SHOP_")}
    assert named <= set(re.findall(r"key: (\w+)", (ROOT / "render.yaml").read_text()))
    assert list(load({"STORES_TOML": text, **dict.fromkeys(named, "text-of-a-variable")}).stores) == ["acme"]


@each_row("page", sorted((ROOT / "docs").glob("quickstart-*.md")), ids=by_name)
def test_what_check_says_once_live(page: Path) -> None:
    """The store of the quickstart without its test_event_code: `connector check` says what the page says."""
    (quoted,) = re.findall(r"it says `([^`]+)`", prose(page))
    text = re.sub("^test_event_code.*$", "", stores_files(page)[0], flags=re.MULTILINE)
    environ = dict.fromkeys(re.findall(r"\$\{(\w+)\}", text), "text-of-a-variable")
    (store,) = load({"STORES_TOML": text, **environ}).stores.values()
    assert quoted in list(plain_words(store))


def test_what_readyz_says_of_the_relay() -> None:
    """Its words in docs/running.md are those of the code, numbers aside."""
    words = re.findall(r'`"(?:relay|overdue)":"(.+?)"`', (ROOT / "docs" / "running.md").read_text(encoding="utf-8"))
    assert len(set(words)) == 4
    code = (ROOT / "connector" / "web" / "relay_watch.py").read_text(encoding="utf-8")
    assert [each for each in words if re.split(r" \d| …", each)[0] not in code] == []


def test_how_far_clocks_may_differ() -> None:
    """Less than what is left of the shortest lease, and of a heartbeat's worth, when it is renewed."""
    said = re.search(r"within (\d+) seconds of each other", prose(ROOT / "docs" / "delivery.md"))
    assert said
    apart = float(said[1])
    assert apart < reconcile.LEASE_SECONDS - 2 * reconcile.TICK
    assert apart < RELAY_SILENT - 2 * HEARTBEAT
    assert apart < LEASE - LONGEST_REQUEST


@pytest.fixture(scope="module")
def documented_platform(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package of docs/adding-a-platform.md, built and installed as printed."""
    folder = tmp_path_factory.mktemp("documented")
    blocks = {name: block for _, name, block in reversed(FENCED.findall(ADDING.read_text(encoding="utf-8")))}
    source = folder / "connector-myshop"
    source.mkdir()
    (source / "pyproject.toml").write_text(blocks["toml"])
    (source / "connector_myshop.py").write_text(blocks["python"])
    (folder / "order.json").write_text(blocks["json"])
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    pip = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder / "installed"), str(source)]
    subprocess.run(pip, check=True)
    return folder


@pytest.mark.processes
def test_the_documented_platform_previews_its_order(documented_platform: Path) -> None:
    """As the page's command does."""
    (stores,) = stores_files(ADDING)
    environ = {"STORES_TOML": stores, **SECRETS, "PYTHONPATH": str(documented_platform / "installed")}
    order = str(documented_platform / "order.json")
    command = [sys.executable, "-m", "connector", "preview", "mugs", order, "--topic", "order.placed"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    placed, paid = json.loads(done.stdout)["events"]
    assert (placed["event"], paid["event"]) == ("PlaceAnOrder", "Purchase")
    assert placed["event_id"] == paid["event_id"] == "mugs-order-1001"
    assert placed["properties"] == {
        "contents": [{"content_id": "MUG-1", "quantity": 2, "price": 11.9}],
        "content_type": "product", "num_items": 2, "order_id": "1001", "currency": "EUR", "value": 23.8,
    }  # fmt: skip
    assert set(placed["user"]) == {"email", "external_id"}


@pytest.mark.processes
def test_the_documented_platform_takes_a_signed_webhook(documented_platform: Path) -> None:
    """Through the application: signed, with a wrong signature, of another shop, a repeated one, no order, cancelled."""
    (stores,) = stores_files(ADDING)
    code = f"""
from datetime import UTC, datetime
from connector.config.settings import load
from connector.config.summary import plain_words
from connector.core.registry import installed_platforms
from connector.outbox.queries import EventFilter, OutboxQueries
from connector.storage.database import Database
from connector.storage.engine import connect, migrate
from tests.support.web import client_of
from tests.support.rows import each_row

url = 'sqlite:///{documented_platform}/connector.db'
config = load({{'STORES_TOML': {stores!r}, 'DATABASE_URL': url}} | {SECRETS!r})
engine = connect(url)
migrate(engine)
database = Database(engine)
client = client_of(config, database, installed_platforms())
now = datetime.now(UTC).isoformat()
order = json.load(open('{documented_platform}/order.json')) | {{'created_at': now, 'paid_at': now}}


def send(secret='s3cret', shop='mugs.example', **changes):
    body = json.dumps(order | changes).encode()
    headers = installed_platforms()['myshop'].signed_headers(body, secret)
    headers |= {{'X-MyShop-Topic': 'order.placed', 'X-MyShop-Shop': shop}}
    answer = client.post('/webhooks/mugs', data=body, headers=headers)
    return [answer.status_code, answer.json.get('outcome')]


answers = [send(), send(), send('wrong'), send(shop='other.example'), send(id=None), send(id=1002, cancelled=True)]
events = sorted([row.event, row.event_id] for row in OutboxQueries(database).find(EventFilter(), 10))
print(json.dumps([answers, events]))
"""
    answers, events = python(code, path=[documented_platform / "installed"])
    assert answers == [
        [200, "relayed"], [200, "duplicate"], [401, None], [200, "parked"], [200, "parked"], [200, "skipped"]
    ]  # fmt: skip
    assert events == [["PlaceAnOrder", "mugs-order-1001"], ["Purchase", "mugs-order-1001"]]


def test_reasons_for_skipping_are_those_of_the_code() -> None:
    """What docs/mapping.md lists is what `events show` says: its longest part without a placeholder is in the code."""
    section = (ROOT / "docs" / "mapping.md").read_text(encoding="utf-8").partition("## Why something is skipped")[2]
    table = re.findall(r"^\| (`.+?) \|", section.partition("\n## ")[0], re.MULTILINE)
    reasons = [reason for row in table for reason in re.findall(r"`([^`]{8,})`", row)]
    assert len(reasons) > 15
    folders = ("connector", "platforms")
    code = "".join(file.read_text(encoding="utf-8") for folder in folders for file in (ROOT / folder).rglob("*.py"))
    parts = [max(re.split(r"…|: |'|\b[A-Z]{3,}\b|\d+h", reason), key=len).strip(" ().") for reason in reasons]
    assert [part for part in parts if part not in code] == []
