"""What a person may see of a payload."""

import json

import msgspec

from connector.mapping.redaction import redacted
from tests.support.rows import each_row


def test_only_the_beginning_of_what_identifies_is_shown() -> None:
    """Hashes, values and places stay as they were sent."""
    item = {
        "event_id": "acme-order-1",
        "user": {"email": "a" * 64, "ip": "203.0.113.7", "user_agent": "Mozilla/5.0 (X11)", "ttclid": "E.C.P.abcdef"},
        "page": {"url": "https://acme.example/a?ttclid=E.C.P.abcdef", "referrer": "https://acme.example/?ttclid=E.C.P"},
        "properties": {"value": 1},
    }
    assert json.loads(redacted(json.dumps(item).encode())) == item | {
        "user": {"email": "a" * 64, "ip": "203.…", "user_agent": "Mozi…", "ttclid": "E.C.…"},
        "page": {"url": "https://acme.example/a", "referrer": "https://acme.example/"},
    }


def test_numbers_keep_their_digits_and_lines_can_be_broken() -> None:
    """44.50 was sent, so 44.50 is shown."""
    assert redacted(b'{"properties":{"value":44.50}}') == '{"properties":{"value":44.50}}'
    assert redacted(b'{"value":44.50}', indent=2) == '{\n  "value": 44.50\n}'


@each_row("item", [[], 1, {"user": []}, {"user": {"ip": ["1.2.3.4"]}}, {"page": {"url": 5}}, {"page": 1}])
def test_whatever_is_stored_can_be_shown(item: object) -> None:
    """Nothing raises."""
    assert "1.2.3.4" not in redacted(msgspec.json.encode(item))


def test_what_is_gone_is_said_to_be() -> None:
    """Payloads are kept for some days."""
    assert redacted(None) == "(no longer kept)"
