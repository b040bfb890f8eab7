"""The README's way from a clone to a first accepted event, line by line."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.ports import ReservedPort

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("## From clone to a first accepted event")[2].partition("\n## ")[0]
PATIENCE = 180  # seconds


def blocks(language: str) -> list[str]:
    """The section's fenced blocks of a language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", SECTION, re.DOTALL | re.MULTILINE)
    return [block for name, block in found if name == language]


def shapes(printed: str) -> set[str]:
    """The lines without what is another at each run: times, ids, and the events' order."""
    changing = (
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|(?<= )\d(?=  acme )|(?<=-order-)\w+|(?<=-customer-)\w+|(?<=-checkout-)\w+"
    )
    return {re.sub(changing, "*", line) for line in printed.splitlines()}


def lines() -> list[str]:
    """The commands, but those that make the clone and its .venv: the tests run in both already."""
    found = blocks("sh")[0].splitlines()
    assert [line.split()[0] for line in found[:3]] == ["git", "make", "."]
    assert len(found) <= 10
    return found[3:]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with what the commands name, and `connector` on the path."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    connector = tmp_path / "bin" / "connector"
    connector.parent.mkdir()
    connector.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m connector "$@"\n')
    connector.chmod(0o755)
    return tmp_path


@pytest.mark.skipif(not shutil.which("curl") or not shutil.which("bash"), reason="the README's commands need curl")
def test_the_first_steps_lead_to_accepted_events(clone: Path) -> None:
    """As printed, but for two free ports; then a checklist that is all green, and the typo that the README suggests."""
    with ReservedPort() as server, ReservedPort() as sandbox:
        printed = follow(clone, {"8000": str(server), "9090": str(sandbox)})
    assert "4 × 200" in printed
    documented = shapes(blocks("")[0])
    assert len(documented) == 4
    assert documented <= shapes(printed), printed
    message = re.search(r"`(stores\.acme\.consnet: [^`]+)`", SECTION)
    assert message
    assert message[1] in printed
    assert re.search(r"\n(\d+) of \1 done\nchecklist 0\n", printed), printed
    assert "exit 1" in printed


def follow(clone: Path, ports: Mapping[str, str]) -> str:
    """Run the commands with these ports in place of the documented ones; return what they print."""
    script = "\n".join(lines()).replace("connector sandbox", f"connector sandbox --port {ports['9090']}")
    script += """
    until curl -s http://127.0.0.1:9090/counts | grep -q '"accepted": *3,'; do sleep 0.1; done
    until [ "$(connector events list | grep -c ' accepted ')" = 3 ]; do sleep 0.3; done
    connector events list
    connector check --live acme --app-off; echo "checklist $?"
    sed -i 's/^consent/consnet/' stores.toml
    connector check; echo "exit $?"
    kill %1 %2; wait
    """
    for documented, free in ports.items():
        script = script.replace(f"127.0.0.1:{documented}", f"127.0.0.1:{free}")
    environment = {
        "PATH": f"{clone / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PORT": ports["8000"],
        "HOME": str(clone),
        "WEB_CONCURRENCY": "1",
    }
    with subprocess.Popen(
        ["bash", "-c", script], cwd=clone, env=environment, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as steps:  # fmt: skip
        try:
            printed, _ = steps.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(steps.pid, signal.SIGKILL)
            pytest.fail(steps.communicate()[0])
    return printed
