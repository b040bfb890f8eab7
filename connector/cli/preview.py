"""`connector preview`: the events that bodies would yield, or the difference that other settings would make to them."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

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
from connector.core.text import how_many

if TYPE_CHECKING:
    from connector.core.platform import Platform
    from connector.core.shop_api import Page
    from connector.core.store import Store
    from connector.devtools.comparison import Comparison, Group
    from connector.sync.shop_wait import ShopWait


@click.command()
@click.argument("store")
@click.argument("path", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--topic", help="The webhook's topic of the bodies in PATH, e.g. orders/create or order.updated.")
@click.option(
    "--with", "new_file", type=click.Path(exists=True, path_type=Path),
    help="Another stores file: show what its settings of STORE would change, in place of each body's events.",
)  # fmt: skip
@click.option("--since", help="With --with: read orders and registrations since then from the API; a date, or 7d.")
@click.option("--json", "as_json", is_flag=True, help="With --with: print one JSON object.")
@wait_option("5m")
def preview(
    store: str, path: Path | None, topic: str | None, new_file: Path | None, since: str | None, as_json: bool,
    wait: float,
) -> None:  # fmt: skip
    """Show the events that bodies would yield. Nothing is stored or sent.

    With PATH (a file, or a folder of *.json) and --topic: one JSON line per file, the events that its body yields. No
    signature is needed.

    With --with NEW.toml: what would change if NEW.toml were the stores file. It takes the orders and registrations of
    the shop since --since (keys: [stores.STORE.api]), or the bodies in PATH, through both files' settings, and shows
    which events would disappear, appear or change, with sums by event and currency and ten examples of each change. Age
    limits (max_event_age, go_live) are not applied. Checkouts have no history.
    """
    import msgspec

    from connector.devtools.preview import preview as run

    if (path is None) == (since is None):
        raise click.UsageError("give either a PATH with --topic, or --since with --with")
    if path is not None and not topic:
        raise click.UsageError("PATH needs --topic, the webhooks' topic, like orders/create or order.updated")
    if path is None and new_file is None:
        raise click.UsageError("--since needs --with, the stores file to compare with")
    chosen = store_named(configuration(), store)
    platform = platform_of(chosen)
    if new_file is not None:
        _compare(chosen, _store_of(new_file, chosen), platform, path, topic or "", since, as_json, wait)
        return
    if as_json:
        raise click.UsageError("--json needs --with; without it, the output is JSON in any case")
    for file in _files(path or Path()):
        click.echo(msgspec.json.encode(run(file.read_bytes(), topic or "", chosen, platform)).decode())


def _files(path: Path) -> list[Path]:
    """Return the file itself, or a folder's *.json files. Raises UsageError if there is none."""
    from connector.devtools.preview import files

    try:
        return files(path)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _store_of(file: Path, present: "Store") -> "Store":
    """Return the store of another stores file; if the file is invalid, or lacks the store, exit with a sentence."""
    from connector.config.settings import ConfigError, load

    try:
        stores = load({**os.environ, "CONNECTOR_CONFIG": str(file), "STORES_TOML": ""}).stores
    except ConfigError as error:
        fail(f"{file} cannot be used:\n{error}")
    if present.name not in stores:
        fail(f"{file} has no store {present.name!r}; there are: {', '.join(stores)}")
    new = stores[present.name]
    if new.platform != present.platform:
        fail(f"store {present.name} is of the platform {new.platform} in {file}, of {present.platform} at present")
    return new


def _compare(
    present: "Store", new: "Store", platform: "Platform", path: Path | None, topic: str, since: str | None,
    as_json: bool, wait: float,
) -> None:  # fmt: skip
    import msgspec

    from connector.devtools import comparison as devtools

    comparison = devtools.Comparison(present, new, platform)
    if path is not None:
        if topic not in platform.event_topics:
            fail(f"{topic} yields no events; topics that do: {', '.join(sorted(platform.event_topics))}")
        named = _files(path)
        with counting("bodies") as show:
            for file in named:
                comparison.add(topic, file.read_bytes())
                show(1, len(named))
    else:
        _read_history(comparison, present, new, platform, since or "", wait)
    if as_json:
        found = {"store": present.name} | devtools.as_json(comparison)
        click.echo(msgspec.json.Encoder(decimal_format="number").encode(found).decode())
        return
    for line in format_comparison(comparison):
        click.echo(line)


def _read_history(
    comparison: "Comparison", present: "Store", new: "Store", platform: "Platform", since: str, wait: float
) -> None:
    from connector.core.shop_api import ShopApiError
    from connector.sync.shop_wait import ShopWait

    now = datetime.now(UTC)
    start = datetime.fromtimestamp(parse_time(since) or 0, UTC)
    if start >= now:
        raise click.UsageError("--since must be before now")
    if platform.shop_api is None:
        fail(f"the API of {platform.title} is not supported, so its history cannot be read; give a PATH of bodies")
    sent = {*present.sent_milestones, *new.sent_milestones}
    try:
        with ShopWait(wait, say_of(present.name)) as shop_wait:
            shop_api = platform.shop_api.connect(present, pause=shop_wait.pause)
            if {"order_placed", "order_paid"} & sent:
                _add_pages(comparison, shop_api.orders(start, now, "modified"), "orders", shop_wait)
            if "customer_registered" in sent:
                _add_pages(comparison, shop_api.customers(start, now), "registrations", shop_wait)
    except ShopApiError as error:
        fail(f"store {present.name}: {error}" if f"store {present.name}" not in str(error) else str(error))
    comparison.limit(start)


def _add_pages(comparison: "Comparison", pages: "Iterator[Page]", label: str, shop_wait: "ShopWait") -> None:
    with counting(label) as show:
        for page in pages:
            shop_wait.progress()
            for body in page.bodies:
                comparison.add(page.topic, body)
            show(len(page.bodies), page.total)


# --- as text ---------------------------------------------------------------------------------------------------


def format_comparison(comparison: "Comparison") -> Iterator[str]:
    """Yield the lines of a comparison: what was read, a table of sums, and the differences in groups."""
    names = {"order": "order", "checkout": "checkout", "customer": "registration"}
    read = ", ".join(
        how_many(n, names.get(kind, kind)) for kind, n in sorted(comparison.subjects.items(), reverse=True)
    )
    yield f"{read or 'nothing'} in {how_many(comparison.bodies, 'body', 'bodies')}; age limits are not applied"
    for reason, number in comparison.without_events.most_common():
        yield f"  no event with either settings: {number:,} × {reason}"
    for side, name in enumerate(("present", "new")):
        for reason, number in comparison.failures[side].most_common():
            yield f"  {name} settings: {how_many(number, 'body', 'bodies')} could not be processed: {reason}"
        if waiting := comparison.waiting(side):
            wait = how_many(waiting, "event waits", "events wait")
            yield f"  {name} settings: {wait} for the browser's signals, which may keep one from being sent"
    yield ""
    yield from _table(comparison)
    groups = comparison.groups()
    if not groups:
        yield "\nNothing would change."
    for kind in dict.fromkeys(group.kind for group in groups):
        of_kind = [group for group in groups if group.kind == kind]
        verb = {"disappears": "disappear", "appears": "appear", "changes": "change"}[kind]
        yield f"\n{how_many(sum(group.number for group in of_kind), 'event')} would {verb}"
        for group in of_kind:
            yield from _group(group)


def _table(comparison: "Comparison") -> Iterator[str]:
    sums = comparison.sums()
    pixels = len({total.pixel for total in sums}) > 1
    rows = [("pixel", "event", "", "present", "", "new", "", "difference", "")]
    for total in sums:
        (before, after), (old, new) = total.numbers, total.values
        worth = [f"{amount:,f}" if total.currency else "" for amount in (old, new)]
        change = f"{new - old:+,f}" if total.currency else ""
        amounts = (f"{before:,}", worth[0], f"{after:,}", worth[1], f"{after - before:+,}", change)
        rows.append((total.pixel, total.event, total.currency, *amounts))
    shown = [row if pixels else row[1:] for row in rows]
    left = 3 if pixels else 2
    widths = [max(len(row[column]) for row in shown) for column in range(len(shown[0]))]
    for cells in shown:
        sized = [*zip(cells, widths, strict=True)]
        texts = [cell.ljust(width) for cell, width in sized[:left]] + [
            cell.rjust(width) for cell, width in sized[left:]
        ]
        yield "  ".join(texts).rstrip()


def _group(group: "Group") -> Iterator[str]:
    from connector.devtools.comparison import shown_change

    why = ", ".join(group.fields) or group.reason or "the other settings have no such event or pixel"
    yield f"  {group.number:,} × {group.name}: {why}"
    for one in group.examples:
        yield f"      {one.subject}  {shown_change(one)}"
    if group.number > len(group.examples):
        yield f"      … and {group.number - len(group.examples):,} more"
