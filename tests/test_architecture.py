"""The directions of imports: the contracts of pyproject.toml hold, and every folder says what may come in."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.rows import each_row

ROOT = Path(__file__).parents[1]
FOLDERS = sorted(file.parent for file in (ROOT / "connector").rglob("__init__.py") if "migrations" not in file.parts)


@pytest.mark.processes
def test_contracts():
    """Every contract of [tool.importlinter] is kept; the one of layers is exhaustive, so no folder is without a row."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    environ = {**os.environ, "PYTHONUTF8": "1"}  # the report is drawn with more than ASCII
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@each_row("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_every_folder_says_what_may_come_in(folder):
    """Its `__init__` has a docstring."""
    assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))


def test_every_folder_is_on_the_page_about_the_architecture():
    """docs/architecture.md has one row for each folder of `connector`, and no row for one that is gone."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)/` \|", page, re.MULTILINE)
    folders = [folder.name for folder in FOLDERS if folder.parent == ROOT / "connector"]
    assert sorted(rows) == sorted(folders)


# The built-in ones; `signed` is an ordinary word.
PLATFORMS = sorted(folder.name for folder in (ROOT / "platforms").iterdir() if (folder / "__init__.py").is_file())
# Where the connector names one: help texts that say what an example is of, and a path of TikTok's own.
NAMED = {
    "cli/snippet.py": ["WooCommerce: keep TikTok's own plugin", "WooCommerce: only send signals to the server"],
    "cli/backfill.py": ["A Shopify app can read the last 60 days of a shop."],
    "plugin/testing/test_conformance.py": ['YARDSTICK = "woocommerce"'],
    "pixel/captured_requests.py": ['"/api/v2/shopify_pixel"'],
}


def test_the_connector_names_no_platform():
    """Neither in code nor in words, but for the lines of NAMED, all of which are there."""
    assert {"bigcommerce", "saleor", "shopify", "shopline", "signed", "woocommerce"} <= {*PLATFORMS}
    named_like = "|".join(name for name in PLATFORMS if name != "signed")
    found = {}
    for file in sorted((ROOT / "connector").rglob("*")):
        if file.is_file() and file.suffix != ".pyc":
            lines = file.read_text(encoding="utf-8").splitlines()
            named = [line for line in lines if re.search(named_like, line, re.IGNORECASE)]
            if named:
                found[file.relative_to(ROOT / "connector").as_posix()] = named
    assert found.keys() == NAMED.keys()
    for name, lines in found.items():
        assert len(lines) == len(NAMED[name])
        assert all(expected in line for expected, line in zip(NAMED[name], lines, strict=True)), lines
