"""The commands. Thin: each reads its settings, calls one module and prints. Exit 0 done, 1 failed, 2 wrong use."""

import sys
from pathlib import Path

import click

from connector import __version__
from connector.cli.backfill import backfill
from connector.cli.context import configuration, counting, database, fail, platform_of, ready_database, store_named
from connector.cli.erase import erase, export
from connector.cli.events import events
from connector.cli.lint_pixel import lint_pixel
from connector.cli.schema import schema
from connector.cli.snippet import snippet
from connector.cli.stats import stats
from connector.cli.webhooks import webhooks

# Modules are imported where they are used: `connector --help` shall not wait for the database's libraries.


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="connector")
def main() -> None:
    """Relay Shopify and WooCommerce webhooks to the TikTok Events API.

    Settings come from the environment and a stores file (stores.toml); see stores.example.toml and the README.
    """


@main.command()
def serve() -> None:
    """Run the server and a relay; what a PaaS starts. Migrates a SQLite database by itself."""
    from connector.server.supervisor import serve as run

    sys.exit(run())


@main.command(hidden=True)
def ready() -> None:
    """What `serve` does first: look at the configuration, and migrate a SQLite database."""
    ready_database(configuration(), migrate_sqlite=True)


@main.command(hidden=True)
def web() -> None:
    """Only the server, as `serve` starts it."""
    from connector.server.web_process import run_web

    run_web(configuration())


@main.command()
def relay() -> None:
    """Run a relay: it sends what is due to TikTok. Several may share one PostgreSQL."""
    from connector.server.relay_process import run_relay

    config = configuration()
    ready_database(config, migrate_sqlite=False)
    run_relay(config)


@main.command()
def migrate() -> None:
    """Bring the database's tables to this release's version."""
    from connector.storage.engine import connect
    from connector.storage.engine import migrate as run

    before, now = database(lambda: run(connect(configuration().database_url, timeout=10.0)))
    click.echo(f"schema {now}" + (", nothing to do" if before == now else f", was {before or 'empty'}"))


@main.command()
@click.option("--once", is_flag=True, help="End when all events have arrived; exit 1 if they do not.")
def demo(once: bool) -> None:
    """Show the main job on this machine: sandbox, server, relay and a shopper in a shop of each platform."""
    from connector.devtools.demo import demo as run

    sys.exit(run(once, click.echo))


@main.command()
@click.option("--port", default=9090, show_default=True, type=click.IntRange(1, 65535))
def sandbox(port: int) -> None:
    """Run a fake Events API to try a set-up against: it checks, answers and remembers like TikTok's."""
    from connector.devtools.sandbox.server import serve as run

    click.echo(f"Set EVENTS_API_URL=http://127.0.0.1:{port}/open_api/v1.3 and open http://127.0.0.1:{port}/")
    try:
        run(port)
    except OSError as error:
        fail(f"port {port} cannot be used: {error.strerror}; choose another with --port")


@main.command()
@click.option("--live", is_flag=True, help="Also ask TikTok (with a test_event_code), our PUBLIC_URL and the shops.")
def check(live: bool) -> None:
    """Say what this configuration will do, and what is wrong with it."""
    from connector.devtools.check import check as run

    marks = {"ok": ("✓", "green"), "note": (" ", None), "warning": ("!", "yellow"), "fault": ("✗", "red")}
    faults = 0
    for finding in run(configuration(), live):
        sign, colour = marks[finding.mark]
        click.secho(f"{sign} {finding.text}", fg=colour)
        faults += finding.mark == "fault"
    sys.exit(1 if faults else 0)


@main.command()
@click.argument("store")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--topic", required=True, help="The webhook's topic, e.g. orders/create or order.updated.")
def preview(store: str, path: Path, topic: str) -> None:
    """Show what the body in PATH (a file, or a folder of *.json) would become: one JSON line a file.

    No signature is needed, nothing is stored or sent.
    """
    import msgspec

    from connector.devtools.preview import files
    from connector.devtools.preview import preview as run

    chosen = store_named(configuration(), store)
    platform = platform_of(chosen)
    for file in files(path):
        click.echo(msgspec.json.encode(run(file.read_bytes(), topic, chosen, platform)).decode())


@main.command()
@click.argument("store")
@click.option("--topic", "topics", multiple=True, help="Repeatable. Default: registration, checkout, order, payment.")
@click.option("--url", help="The server. Default: http://127.0.0.1:PORT")
@click.option("--count", default=1, show_default=True, type=click.IntRange(1, 1_000_000), help="How many shoppers.")
@click.option("--live-pixel", is_flag=True, help="Send invented orders to TikTok even without a test_event_code.")
def simulate(store: str, topics: tuple[str, ...], url: str | None, count: int, live_pixel: bool) -> None:
    """Sign and post fresh sample webhooks of STORE to a running server."""
    import random

    from connector.devtools.simulate import NoSamples, refusal, samples_of
    from connector.devtools.simulate import simulate as run

    config = configuration()
    chosen = store_named(config, store)
    try:
        samples = samples_of(platform_of(chosen))
    except NoSamples as error:
        fail(str(error))
    if unknown := [topic for topic in topics if topic not in samples.TOPICS]:
        raise click.UsageError(f"no sample of {unknown[0]}; there are: {', '.join(samples.TOPICS)}")
    if not live_pixel and (why := refusal(config, chosen)):
        fail(why)
    topics = topics or samples.FUNNEL
    base = url or f"http://127.0.0.1:{config.port}"
    address = base if "/webhooks/" in base else f"{base.rstrip('/')}/webhooks/{chosen.name}"
    rng = random.SystemRandom()
    with counting(f"webhooks to {address}") as show:
        report = run(chosen, address, topics, count, rng, lambda: show(1, count * len(topics)))
    spread = sorted(report.milliseconds)
    for status, number in sorted(report.statuses.items()):
        click.echo(f"{number} × {status or 'no answer'}")
    click.echo(f"median {spread[len(spread) // 2]:.0f} ms, slowest {spread[-1]:.0f} ms")
    if not report.good:
        fail(f"not every webhook was taken: {report.complaint}")


main.add_command(backfill)
main.add_command(events)
main.add_command(lint_pixel)
main.add_command(schema)
main.add_command(snippet)
main.add_command(erase)
events.add_command(export)
main.add_command(stats)
main.add_command(webhooks)
