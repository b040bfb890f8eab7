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
    files = [file for file in (ROOT / "connector").rglob("*.py") if "migrations" not in file.parts]
    modules = {str(file.relative_to(ROOT).with_suffix("")).replace("/", ".") for file in files}
    assert {name for name in modules if not name.endswith("__init__") and not _covered(name, layered)} == set()


def _covered(module: str, layered: set[str]) -> bool:
    parts = module.split(".")
    return any(".".join(parts[:length]) in layered for length in range(2, len(parts) + 1))
