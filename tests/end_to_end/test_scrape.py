"""GET /metrics of real processes: the workers' numbers together, over a restart too."""

import random
import signal
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from connector.devtools.simulate import simulate
from platforms.samples import SAMPLES

PASSWORD = "correct horse battery"
MEMORY = Path("/dev/shm")


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
    before = set(MEMORY.glob("connector-metrics-*"))
    system.environment["ADMIN_PASSWORD"] = PASSWORD
    system.start()
    post(system, 1)
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
    assert set(MEMORY.glob("connector-metrics-*")) <= before


def post(system, seed: int) -> None:
    store = system.config.stores["acme"]
    topics = SAMPLES[store.platform].FUNNEL
    report = simulate(store, f"{system.url}/webhooks/acme", topics, 5, random.Random(seed), lambda: None)
    assert report.statuses == {200: 20}
