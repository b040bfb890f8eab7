"""The files for Grafana and Prometheus, and the page about metrics: every metric they name is one that is served."""

import json
import re
import time
from pathlib import Path

import pytest
from sqlalchemy import Engine

from connector.core.units import DAY
from connector.outbox.notices import NoticeEntry, NoticeTable
from connector.storage.database import Database
from tests.support.admin_site import PASSWORD, Site

DOCS = Path(__file__).parents[3] / "docs"
FILES = ["grafana/dashboard.json", "prometheus/alerts.yml", "metrics.md"]
NAME = re.compile(r"\bconnector_[a-z_]+")


@pytest.fixture
def served(engine: Engine) -> set[str]:
    """The names in an answer of a connector that has lived, with a test event and browsers' events among the rest."""
    site = Site(engine).live()
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO totals (store, what, pixel, event, detail, count) "
            "VALUES ('acme', 'tested', 'C', 'Purchase', 'accepted 0', 1), "
            "('acme', 'customers', 'C', 'Purchase', 'new', 1), ('acme', 'funnel', '', 'cart_added', 'taken', 1), "
            "('acme', 'fetched', '', 'order', 'relayed', 1), "
            "('acme', 'copies', 'C', 'Purchase', 'merged', 1), ('acme', 'amounts', 'C', 'Purchase', 'same', 1)"
        )
        connection.exec_driver_sql(
            "INSERT INTO snippet_reports (store, version, first_at, seen_at) VALUES ('acme', '0123abcd', 1, 1)"
        )
        day = int(time.time()) // DAY * DAY - DAY
        connection.exec_driver_sql(
            "INSERT INTO accuracy (store, day, orders, sent, waiting, skipped, missing, complete, counted_at) "
            f"VALUES ('acme', {day}, 2, 1, 0, '{{}}', '{{}}', 1, {day})"
        )
    NoticeTable(Database(engine)).record(NoticeEntry("acme", "order:1", "changed", "", time.time()))
    answer = site.app.test_client().get("/metrics", auth=("", PASSWORD))
    return {line.partition("{")[0].partition(" ")[0] for line in answer.text.splitlines() if line[:1] != "#"}


@pytest.mark.parametrize("file", FILES)
def test_every_metric_named_is_served(served: set[str], file: str) -> None:
    """A panel of a metric that is gone shows nothing, and an alert never comes."""
    named = set(NAME.findall((DOCS / file).read_text(encoding="utf-8")))
    wholes = served | {name.removesuffix("_bucket") for name in served}
    assert named
    assert named - wholes == set()


def test_every_metric_served_is_explained(served: set[str]) -> None:
    """In the page about them."""
    page = (DOCS / "metrics.md").read_text(encoding="utf-8")
    parts = ("_bucket", "_count", "_sum", "_created")
    bare = {re.sub(f"({'|'.join(parts)})$", "", name) for name in served if name.startswith("connector_")}
    assert {name for name in bare if name not in page and f"{name}_total" not in page} == set()


def test_the_dashboard_can_be_imported() -> None:
    """JSON with what Grafana asks for; panels do not overlap, and each asks something."""
    board = json.loads((DOCS / "grafana/dashboard.json").read_text(encoding="utf-8"))
    assert {"title", "uid", "schemaVersion", "panels", "templating"} <= set(board)
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        x, y, width, height = (panel["gridPos"][name] for name in "xywh")
        cells = {(x + right, y + down) for right in range(width) for down in range(height)}
        assert not cells & taken
        assert x + width <= 24
        taken |= cells
        assert panel["targets"]


def test_every_alert_says_what_to_do() -> None:
    """Each rule has an expression, a severity, a summary and a description."""
    text = (DOCS / "prometheus/alerts.yml").read_text(encoding="utf-8")
    rules = text.split("- alert: ")[1:]
    assert len(rules) == len({rule.splitlines()[0] for rule in rules}) >= 8
    for rule in rules:
        for part in (r"expr: \S", r"severity: (critical|warning)\}", r"summary: \S", r"description: \S"):
            assert re.search(part, rule), (rule.splitlines()[0], part)
        assert "\t" not in rule
        for line in rule.splitlines():  # plain YAML scalars must not hold what ends or begins something
            value = line.partition(": ")[2]
            assert value.startswith(("{", '"')) or (": " not in value and " #" not in value), line
