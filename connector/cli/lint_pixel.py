"""`connector lint-pixel`: compares a browser's events with the server's, to tell if TikTok will merge them."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from connector.cli.context import configuration, fail, open_database, store_named

if TYPE_CHECKING:
    from connector.config.settings import Config
    from connector.pixel.lint import FindServerEvent


@click.command("lint-pixel")
@click.argument("store")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def lint_pixel(store: str, file: Path) -> None:
    """Check that TikTok will merge browser and server events.

    Compares the browser's events in FILE with those the connector sends for STORE. FILE is a HAR export, or a pixel
    request copied from the network panel: URL, fetch, cURL or JSON body. If the database contains an event with the
    same event_id, all fields are compared. Exits with code 1 if anything differs.
    """
    from connector.pixel.captured_requests import UnreadableCapture, read_capture
    from connector.pixel.lint import lint

    config = configuration()
    chosen = store_named(config, store)
    try:
        browser_events = read_capture(file.read_bytes().decode("utf-8", "replace"))
    except UnreadableCapture as error:
        fail(f"{file.name}: {error}")
    styles = {"same": ("✓", "green"), "differs": ("✗", "red"), "note": (" ", None)}
    differs = False
    for finding in dict.fromkeys(lint(browser_events, chosen, _find_server_event(config, store))):
        sign, colour = styles[finding.mark]
        click.secho(f"{sign} {finding.text}", fg=colour)
        differs = differs or finding.mark == "differs"
    sys.exit(1 if differs else 0)


def _find_server_event(config: "Config", store: str) -> "FindServerEvent | None":
    """Return a function that reads an event from the outbox; None if there is no readable database."""
    import msgspec
    from sqlalchemy import make_url

    from connector.funnel.queue import FunnelQueue
    from connector.outbox.queries import OutboxQueries

    if config.database_url.startswith("sqlite") and not Path(make_url(config.database_url).database or "").exists():
        return None
    try:
        database = open_database(config)
    except Exception as error:
        click.echo(f"! stored events are not compared: the database cannot be read ({type(error).__name__})", err=True)
        return None

    queries, funnel = OutboxQueries(database), FunnelQueue(database)

    def find(pixel: str, event: str, event_id: str) -> dict[str, object] | None:
        _, rows = queries.show(event_id)
        matching = [
            row for row in rows if (row.store, row.pixel, row.event, row.event_id) == (store, pixel, event, event_id)
        ]
        payload = matching[0].payload if matching else funnel.payload(store, pixel, event, event_id, time.time())
        return msgspec.json.decode(payload) if payload else None

    return find
