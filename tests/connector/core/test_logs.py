"""One line per thing that happened, whatever strangers wrote into it."""

import json
import logging

from connector.core.logs import formatter
from tests.support.rows import each_row


def line(form: str, **extra: str) -> str:
    record = logging.makeLogRecord({"msg": "webhook relayed", "levelno": logging.INFO, "levelname": "INFO", **extra})
    return formatter(form).format(record)


@each_row("odd", ["a\nb", "a\x1b[2Jb", "a\u2028b", "a\x9bb", "a\u202eb", 'a "b"\nc'])
def test_a_word_of_a_shopper_makes_no_line_and_commands_no_terminal(odd: str) -> None:
    """An event_id may hold a cart attribute, which anybody at a checkout can write."""
    text = line("text", event_ids=odd)
    assert text.isprintable()
    assert json.loads(text.partition("event_ids=")[2]) == odd
    assert json.loads(line("json", event_ids=odd))["event_ids"] == odd


def test_words_are_shown_as_they_are() -> None:
    """Quoted only where a gap would tear them apart."""
    assert line("text", event_ids="acme-ordér-1", reason="no consent é").endswith(
        'webhook relayed  event_ids=acme-ordér-1 reason="no consent é"'
    )
