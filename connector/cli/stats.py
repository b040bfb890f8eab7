"""`connector stats`: a store's numbers of the last days: what was sent, its value, how well people are matched."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from connector.cli.context import configuration, database, open_database, store_named

if TYPE_CHECKING:
    from connector.monitoring.event_stats import Statistic


@click.command()
@click.argument("store")
@click.option("--days", default=7, show_default=True, type=click.IntRange(1, 90), help="How far to look back.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def stats(store: str, days: int, as_json: bool) -> None:
    """What STORE's events came to: sent by outcome, match-key coverage, value by currency. Test events count apart."""
    import msgspec

    from connector.monitoring.event_stats import EventStats

    config = configuration()
    store_named(config, store)
    now = datetime.now(UTC).timestamp()

    def read() -> "list[Statistic]":
        since = now - days * 86_400
        return EventStats(open_database(config)).read(
            [store], ("sent", "tested", "keys", "value"), since, now + 1, 86_400
        )

    found = summary(database(read))
    if as_json:
        answer = {"store": store, "days": days} | found
        click.echo(msgspec.json.Encoder(decimal_format="number").encode(answer).decode())
        return
    for line in _table(found):
        click.echo(line)


def summary(numbers: "list[Statistic]") -> dict[str, Any]:
    """By pixel and event: outcomes, how many had each match key (of how many accepted), value by currency."""
    from connector.monitoring.event_stats import amount, match_key_counts

    events = []
    for pixel, event in sorted({(one.pixel, one.event) for one in numbers}):
        mine = [one for one in numbers if (one.pixel, one.event) == (pixel, event)]
        count: dict[str, Counter[str]] = {what: Counter() for what in ("sent", "tested", "value")}
        for one in mine:
            count.setdefault(one.what, Counter())[one.detail] += one.count
        keys = [one for one in mine if one.what == "keys"]
        events.append(
            {
                "pixel": pixel,
                "event": event,
                "sent": dict(sorted(count["sent"].items())),
                "tested": dict(sorted(count["tested"].items())),
                "accepted": sum(one.count for one in keys),
                "match_keys": match_key_counts(keys),
                "value": {currency: amount(units) for currency, units in sorted(count["value"].items())},
            }
        )
    return {"events": events}


def _table(found: dict[str, Any]) -> Iterator[str]:
    from connector.monitoring.event_stats import KEYS

    if not found["events"]:
        yield "Nothing was sent in these days."
    several = len({one["pixel"] for one in found["events"]}) > 1
    for one in found["events"]:
        yield one["event"] + (f" (pixel {one['pixel']})" if several else "")
        for title, outcomes in (("sent", one["sent"]), ("Test Events", one["tested"])):
            if outcomes:
                yield f"  {title:<14}" + ", ".join(_told(*pair) for pair in outcomes.items())
        if accepted := one["accepted"]:
            shares = (f"{key} {one['match_keys'][key] / accepted:.0%}" for key in KEYS)
            yield f"  {'match keys':<14}" + ", ".join(shares)
        if one["value"]:
            worth = (f"{amount} {currency}" for currency, amount in one["value"].items())
            yield f"  {'value':<14}" + ", ".join(worth)


def _told(detail: str, number: int) -> str:
    outcome, _, code = detail.partition(" ")
    return f"{number} {outcome}" + (f" (code {code})" if code not in ("", "0") else "")
