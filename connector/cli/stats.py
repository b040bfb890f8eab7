"""`connector stats`: a store's events of the last days by outcome, match-key coverage and value."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from connector.cli.context import configuration, database, open_database, store_named
from connector.core.text import delay, duration, how_many, percent

if TYPE_CHECKING:
    from connector.core.store import Store
    from connector.monitoring.event_stats import Statistic
    from connector.monitoring.merges import Merges


@click.command()
@click.argument("store")
@click.option("--days", default=7, show_default=True, type=click.IntRange(1, 90), help="Number of days to include.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def stats(store: str, days: int, as_json: bool) -> None:
    """Print STORE's events by outcome, match keys and value.

    Also new and returning customers. Test events are separate.
    """
    import msgspec

    from connector.monitoring.book_sums import Books, net_values
    from connector.monitoring.event_stats import DELAYS, EventStats
    from connector.monitoring.merges import Merges

    config = configuration()
    chosen = store_named(config, store)
    now = datetime.now(UTC).timestamp()

    def read() -> "list[Statistic]":
        since = now - days * 86_400
        kinds = ("sent", "tested", "keys", "customers", "value", "funnel", "fetched", "skipped", "relayed", "seconds")
        return EventStats(open_database(config)).read([store], (*kinds, *DELAYS), since, now + 1, 86_400)

    statistics = database(read)
    summary = summarize([one for one in statistics if one.what not in ("skipped", "relayed")])
    summary["skipped"] = skipped_by_reason(statistics, store)
    if chosen.meter:
        summary["copies"] = database(
            lambda: copies(Merges(open_database(config)), chosen, now - days * 86_400, now + 1)
        )
    if chosen.books:
        start = now - days * 86_400
        summary["books"] = database(lambda: net_values(Books(open_database(config)), store, start, now + 1))
    if as_json:
        result = {"store": store, "days": days} | summary
        click.echo(msgspec.json.Encoder(decimal_format="number").encode(result).decode())
        return
    for line in _format(summary):
        click.echo(line)


def skipped_by_reason(statistics: "list[Statistic]", store: str) -> dict[str, Any]:
    """Return the webhooks about orders that were skipped and relayed, and all that were skipped by reason."""
    from connector.monitoring.skips import skips_of

    skips = skips_of(statistics, store)
    reasons = [
        {"reason": one.reason, "webhooks": one.number, "meaning": one.explanation.meaning}
        | {"setting": one.explanation.setting}
        for one in skips.reasons
    ]
    return {"orders_skipped": skips.orders_skipped, "orders_relayed": skips.orders_relayed, "reasons": reasons}


def copies(merges: "Merges", store: "Store", since: float, until: float) -> list[dict[str, Any]]:
    """Return what TikTok makes of the copies of browser and server, by pixel and event; times in seconds."""
    names = ("orders", "merged", "dropped", "server", "browser", "twice", "blocked", "same", "differs", "median", "p95")
    return [
        {"pixel": line.pixel, "event": line.event} | {name: getattr(line, name) for name in names}
        for line in merges.lines(store, since, until)
    ]


def summarize(statistics: "list[Statistic]") -> dict[str, Any]:
    """Return for each pixel and event: outcomes, accepted events, match keys, customers, and value by currency.

    `browsers` has what browsers reported, by milestone ("" if it is not known) and outcome; `fetched` has what thin
    webhooks named, by kind and outcome.
    """
    from connector.monitoring.event_stats import CUSTOMERS, major_units, match_key_counts, median_delays

    apart: dict[str, dict[str, Counter[str]]] = {"funnel": {}, "fetched": {}}
    for one in (statistic for statistic in statistics if statistic.what in apart):
        apart[one.what].setdefault(one.event, Counter())[one.detail] += one.count
    statistics = [statistic for statistic in statistics if statistic.what not in apart]
    events = []
    for pixel, event in sorted({(statistic.pixel, statistic.event) for statistic in statistics}):
        group = [statistic for statistic in statistics if (statistic.pixel, statistic.event) == (pixel, event)]
        count: dict[str, Counter[str]] = {what: Counter() for what in ("sent", "tested", "customers", "value")}
        for statistic in group:
            count.setdefault(statistic.what, Counter())[statistic.detail] += statistic.count
        keys = [statistic for statistic in group if statistic.what == "keys"]
        events.append(
            {
                "pixel": pixel,
                "event": event,
                "sent": dict(sorted(count["sent"].items())),
                "tested": dict(sorted(count["tested"].items())),
                "accepted": sum(statistic.count for statistic in keys),
                "delay_seconds": median_delays(group),
                "match_keys": match_key_counts(keys),
                "customers": {name: count["customers"][name] for name in CUSTOMERS if count["customers"][name]},
                "value": {currency: major_units(units, currency) for currency, units in sorted(count["value"].items())},
            }
        )
    browsers, fetched = (
        {key: dict(sorted(found.items())) for key, found in sorted(apart[what].items())} for what in apart
    )
    return {"events": events, "browsers": browsers, "fetched": fetched}


def _format(summary: dict[str, Any]) -> Iterator[str]:
    if not summary["events"]:
        yield "No events were sent in this period."
    several = len({event["pixel"] for event in summary["events"]}) > 1
    for event in summary["events"]:
        yield event["event"] + (f" (pixel {event['pixel']})" if several else "")
        yield from _format_event(event)
        for line in summary.get("books", ()):
            if (line["pixel"], line["event"]) == (event["pixel"], event["event"]):
                stayed = f" ({percent(line['net'], line['sent'], 1)} stayed)" if line["sent"] else ""
                parts = ", ".join(f"{name} {line[name]}" for name in ("sent", "cancelled", "refunded", "net"))
                yield f"  {'books':<14}{parts} {line['currency']}{stayed}"

    yield from _format_skipped(summary["skipped"])
    yield from _copy_lines(summary.get("copies", ()))
    for title, part in (
        ("Reported by browsers", summary["browsers"]),
        ("Fetched from the shop, after webhooks that only name it", summary["fetched"]),
    ):
        if part:
            yield title
        for key, outcomes in part.items():
            told = ", ".join(f"{number} {outcome.replace('_', ' ')}" for outcome, number in outcomes.items())
            yield f"  {key or '(not known)':<19}{told}"


def _copy_lines(found: Iterable[dict[str, Any]]) -> Iterator[str]:
    titles = {
        "merged": "merged",
        "dropped": "dropped as late copies",
        "server": "server only",
        "browser": "browser only",
        "twice": "counted twice",
    }
    for number, line in enumerate(found):
        if not number:
            yield "Copies of browser and server"
        shares = (
            f"{percent(line[name], line['orders'], 1)} {title}" for name, title in titles.items() if line["orders"]
        )
        yield f"  {line['event']} (pixel {line['pixel']}), {how_many(line['orders'], 'order')}: {', '.join(shares)}"
        if line["median"] is not None:
            yield f"    apart {duration(line['median'])} (median), {duration(line['p95'])} (95 %)"
        if line["differs"]:
            yield f"    {line['differs']} of {line['same'] + line['differs']} have another value in the browser's copy"


def _format_event(event: dict[str, Any]) -> Iterator[str]:
    from connector.monitoring.event_stats import DELAYS, KEYS

    for title, outcomes in (("sent", event["sent"]), ("Test Events", event["tested"])):
        if outcomes:
            yield f"  {title:<14}" + ", ".join(_outcome(*pair) for pair in outcomes.items())
    if accepted := event["accepted"]:
        shares = (f"{key} {percent(event['match_keys'][key], accepted)}" for key in KEYS)
        yield f"  {'match keys':<14}" + ", ".join(shares)
    if customers := event["customers"]:
        unknown = event["accepted"] - sum(customers.values())
        counted = customers | ({"unknown": unknown} if unknown else {})
        yield f"  {'customers':<14}" + ", ".join(f"{number} {name}" for name, number in counted.items())
    delays = event["delay_seconds"]
    if "seconds" in delays:
        parts = ", ".join(f"{whose} {delay(delays[what])}" for what, whose in DELAYS.items() if what in delays)
        yield f"  {'median delay':<14}{delay(delays['seconds'])}" + (f" ({parts})" if parts else "")
    if event["value"]:
        amounts = (f"{amount} {currency}" for currency, amount in event["value"].items())
        yield f"  {'value':<14}" + ", ".join(amounts)


def _format_skipped(skipped: dict[str, Any]) -> Iterator[str]:
    if not skipped["reasons"]:
        return
    total = sum(one["webhooks"] for one in skipped["reasons"])
    yield f"Skipped webhooks: {total:,}"
    if skipped["orders_skipped"]:
        orders = skipped["orders_skipped"] + skipped["orders_relayed"]
        share = percent(skipped["orders_skipped"], orders)
        yield f"  of those about orders, {skipped['orders_skipped']:,} of {orders:,} ({share}) were skipped"
    for one in skipped["reasons"]:
        yield f"  {one['webhooks']:>7,}  {one['reason']}"
        if one["meaning"]:
            yield f"  {'':7}  = {one['meaning']}" + (f" (setting: {one['setting']})" if one["setting"] else "")


def _outcome(detail: str, number: int) -> str:
    outcome, _, code = detail.partition(" ")
    return f"{number} {outcome}" + (f" (code {code})" if code not in ("", "0") else "")
