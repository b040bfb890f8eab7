"""The items of a checklist. Pure data, rendered by the dashboard and by `connector check --live STORE`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["green", "waiting", "red", "not_applicable"]
Action = Literal["", "check", "register", "test_event", "sample", "app_off"]


@dataclass(frozen=True, slots=True)
class Item:
    """One line: what is so, and the one thing to do.

    `waiting` is not yet, `red` is wrong. `sentence` and `remedy` have commands and settings between backticks. `copy`
    is text for another program or page, as it stands. `action` is what a button does.
    """

    key: str
    title: str
    state: State
    sentence: str
    remedy: str = ""
    copy: str = ""
    action: Action = ""

    @property
    def done(self) -> bool:
        """True if nothing is left to do."""
        return self.state in ("green", "not_applicable")


def progress(items: Sequence[Item]) -> tuple[int, int]:
    """Return how many items are done, and how many there are; those that do not apply are in neither."""
    applicable = [item for item in items if item.state != "not_applicable"]
    return sum(item.done for item in applicable), len(applicable)
