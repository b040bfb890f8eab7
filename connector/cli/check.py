"""`connector check`: describes the configuration, or compares a shop's items with its catalogue."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from connector.cli.context import (
    configuration,
    counting,
    fail,
    parse_time,
    platform_of,
    say_of,
    store_named,
    wait_option,
)
from connector.core.text import how_many, percent

if TYPE_CHECKING:
    from connector.config.settings import Config
    from connector.core.store import Store
    from connector.devtools.catalogue import CatalogueCheck, ItemCount


@click.command()
@click.argument("name", required=False, metavar="[STORE]")
@click.option(
    "--live", is_flag=True, help="Also send requests to TikTok (with a test_event_code), PUBLIC_URL and the shops."
)
@click.option("--app-off", is_flag=True, help="With STORE: note that TikTok's own app is off on the store's pixels.")
@click.option(
    "--catalogue", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A product feed (CSV, TSV or XML): which mapping.content_id matches its ids?",
)  # fmt: skip
@click.option("--store", help="With --catalogue: the store of the feed, if there are several.")
@click.option("--since", default="30d", show_default=True, help="With --catalogue: the orders since then are read.")
@click.option("--json", "as_json", is_flag=True, help="With --catalogue: print one JSON object.")
@wait_option("30s")
def check(
    name: str | None, live: bool, app_off: bool, catalogue: Path | None, store: str | None, since: str, as_json: bool,
    wait: float,
) -> None:  # fmt: skip
    """Describe what this configuration does, and report its errors.

    With --live STORE: print the checklist of the store's setup, as the dashboard's page /setup/STORE shows it. Exits
    with code 1 if a line of it is wrong.

    With --catalogue FEED: take the items of the store's last orders (from the shop's API, keys: [stores.STORE.api])
    through every mapping.content_id and the templates that fit the feed, and say which share of them the catalogue
    knows. TikTok's shopping ads need ids that the catalogue knows; TikTok warns below 80 %.
    """
    config = configuration()
    if catalogue is not None:
        _check_catalogue(config, catalogue, store, since, as_json, wait)
        return
    if store or as_json:
        raise click.UsageError("--store and --json need --catalogue")
    if name and not live:
        raise click.UsageError(f"a STORE needs --live: connector check --live {name}")
    if app_off and not name:
        raise click.UsageError("--app-off needs a STORE: connector check --live STORE --app-off")
    if name:
        _print_checklist(config, store_named(config, name), app_off, wait)
        return
    from connector.devtools.check import check as run
    from connector.sync.shop_wait import ShopWait

    marks = {"ok": ("✓", "green"), "note": (" ", None), "warning": ("!", "yellow"), "fault": ("✗", "red")}
    faults = 0
    for finding in run(config, live, wait_of=lambda name: ShopWait(wait, say_of(name))):
        sign, colour = marks[finding.mark]
        click.secho(f"{sign} {finding.text}", fg=colour)
        faults += finding.mark == "fault"
    sys.exit(1 if faults else 0)


def _print_checklist(config: "Config", store: "Store", app_off: bool, wait: float) -> None:
    """Check shop and TikTok, and print the store's checklist; exit with 1 if something is wrong."""
    from connector.cli.checklist import asked_items, lines

    items = asked_items(config, store, app_off, wait)
    for text, colour in lines(items):
        click.secho(text, fg=colour)
    sys.exit(1 if any(item.state == "red" for item in items) else 0)


def _check_catalogue(
    config: "Config", catalogue: Path, name: str | None, since: str, as_json: bool, wait: float
) -> None:
    import msgspec

    from connector.devtools.catalogue import check_catalogue
    from connector.devtools.feed import FeedError, read_feed

    if name is None and len(config.stores) > 1:
        raise click.UsageError(f"--catalogue needs --store, one of: {', '.join(config.stores)}")
    store = store_named(config, name or next(iter(config.stores)))
    start = parse_time(since) or 0.0
    try:
        feed = read_feed(catalogue)
    except FeedError as error:
        fail(str(error))
    items = _read_items(store, start, wait)
    result = check_catalogue(store, items.lines, feed)
    if as_json:
        click.echo(msgspec.json.encode(_as_json(store, items, result)).decode())
        return
    products = how_many(len(feed.products), "product id")
    groups = f" and {how_many(len(feed.groups), 'group id')}" if feed.groups else ", no column of groups"
    click.echo(
        f"store {store.name}: {how_many(result.lines, 'line')} of {how_many(items.orders, 'order')}; "
        f"the feed has {products}{groups}"
    )
    for line in _format(result):
        click.echo(line)


def _read_items(store: "Store", start: float, wait: float) -> "ItemCount":
    """Count the items of the orders since `start` (Unix seconds), from the shop's API."""
    from connector.core.shop_api import ShopApiError
    from connector.devtools.catalogue import ItemCount
    from connector.sync.shop_wait import ShopWait

    platform, now = platform_of(store), datetime.now(UTC)
    if platform.shop_api is None:
        fail(f"store {store.name}: the API of {platform.title} is not supported, so its orders cannot be read")
    if start >= now.timestamp():
        raise click.UsageError("--since must be before now")
    items = ItemCount(store, platform)
    try:
        with ShopWait(wait, say_of(store.name)) as shop_wait, counting("orders") as show:
            shop_api = platform.shop_api.connect(store, pause=shop_wait.pause)
            for page in shop_api.orders(datetime.fromtimestamp(start, UTC), now, "created"):
                shop_wait.progress()
                for body in page.bodies:
                    items.add(page.topic, body)
                show(len(page.bodies), page.total)
    except ShopApiError as error:
        fail(str(error) if f"store {store.name}" in str(error) else f"store {store.name}: {error}")
    return items


def _format(result: "CatalogueCheck") -> list[str]:
    from connector.devtools.catalogue import MATCHES_SHOWN
    from connector.mapping.properties import content_type

    shown = [match for match in result.matches if match.lines or "{" not in match.choice][:MATCHES_SHOWN]
    if result.present not in shown:
        shown.append(result.present)
    width = max(len(match.choice) for match in shown)
    lines = [
        f"  {match.choice:<{width}}  {content_type(match.choice):<13}  {percent(match.lines, result.lines, 1):>6}"
        + ("  as set" if match.choice == result.present.choice else "")
        for match in shown
        if result.lines
    ]
    if result.unmatched and result.lines:
        lines.append(f"  not in the feed, as {result.matches[0].choice}: {', '.join(result.unmatched)} …")
    return [*lines, result.verdict]


def _as_json(store: "Store", items: "ItemCount", result: "CatalogueCheck") -> dict[str, Any]:
    from connector.mapping.properties import content_type

    return {
        "store": store.name,
        "orders": items.orders,
        "lines": result.lines,
        "items": result.items,
        "present": result.present.choice,
        "best": result.best.choice if result.best else None,
        "verdict": result.verdict,
        "choices": [
            {"content_id": one.choice, "content_type": content_type(one.choice), "lines": one.lines, "share": one.share}
            for one in result.matches
        ],
        "unmatched": result.unmatched,
    }
