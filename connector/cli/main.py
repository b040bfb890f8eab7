"""The commands. Thin: each reads its settings, calls one module and prints. Exit 0 done, 1 failed, 2 wrong use."""

import sys
from collections.abc import Callable
from functools import partial
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
LAST_WORDS = 5.0  # seconds that what runs beside a relay may take to end; what it was at is done again later


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
    import signal
    import threading

    import httpx

    from connector.core.registry import installed_platforms
    from connector.monitoring import alerts
    from connector.monitoring.problems import ProblemFinder
    from connector.monitoring.watcher import Watcher
    from connector.outbox.held_events import EVERY, SELDOM, HeldEvents
    from connector.outbox.held_events import run as end_holds
    from connector.outbox.outbox import Outbox
    from connector.privacy.erasure import eraser
    from connector.privacy.lookup import PersonalDataLookup
    from connector.privacy.retention import RetentionJob, RetentionPolicy, RetentionStore
    from connector.relay.events_api import TIMEOUT, EventsApi
    from connector.relay.relay import LANES_AT_ONCE, SLOW_LANES_AT_ONCE, Relay
    from connector.server.supervisor import end_with_parent
    from connector.storage.engine import connect
    from connector.sync.reconcile import Reconciler

    config = configuration()
    ready_database(config, migrate_sqlite=False)
    end_with_parent()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    engine = connect(config.database_url, patience=10.0).execution_options(behind=True)  # webhooks come first
    limits = httpx.Limits(max_connections=LANES_AT_ONCE + SLOW_LANES_AT_ONCE, max_keepalive_connections=32)
    with httpx.Client(timeout=TIMEOUT, limits=limits) as client, httpx.Client(timeout=alerts.TIMEOUT) as other:
        running = Relay(config.stores, Outbox(engine), EventsApi(config.events_api_url, client))
        keeper = RetentionJob(RetentionStore(engine), RetentionPolicy.of(config), config.stores, running.name)
        hook = alerts.AlertWebhook(config.alert_url, other) if config.alert_url else None
        notifier = alerts.notifier(engine, hook, running.name)
        watcher = Watcher(ProblemFinder(engine, config.stores), alerts.AlertStore(engine), notifier)
        expecting = any(store.signals for store in config.stores.values())
        holding = partial(end_holds, HeldEvents(engine), every=EVERY if expecting else SELDOM)
        platforms = installed_platforms()
        usable = {name: store for name, store in config.stores.items() if not platforms.fault(store.platform)}
        apis = {store.platform: platforms[store.platform].shop_api for store in usable.values()}
        healer = Reconciler(
            usable, platforms, {name: api for name, api in apis.items() if api}, Outbox(engine), running.name
        )
        works: dict[str, Callable[[threading.Event], None]] = {
            "housekeeping": keeper.run,
            "watching": watcher.run,
            "holding": holding,
            "reconciliation": healer.run,
            "erasing": eraser(PersonalDataLookup(engine, config.stores), running.name).run,
        }
        beside = [threading.Thread(target=run, args=(stop,), name=name, daemon=True) for name, run in works.items()]
        for thread in beside:
            thread.start()
        try:
            running.run(stop)
        finally:
            stop.set()
            for thread in beside:
                thread.join(LAST_WORDS)


@main.command()
def migrate() -> None:
    """Bring the database's tables to this release's version."""
    from connector.storage.engine import connect
    from connector.storage.engine import migrate as run

    before, now = database(lambda: run(connect(configuration().database_url, patience=10.0)))
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
