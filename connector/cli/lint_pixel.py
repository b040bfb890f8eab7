"""`connector lint-pixel`: whether a browser's copy and ours will merge."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from connector.cli.context import configuration, fail, open_database, store_named

if TYPE_CHECKING:
    from connector.config.settings import Config
    from connector.pixel.lint import FindStored


@click.command("lint-pixel")
@click.argument("store")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def lint_pixel(store: str, file: Path) -> None:
    """Say whether what a browser sent to TikTok's pixel (FILE) and what we send for STORE will merge.

    FILE is a HAR export, or the pixel's request as copied from the network panel: URL, fetch, cURL or JSON body.
    Where the database has the event of that event_id, the two are compared in full. Exit 1 when something differs.
    """
    from connector.pixel.captured_requests import UnreadableCapture, read_capture
    from connector.pixel.lint import lint

    config = configuration()
    chosen = store_named(config, store)
    try:
        sent = read_capture(file.read_bytes().decode("utf-8", "replace"))
    except UnreadableCapture as error:
        fail(f"{file.name}: {error}")
    marks = {"same": ("✓", "green"), "differs": ("✗", "red"), "note": (" ", None)}
    differs = False
    for finding in dict.fromkeys(lint(sent, chosen, _stored(config, store))):
        sign, colour = marks[finding.mark]
        click.secho(f"{sign} {finding.text}", fg=colour)
        differs = differs or finding.mark == "differs"
    sys.exit(1 if differs else 0)


def _stored(config: "Config", store: str) -> "FindStored | None":
    """What the outbox has of an event; None where there is no database to ask."""
    import msgspec
    from sqlalchemy import make_url

    from connector.outbox.queries import OutboxQueries

    if config.database_url.startswith("sqlite") and not Path(make_url(config.database_url).database or "").exists():
        return None
    try:
        queries = OutboxQueries(open_database(config))
    except Exception as error:
        click.echo(f"! stored events are not compared: the database cannot be read ({type(error).__name__})", err=True)
        return None

    def find(pixel: str, event: str, event_id: str) -> dict[str, object] | None:
        _, rows = queries.show(event_id)
        found = [
            row for row in rows if (row.store, row.pixel, row.event, row.event_id) == (store, pixel, event, event_id)
        ]
        return msgspec.json.decode(found[0].payload) if found and found[0].payload else None

    return find
