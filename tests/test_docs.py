"""The documentation: links and anchors resolve, and every command in it exists with the options it is given."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from connector.cli.main import main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
CURRENT = [page for page in PAGES if page.name != "CHANGELOG.md"]  # a changelog may name what is gone
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
NAMED_FILES = ("order.json", "copied.har", "file")  # the files that commands in the documentation read


def prose(page: Path) -> str:
    """Return the page without its fenced blocks."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def by_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=by_name)
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


@pytest.mark.parametrize("page", CURRENT, ids=by_name)
def test_paths_in_the_text_exist(page: Path) -> None:
    """So does every file and folder of the code that the text names."""
    named = set(re.findall(r"`((?:connector|platforms|tests|docs)/[\w./]+)`", prose(page)))
    assert {path for path in named if "NAME" not in path and not (ROOT / path).exists()} == set()


def test_the_reading_order_is_of_ten_files() -> None:
    """docs/architecture.md leads through an order in ten files or fewer, the HTTP entry first."""
    section = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("## Reading order")[2]
    files = re.findall(r"^\d+\. `([\w/.]+\.py)`", section.partition("\n## ")[0], re.MULTILINE)
    assert 5 < len(files) <= 10
    assert files[0] == "connector/web/webhook_endpoint.py"
    assert files[-1] == "connector/relay/events_api.py"


def test_every_page_is_linked_from_the_readme() -> None:
    readme = set(LINK.findall(prose(ROOT / "README.md")))
    assert {f"docs/{page.name}" for page in PAGES if page.parent != ROOT} <= readme


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def shell_commands(page: Path) -> Iterator[list[str]]:
    """Yield the words of each simple command in the page's shell blocks, without assignments and redirections."""
    for _, language, block in FENCED.findall(page.read_text(encoding="utf-8")):
        if language != "sh":
            continue
        for line in block.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            words: list[str] = []
            for token in [*lexer, ";"]:
                if set(token) <= set("&|;"):
                    yield words
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


@pytest.mark.parametrize("page", CURRENT, ids=by_name)
def test_commands_in_the_text_exist(page: Path) -> None:
    """So do those in the text, with their options; their arguments may be placeholders."""
    for found in re.findall(r"`connector ([a-z][^`]*)`", prose(page)):
        words = found.split(" && ")[0].split()
        command, rest = command_of([word for word in words if not re.match(r"[A-Z]+$", word)])
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= known, found


def test_commands_in_the_documentation_are_found() -> None:
    """The tests above see the commands at all: the README's first steps, and one of each command group."""
    seen = {" ".join(words[:3]) for page in CURRENT for words in shell_commands(page) if words[:1] == ["connector"]}
    assert {"connector check", "connector simulate acme", "connector webhooks register"} <= seen
    assert len(seen) > 20


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
