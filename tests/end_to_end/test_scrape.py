"""GET /metrics of real processes: the workers' numbers together, over a restart too."""

import os
import random
import shutil
import signal
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from connector.devtools.simulate import simulate
from connector.server.metrics_folder import (
    PREFIX,
    create_metrics_folder,
    default_location,
    remove_abandoned_folders,
)
from tests.support.platforms import SAMPLES

PASSWORD = "correct horse battery"
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # all is the same on the other


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


@ON_SQLITE
def test_workers_count_together_and_a_restart_loses_nothing(system) -> None:
    """HUP brings new workers and a new relay; gunicorn, its socket and all counts stay.

    Counts never fall, or Prometheus would take them for new ones. In the end no file is left.
    """
    system.environment["ADMIN_PASSWORD"] = PASSWORD
    system.start()
    folder = metrics_folder(system)
    post(system, 1)
    assert any(folder.iterdir())
    assert {received(system.url) for _ in range(8)} == {20}
    gunicorn, *workers = system.children("web")
    relay = system.children("relay")
    system.parent.send_signal(signal.SIGHUP)
    system.until(lambda: set(relay).isdisjoint(system.children("relay")) and system.ready(), "the relay is new")
    system.until(lambda: set(workers).isdisjoint(system.children("web")), "the workers are new")
    assert system.children("web")[0] == gunicorn
    post(system, 2)
    assert {received(system.url) for _ in range(8)} == {40}
    with httpx.Client(base_url=system.url) as browser:  # a session holds in every process, over a restart too
        assert browser.post("/login", data={"password": PASSWORD}).status_code == 303
        assert {browser.get("/").status_code for _ in range(8)} == {200}
    assert system.stop() == 0
    assert not folder.exists()


@ON_SQLITE
def test_a_kill_leaves_no_folder_behind(system) -> None:
    """The next start of any connector removes it, while those that run keep theirs."""
    of_another = create_metrics_folder(default_location())  # this process is one that runs
    try:
        system.start()
        killed = kill(system, system.children("web")[:1])  # gunicorn, its master
        system.start()
        assert not killed.exists()
        assert metrics_folder(system).exists()
        killed = kill(system, [system.parent.pid, *system.children("web")])
        system.start()
        assert not killed.exists()
        killed = kill(system, [system.parent.pid])
        remove_abandoned_folders(default_location())  # as a start does
        assert not killed.exists()
        assert of_another.exists()
    finally:
        shutil.rmtree(of_another)


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
