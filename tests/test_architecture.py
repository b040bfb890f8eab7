"""The directions of imports: the contracts of pyproject.toml hold, and every module has a place in them."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_contracts():
    """Every contract of [tool.importlinter] is kept."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    environ = {**os.environ, "PYTHONUTF8": "1"}  # the report is drawn with more than ASCII
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_module_has_a_layer():
    """A module that no layer names could import anything."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layered = {
        name for one in contracts if one["type"] == "layers" for name in re.findall(r"[\w.]+", str(one["layers"]))
    }
    files = (ROOT / "connector").iterdir()
    modules = {f"connector.{file.stem}" for file in files if file.suffix == ".py" or (file / "__init__.py").exists()}
    assert modules - layered == {"connector.__init__"}


def test_the_readme_names_every_room():
    """Its file map is how a reader finds a module."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    plan = readme.partition("## How it is built")[2].partition("    platforms/")[0]
    files = (ROOT / "connector").iterdir()
    rooms = {file.stem for file in files if file.suffix in ("", ".py") and not file.name.startswith((".", "__"))}
    assert rooms - set(re.findall(r"\w+", plan)) == set()
