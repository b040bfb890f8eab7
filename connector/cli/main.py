"""The commands: each reads the settings, calls one module and prints. Exit codes: 0 done, 1 failed, 2 wrong usage."""

import sys

import click

from connector import __version__
from connector.cli.alerts import alerts
from connector.cli.backfill import backfill
from connector.cli.books import accuracy, books
from connector.cli.check import check
from connector.cli.context import (
    configuration,
    counting,
    database,
    fail,
    platform_of,
    ready_database,
    store_named,
)
from connector.cli.erase import erase, export
from connector.cli.events import events
from connector.cli.lint_pixel import lint_pixel
from connector.cli.platforms import platforms
from connector.cli.preview import preview
from connector.cli.schema import schema
from connector.cli.snippet import snippet
from connector.cli.stats import stats
from connector.cli.webhooks import webhooks

# Modules are imported where they are used, so that `connector --help` does not load the database's libraries.


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="connector")
def main() -> None:
    """Relay the webhooks of shops to TikTok's Events API.

    Settings come from the environment and a stores file (stores.toml); see stores.example.toml and
    docs/configuration.md.
    """


@main.command()
def serve() -> None:
    """Run the server and a relay, as on a PaaS. Migrates a SQLite database first."""
    from connector.server.supervisor import serve as run

    sys.exit(run(main))


@main.command(hidden=True)
@click.option("--port-free", is_flag=True, help="Also check that nobody else listens on the port.")
def ready(port_free: bool) -> None:
    """Check the configuration and migrate a SQLite database, as `serve` does first."""
    from connector.server.supervisor import why_port_unusable

    config = configuration()
    if port_free and (why := why_port_unusable(config.port)):
        fail(why)
    ready_database(config, migrate_sqlite=True)


@main.command(hidden=True)
def web() -> None:
    """Run only the server, as `serve` starts it."""
    from connector.server.web_process import run_web

    run_web(configuration())


@main.command()
def relay() -> None:
    """Run a relay, which sends due events to TikTok. Several can share one PostgreSQL database."""
    from connector.server.relay_process import run_relay

    config = configuration()
    ready_database(config, migrate_sqlite=False)
    run_relay(config)


@main.command()
def migrate() -> None:
    """Migrate the database to this release's schema."""
    from connector.storage.engine import connect
    from connector.storage.engine import migrate as run

    before, now = database(lambda: run(connect(configuration().database_url, timeout=10.0)))
    click.echo(f"schema {now}" + (", nothing to do" if before == now else f", was {before or 'empty'}"))


@main.command()
@click.option("--once", is_flag=True, help="End when all events have arrived; exit with code 1 if they do not.")
def demo(once: bool) -> None:
    """Run sandbox, server, relay and sample shoppers here.

    A shopper orders in a shop of each platform.
    """
    from connector.devtools.demo import demo as run

    sys.exit(run(once, click.echo))


@main.command()
@click.option("--port", default=9090, show_default=True, type=click.IntRange(1, 65535))
def sandbox(port: int) -> None:
    """Run a fake Events API for trying a setup.

    It checks, answers and drops copies like TikTok's.

    At /shops/PLATFORM/SHOP it answers for the APIs of shops whose webhooks only name an order (api.url).
    """
    from connector.devtools.sandbox.server import serve as run
    from connector.devtools.shop_sandbox import pages
    from connector.server.supervisor import why_port_unusable

    if why := why_port_unusable(port, "127.0.0.1", "choose another with --port"):
        fail(why)
    click.echo(f"Set EVENTS_API_URL=http://127.0.0.1:{port}/open_api/v1.3 and open http://127.0.0.1:{port}/")
    run(port, more=[pages()])


@main.command()
@click.argument("store")
@click.option("--topic", "topics", multiple=True, help="Repeatable. Default: registration, checkout, order, payment.")
@click.option("--url", help="The server. Default: http://127.0.0.1:PORT")
@click.option("--count", default=1, show_default=True, type=click.IntRange(1, 1_000_000), help="How many shoppers.")
@click.option("--live-pixel", is_flag=True, help="Send invented orders to TikTok even without a test_event_code.")
def simulate(store: str, topics: tuple[str, ...], url: str | None, count: int, live_pixel: bool) -> None:
    """Sign sample webhooks of STORE and post them to a server."""
    import random

    import httpx

    from connector.devtools.simulate import simulate as run
    from connector.setup.samples import NoSamples, refusal, samples_of

    config = configuration()
    chosen = store_named(config, store)
    try:
        samples = samples_of(platform_of(chosen))
    except NoSamples as error:
        fail(str(error))
    if unknown := [topic for topic in topics if topic not in samples.TOPICS]:
        raise click.UsageError(f"no sample of {unknown[0]}; there are: {', '.join(samples.TOPICS)}")
    if why := refusal(config, chosen, live_pixel):
        fail(why)
    topics = topics or samples.FUNNEL
    base = url or f"http://127.0.0.1:{config.port}"
    address = base if "/webhooks/" in base else f"{base.rstrip('/')}/webhooks/{chosen.name}"
    rng = random.SystemRandom()
    try:
        with counting(f"webhooks to {address}") as show:
            report = run(chosen, address, topics, count, rng, lambda: show(1, count * len(topics)))
    except httpx.HTTPError as error:
        fail(f"api.url of store {chosen.name} takes no invented orders, so is `connector sandbox` there? {error}")
    durations = sorted(report.milliseconds)
    for status, number in sorted(report.statuses.items()):
        click.echo(f"{number} × {status or 'no answer'}")
    click.echo(f"median {durations[len(durations) // 2]:.0f} ms, slowest {durations[-1]:.0f} ms")
    if not report.good:
        fail(report.failure(chosen.name, address))


main.add_command(accuracy)
main.add_command(alerts)
main.add_command(backfill)
main.add_command(books)
main.add_command(check)
main.add_command(events)
main.add_command(lint_pixel)
main.add_command(platforms)
main.add_command(preview)
main.add_command(schema)
main.add_command(snippet)
main.add_command(erase)
events.add_command(export)
main.add_command(stats)
main.add_command(webhooks)
