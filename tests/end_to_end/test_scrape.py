"""GET /metrics of real processes: the workers' numbers together, over a restart too."""

import os
import random
import signal
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from connector.devtools.simulate import simulate
from connector.server.metrics_folder import PREFIX, default_location
from tests.end_to_end.conftest import System
from tests.support.platforms import SAMPLES

PASSWORD = "correct horse battery"


def metrics_folder(system) -> Path:
    """The folder that this connector's gunicorn made; other connectors may have theirs beside it."""
    (folder,) = default_location().glob(f"{PREFIX}{system.children('web')[0]}-*")
    return folder


def received(url: str) -> float:
    """How many webhooks all workers together have counted; the same whichever answers."""
    answer = httpx.get(f"{url}/metrics", auth=("prometheus", PASSWORD))
    assert answer.status_code == 200
    return sum(
        sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name == "connector_webhooks_received_total"
    )


def test_workers_count_together_and_a_restart_loses_nothing(system) -> None:
    """Counts never fall, or Prometheus would take them for new ones; in the end no file is left."""
    system.environment["ADMIN_PASSWORD"] = PASSWORD
    system.start()
    folder = metrics_folder(system)
    post(system, 1)
    assert any(folder.iterdir())
    assert {received(system.url) for _ in range(8)} == {20}
    old = set(system.children("web")[1:])
    system.parent.send_signal(signal.SIGHUP)
    system.until(lambda: not old & set(system.children("web")), "the workers are replaced", seconds=120)
    system.until(system.ready, "the server is ready again")
    post(system, 2)
    assert {received(system.url) for _ in range(8)} == {40}
    with httpx.Client(base_url=system.url) as browser:  # a session holds in every process, over a restart too
        assert browser.post("/login", data={"password": PASSWORD}).status_code == 303
        assert {browser.get("/").status_code for _ in range(8)} == {200}
    assert system.stop() == 0
    assert not folder.exists()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_kill_leaves_no_folder_behind(system, tmp_path) -> None:
    """The next start removes it, while another connector on the machine keeps its own."""
    (folder := tmp_path / "other").mkdir()
    other = System(folder, f"sqlite:///{folder}/other.db")
    try:
        system.start()
        killed = kill(system, system.children("web")[:1])  # gunicorn, its master
        other.start()
        assert not killed.exists()
        system.start()
        assert (kept := metrics_folder(other)).exists()
        for web in (True, False):
            killed = kill(system, [system.parent.pid, *(system.children("web") if web else [])])
            system.start()
            assert not killed.exists()
            assert kept.exists()
            assert metrics_folder(system).exists()
    finally:
        other.close()


def kill(system, pids) -> Path:
    """Kill these of the system's processes, and wait for the others; returns the folder they had."""
    post(system, 1)
    folder = metrics_folder(system)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert system.parent.wait(120) != 0
    system.until(lambda: not system.children("web") + system.children("relay"), "the children end")
    return folder


def post(system, seed: int) -> None:
    store = system.config.stores["acme"]
    topics = SAMPLES[store.platform].FUNNEL
    report = simulate(store, f"{system.url}/webhooks/acme", topics, 5, random.Random(seed), lambda: None)
    assert report.statuses == {200: 20}
