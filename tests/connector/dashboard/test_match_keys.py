"""The page of match keys over weeks: lines that stay inside the picture, and the same numbers as a table."""

import re
import time

import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from connector.core.units import DAY
from connector.dashboard.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH
from connector.dashboard.line_chart import HALF_LABEL, LineChart
from connector.storage.tables import tallies
from tests.support.admin_site import Site, entered
from tests.support.rows import each_row

PIXEL = "CACME000000000000000"
SHARES = st.lists(st.none() | st.floats(0, 1), max_size=70)


@given(SHARES)
def test_every_line_is_inside_the_picture(shares: list[float | None]) -> None:
    """A gap ends a line, and one day alone is a point."""
    days = [number * DAY for number in range(len(shares))]
    chart = LineChart("Purchase", {"key-0": "email"}, days, {"key-0": shares})
    lines = [*chart.lines()]
    points = [tuple(map(float, point.split(","))) for line in lines for point in line.points.split()]
    assert all(LEFT <= x <= WIDTH - RIGHT and TOP <= y <= HEIGHT - BOTTOM for x, y in points)
    parts = "".join("." if share is None else "x" for share in shares).split(".")
    assert len(lines) == len([part for part in parts if part])
    assert all(label.x >= LEFT and label.x + HALF_LABEL < WIDTH for label in chart.time_labels())
    assert len(chart.table("t").rows) == len(shares) - shares.count(None)


@each_row(
    ("shares", "said"),
    [
        ([], "–"),
        ([None], "–"),
        ([0.5, None], "50%"),
        ([0.001], "1%"),
        ([0.999], "99%"),
        ([1.0], "100%"),
        ([0.675], "68%"),
    ],
)
def test_the_last_share_is_rounded_as_everywhere(shares: list[float | None], said: str) -> None:
    """Only all is 100 %, and only nothing is 0 %."""
    days = [number * DAY for number in range(len(shares))]
    assert LineChart("Purchase", {"key-0": "email"}, days, {"key-0": shares}).last("key-0") == said


def test_the_page(site: Site) -> None:
    """A chart for each event of one store, of the seven days up to each; a store without events says so."""
    today = int(time.time()) // DAY * DAY
    with site.engine.begin() as connection:
        connection.execute(sa.delete(tallies))
        for ago, detail, count in ((1, "email phone", 30), (1, "email", 10), (2, "email", 60), (1, "email ttp", 999)):
            row = {"store": "acme", "what": "keys", "pixel": PIXEL, "event": "Purchase", "detail": detail}
            connection.execute(sa.insert(tallies).values(row | {"hour": today - ago * DAY, "count": count}))
    inside = entered(site)
    page = inside.get("/match-keys").text
    assert re.search(r"<figcaption[^>]*>Purchase</figcaption>", page)
    assert "email 100%, phone 3%, external id 0%" in page
    assert "ttp 91%" in page
    assert page.count("<polyline") > 6
    empty = inside.get("/match-keys?store=beans").text
    assert "There is no line yet" in empty
    assert '<a href="/setup/beans">' in empty
    table = inside.get("/match-keys?csv=keys-acme-1").text.splitlines()
    assert table[0].startswith('\ufeff"seven days up to","email, %","phone, %"')
    assert table[1].split(",")[1:3] == ["100", "3"]
    assert "/match-keys" in inside.get("/").text
