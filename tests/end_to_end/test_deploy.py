"""The Procfile as a host runs it: from a copy of the source, and what the other hosts' files promise."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ("connector", "platforms", "Procfile", "requirements.txt", ".python-version")


def procfile():
    return dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines() if line)


def run(command, folder, environment, **more):
    """As a host does: by a shell, in the folder of the source."""
    return subprocess.Popen(
        ["sh", "-c", f"exec {command}"], cwd=folder, env=environment, start_new_session=True, **more
    )


@pytest.fixture
def deployed(tmp_path):
    """A copy of what is committed, without write permission; with Python's caches, or each process would compile it."""
    folder = tmp_path / "app"
    folder.mkdir()
    for name in SOURCE:
        there = ROOT / name
        if there.is_dir():
            shutil.copytree(there, folder / name, ignore=shutil.ignore_patterns("*.pyc.*"))
        else:
            shutil.copy(there, folder / name)
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode & 0o555)
    yield folder
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_the_procfile_runs_from_a_read_only_tree(system, deployed):
    """Release, web and worker; nothing is written into the source, and TERM ends all in good order."""
    before = sorted(deployed.rglob("*"))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = system.environment | {"PATH": path, "PYTHONDONTWRITEBYTECODE": "1", "DYNO": "web.1"}
    commands = procfile()
    release = subprocess.run(
        ["sh", "-c", commands["release"]], cwd=deployed, env=environment, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert release.returncode == 0, release.stdout + release.stderr
    both = [run(commands[name], deployed, environment, stderr=subprocess.DEVNULL) for name in ("web", "worker")]
    try:
        system.until(system.ready, "the server is ready")
        assert httpx.get(f"{system.url}/healthz").json() == {"status": "alive"}
    finally:
        for child in both:
            child.send_signal(signal.SIGTERM)
        statuses = [child.wait(120) for child in both]
    assert statuses == [0, 0]
    assert sorted(deployed.rglob("*")) == before


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_sqlite_on_a_disk_that_vanishes_is_refused(system, deployed):
    """A host's web process with no DATABASE_URL says what to do instead of losing events."""
    environment = {name: text for name, text in system.environment.items() if name != "DATABASE_URL"}
    ended = subprocess.run(
        [sys.executable, "-m", "connector", "serve"], cwd=deployed, env=environment | {"DYNO": "web.1"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "DATABASE_URL" in ended.stderr
    assert "ALLOW_SQLITE" in ended.stderr


def test_the_hosts_files_name_settings_that_exist():
    """Every variable in them is one that the connector reads, or one the stores file names."""
    documented = set(re.findall(r"`([A-Z][A-Z_]+)`", (ROOT / "docs" / "running.md").read_text()))
    named = set(json.loads((ROOT / "app.json").read_text())["env"])
    named |= set(re.findall(r"key: ([A-Z_]+)", (ROOT / "render.yaml").read_text()))
    assert {name for name in named if not name.startswith("SHOP_")} <= documented | {"PYTHON_VERSION"}
    commands = procfile()
    blueprint = (ROOT / "render.yaml").read_text()
    assert f"startCommand: {commands['web']}" in blueprint
    assert f"preDeployCommand: {commands['release']}" in blueprint
