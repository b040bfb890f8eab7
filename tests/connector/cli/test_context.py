"""connector.cli.context: how far a long command is, on a terminal and where there is none."""

import io
import itertools

from connector.cli.context import LONG, PROGRESS_INTERVAL, counting, progress


class Terminal(io.StringIO):
    """A screen somebody looks at."""

    def isatty(self) -> bool:
        return True


def test_without_a_terminal_a_line_now_and_then_says_how_many_so_far() -> None:
    """A log file is told something, but not everything."""
    log, moments = io.StringIO(), itertools.count(0.0, PROGRESS_INTERVAL / 4)
    with counting("orders", log, lambda: next(moments)) as show:
        for _ in range(7):
            show(250, 4000)
        for _ in range(4):
            show(1, None)
    assert log.getvalue() == "orders: 1000 of 4000 so far\norders: 1751 so far\n"


def test_a_total_that_was_too_small_is_never_passed() -> None:
    """Shops go on while they are read."""
    log, moments = io.StringIO(), itertools.count(0.0, PROGRESS_INTERVAL)
    with counting("orders", log, lambda: next(moments)) as show:
        show(300, 250)
    assert log.getvalue() == "orders: 300 of 300 so far\n"


def test_what_is_soon_done_needs_no_line() -> None:
    """Nor a bare label."""
    log = io.StringIO()
    with counting("orders", log, lambda: 0.0) as show:
        show(5, 5)
    assert log.getvalue() == ""


def test_a_terminal_has_a_bar() -> None:
    """Redrawn in its own line, whose length is known when somebody has said how many there are."""
    screen = Terminal()
    with counting("orders", screen) as show:
        show(100, None)
        show(100, 200)
    assert "\r" in screen.getvalue()
    assert "200/200" in screen.getvalue()


def test_little_work_shows_no_progress(capsys) -> None:
    """A bar that flashes by is only noise."""
    with progress(LONG - 1, "events") as tick:
        tick(LONG - 1)
    assert capsys.readouterr().err == ""
