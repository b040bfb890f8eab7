"""The commands. Thin: each reads its settings, calls one module and prints. Exit 0 done, 1 failed, 2 wrong use."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

import click

from connector import __version__

# Modules are imported where they are used: `connector --help` shall not wait for the database's libraries.
if TYPE_CHECKING:
    from connector.config import Config
    from connector.desk import Choice, Desk
    from connector.registration import Action
    from connector.store import Store


T = TypeVar("T")
LAST_WORDS = 5.0  # seconds that what runs beside a relay may take to end; what it was at is done again later
LONG = 500  # items of work from which on a bar shows how far it is


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="connector")
def main() -> None:
    """Relay Shopify and WooCommerce webhooks to the TikTok Events API.

    Settings come from the environment and a stores file (stores.toml); see stores.example.toml and the README.
    """


@main.command()
def serve() -> None:
    """Run the server and a relay; what a PaaS starts. Migrates a SQLite database by itself."""
    from connector.serve import serve as run

    sys.exit(run(lambda: _ready_database(_config(), migrate_sqlite=True)))


@main.command(hidden=True)
def web() -> None:
    """Only the server, as `serve` starts it."""
    from connector.serve import run_web

    run_web(_config())


@main.command()
def relay() -> None:
    """Run a relay: it sends what is due to TikTok. Several may share one PostgreSQL."""
    import signal
    import threading

    import httpx

    from connector import alerts
    from connector.database import connect
    from connector.housekeeping import Attic, Housekeeper, Kept
    from connector.outbox import Outbox
    from connector.problems import Finder
    from connector.relay import LANES_AT_ONCE, SLOW_LANES_AT_ONCE, Relay
    from connector.serve import end_with_parent
    from connector.tiktok import TIMEOUT, EventsApi
    from connector.watcher import Watcher

    config = _config()
    _ready_database(config, migrate_sqlite=False)
    end_with_parent()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    engine = connect(config.database_url, patience=10.0)
    limits = httpx.Limits(max_connections=LANES_AT_ONCE + SLOW_LANES_AT_ONCE, max_keepalive_connections=32)
    with httpx.Client(timeout=TIMEOUT, limits=limits) as client, httpx.Client(timeout=alerts.TIMEOUT) as other:
        running = Relay(config.stores, Outbox(engine), EventsApi(config.events_api_url, client))
        keeper = Housekeeper(Attic(engine), Kept.of(config), config.stores, running.name)
        hook = alerts.Hook(config.alert_url, other) if config.alert_url else None
        teller = alerts.teller(engine, hook, running.name)
        watcher = Watcher(Finder(engine, config.stores), alerts.Alerts(engine), teller)
        works = {"housekeeping": keeper.run, "watching": watcher.run}
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
    from connector.database import connect
    from connector.database import migrate as run

    before, now = _database(lambda: run(connect(_config().database_url, patience=10.0)))
    click.echo(f"schema {now}" + (", nothing to do" if before == now else f", was {before or 'empty'}"))


@main.command()
@click.option("--once", is_flag=True, help="End when all events have arrived; exit 1 if they do not.")
def demo(once: bool) -> None:
    """Show the main job on this machine: sandbox, server, relay and a shopper in a shop of each platform."""
    from connector.demo import demo as run

    sys.exit(run(once, click.echo))


@main.command()
@click.option("--port", default=9090, show_default=True, type=click.IntRange(1, 65535))
def sandbox(port: int) -> None:
    """Run a fake Events API to try a set-up against: it checks, answers and remembers like TikTok's."""
    from connector.sandbox import serve as run

    click.echo(f"Set EVENTS_API_URL=http://127.0.0.1:{port}/open_api/v1.3 and open http://127.0.0.1:{port}/")
    try:
        run(port)
    except OSError as error:
        _fail(f"port {port} cannot be used: {error.strerror}; choose another with --port")


@main.command()
@click.option("--live", is_flag=True, help="Also ask TikTok (with a test_event_code), our PUBLIC_URL and the shops.")
def check(live: bool) -> None:
    """Say what this configuration will do, and what is wrong with it."""
    from connector.check import check as run

    marks = {"ok": ("✓", "green"), "note": (" ", None), "warning": ("!", "yellow"), "fault": ("✗", "red")}
    faults = 0
    for finding in run(_config(), live):
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

    from connector.preview import files
    from connector.preview import preview as run
    from platforms import PLATFORMS

    chosen = _store(_config(), store)
    for file in files(path):
        click.echo(msgspec.json.encode(run(file.read_bytes(), topic, chosen, PLATFORMS)).decode())


@main.command()
@click.argument("store")
@click.option("--topic", "topics", multiple=True, help="Repeatable. Default: registration, checkout, order, payment.")
@click.option("--url", help="The server. Default: http://127.0.0.1:PORT")
@click.option("--count", default=1, show_default=True, type=click.IntRange(1, 1_000_000), help="How many shoppers.")
@click.option("--live-pixel", is_flag=True, help="Send invented orders to TikTok even without a test_event_code.")
def simulate(store: str, topics: tuple[str, ...], url: str | None, count: int, live_pixel: bool) -> None:
    """Sign and post fresh sample webhooks of STORE to a running server."""
    import random

    from connector.simulate import refusal
    from connector.simulate import simulate as run
    from platforms.samples import SAMPLES

    config = _config()
    chosen = _store(config, store)
    samples = SAMPLES[chosen.platform]
    if unknown := [topic for topic in topics if topic not in samples.TOPICS]:
        raise click.UsageError(f"no sample of {unknown[0]}; there are: {', '.join(samples.TOPICS)}")
    if not live_pixel and (why := refusal(config, chosen)):
        _fail(why)
    topics = topics or samples.FUNNEL
    base = url or f"http://127.0.0.1:{config.port}"
    address = base if "/webhooks/" in base else f"{base.rstrip('/')}/webhooks/{chosen.name}"
    rng = random.SystemRandom()
    with click.progressbar(length=count * len(topics), label=f"webhooks to {address}", file=sys.stderr) as bar:
        report = run(chosen, address, topics, count, rng, lambda: bar.update(1))
    spread = sorted(report.milliseconds)
    for status, number in sorted(report.statuses.items()):
        click.echo(f"{number} × {status or 'no answer'}")
    click.echo(f"median {spread[len(spread) // 2]:.0f} ms, slowest {spread[-1]:.0f} ms")
    if not report.good:
        _fail(f"not every webhook was taken: {report.complaint}")


# --- events ---------------------------------------------------------------------------------------------------


@main.group()
def events() -> None:
    """Look at events and send finished ones again."""


def _choosing(command: Callable[..., None]) -> Callable[..., None]:
    """The options that choose events, shared by `list` and `replay`."""
    for option in (
        click.option("--until", help="Created at the latest: a date, a time, or an age such as 2d, 3h."),
        click.option("--since", help="Created at the earliest: a date, a time, or an age such as 2d, 3h."),
        click.option("--event", default="", help="An event name, e.g. Purchase."),
        click.option("--state", default="", type=click.Choice(["", "due", "accepted", "rejected", "expired"])),
        click.option("--store", default=""),
    ):
        command = option(command)
    return command


@events.command("list")
@_choosing
@click.option("--parked", is_flag=True, help="Parked webhooks instead, with the reason.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 100_000))
def list_(store: str, state: str, event: str, since: str | None, until: str | None, parked: bool, limit: int) -> None:
    """List events, the newest last; or with --parked the webhooks that could not be handled."""
    from connector.desk import Choice

    config = _config()
    if parked:
        waiting = _database(lambda: _desk().parked(store, limit))
        for item in waiting:
            click.echo(f"{_at(item.parked_at)}  {item.store}  {item.topic}  {item.reason}")
        click.echo(f"{len(waiting)} webhooks are parked", err=True)
        return
    choice = Choice((), store, state, event, _moment(since), _moment(until))
    rows = _database(lambda: _desk().find(choice, limit))
    if store and not rows:
        _store(config, store)
    for row in reversed(rows):
        told = f"{row.state} {row.code or ''} {row.message or ''}".rstrip()
        if row.state == "due" and row.store not in config.stores:
            told += " (its store is not configured, so it waits)"
        where = f"  [{row.test_code}]" if row.test_code else ""
        click.echo(
            f"{_at(row.created_at)}  {row.id:>8}  {row.store}  {row.pixel}  {row.event}  {row.event_id}{where}  {told}"
        )
    click.echo(
        f"{len(rows)} events" + (f" (the newest {limit}; --limit for more)" if len(rows) == limit else ""), err=True
    )


@events.command()
@click.argument("key")
def show(key: str) -> None:
    """Everything known about KEY: an event_id, an order number or id, or a row number of `events list`."""
    lines, found = _database(lambda: _desk().show(key))
    if not lines and not found:
        _fail(f"nothing is known of {key!r}: no webhook and no event of that name has arrived")
    for line in lines:
        click.echo(
            f"{_at(line.received_at)}  webhook {line.topic} of {line.store}: {line.outcome}  {line.reason}".rstrip()
        )
    for row in found:
        click.echo(f"\n{row.event}  {row.event_id}  (row {row.id}, pixel {row.pixel}, {row.object_key})")
        click.echo(f"  happened {_at(row.occurred_at)}, stored {_at(row.created_at)}")
        click.echo(f"  state {row.state}, {row.attempts} attempts")
        if row.settled_at or row.code is not None or row.message:
            at = f" {_at(row.settled_at)}" if row.settled_at else ""
            click.echo(f"  TikTok{at}: code {row.code}, {row.message or '-'}, request_id {row.request_id or '-'}")
        click.echo(f"  payload: {_masked(row.payload)}")


@events.command()
@click.argument("ids", nargs=-1)
@_choosing
@click.option("--parked", is_flag=True, help="Parked webhooks instead: through the current code.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option(
    "--force", is_flag=True, help="Also events that TikTok may have got over 47 hours ago, and may count twice."
)
def replay(
    ids: tuple[str, ...], store: str, state: str, event: str, since: str | None, until: str | None,
    parked: bool, dry_run: bool, force: bool,
) -> None:  # fmt: skip
    """Send rejected and expired events again, by event_id or row number, store, state or time."""
    from connector.desk import Choice

    config = _config()
    if parked:
        _replay_parked(config, store, dry_run)
        return
    if not (ids or store or state or event or since or until):
        raise click.UsageError("say which events: ids, --store, --state, --event, --since or --until; or --parked")
    _replay_events(config, Choice(ids, store, state, event, _moment(since), _moment(until)), dry_run, force)


def _replay_events(config: "Config", choice: "Choice", dry_run: bool, force: bool) -> None:
    from connector.replay import plan_replay, replay_events

    desk = _database(_desk)
    plan = _database(lambda: plan_replay(config, desk, choice, force))
    for why, number in sorted(plan.refused.items()):
        click.echo(f"{number} not replayed: {why}")
    if plan.forced:
        click.echo(f"{len(plan.forced)} only because of --force: if TikTok had them, they count twice")
    replayed = plan.total
    if not dry_run and replayed:
        with _progress(replayed, "events") as tick:
            replayed = _database(lambda: replay_events(desk, plan, tick))
    click.echo(f"{replayed} events {'would be' if dry_run else 'are'} due again")
    if plan.refused and not replayed:
        sys.exit(1)


def _replay_parked(config: "Config", store: str, dry_run: bool) -> None:
    from connector.replay import replay_parked
    from platforms import PLATFORMS

    desk = _database(_desk)
    with _progress(_database(lambda: desk.parked_number(store)), "parked webhooks") as tick:
        outcomes = _database(lambda: replay_parked(config, desk, PLATFORMS, store, dry_run, tick))
    for outcome, number in sorted(outcomes.items()):
        click.echo(f"{number} × {outcome}")
    if not outcomes:
        click.echo("nothing is parked" + (f" for {store}" if store else ""))
    sys.exit(1 if any(outcome.startswith(("still parked", "cannot")) for outcome in outcomes) else 0)


@contextmanager
def _progress(length: int, label: str) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, where it disturbs nobody, for what may take long."""
    if length < LONG:
        yield lambda _: None
        return
    with click.progressbar(length=length, label=label, file=sys.stderr) as bar:
        yield bar.update


# --- webhooks -------------------------------------------------------------------------------------------------


@main.group()
def webhooks() -> None:
    """See and change a shop's webhooks to this server, through the shop's own API (keys: [stores.STORE.api])."""


def _of_shops(command: Callable[..., None]) -> Callable[..., None]:
    """Which shops, and where this server is."""
    for option in (
        click.option("--base-url", help="Where this server is. Default: PUBLIC_URL"),
        click.option("--all", "every", is_flag=True, help="All stores."),
        click.argument("store", required=False),
    ):
        command = option(command)
    return command


_dry_run = click.option("--dry-run", is_flag=True, help="Only say what would be done.")


@webhooks.command("list")
@_of_shops
def webhooks_list(store: str | None, every: bool, base_url: str | None) -> None:
    """Show the webhooks that STORE's shop has for us, and those that are missing."""
    _webhooks("list", store, every, base_url, dry_run=True)


@webhooks.command()
@_of_shops
@_dry_run
def register(store: str | None, every: bool, base_url: str | None, dry_run: bool) -> None:
    """Make the webhooks that STORE's events need, and replace those that were switched off."""
    _webhooks("register", store, every, base_url, dry_run)


@webhooks.command()
@_of_shops
@_dry_run
def delete(store: str | None, every: bool, base_url: str | None, dry_run: bool) -> None:
    """Remove all webhooks of ours from STORE's shop, and nobody else's."""
    _webhooks("delete", store, every, base_url, dry_run)


@webhooks.command()
@_of_shops
@_dry_run
def sync(store: str | None, every: bool, base_url: str | None, dry_run: bool) -> None:
    """Like register, and remove those of ours that are not needed any more or go to another host."""
    _webhooks("sync", store, every, base_url, dry_run)


@webhooks.command()
def secret() -> None:
    """Print a new random secret for a WooCommerce store's webhook_secrets."""
    from platforms.woocommerce_admin import new_secret

    click.echo(new_secret())


def _webhooks(action: "Action", store: str | None, every: bool, base_url: str | None, dry_run: bool) -> None:
    from connector.admin import AdminFault
    from connector.registration import CannotRegister

    if every == bool(store):
        raise click.UsageError("say which: a STORE, or --all")
    config = _config()
    chosen = list(config.stores.values()) if every else [_store(config, store or "")]
    failed = False
    for one in chosen:
        try:
            _webhooks_of(one, action, config.public_url if base_url is None else base_url, dry_run)
        except (AdminFault, CannotRegister) as fault:
            failed = True
            where = "" if f"store {one.name}" in str(fault) else f"store {one.name}: "
            click.echo(f"connector: {where}{fault}", err=True)
    sys.exit(1 if failed else 0)


def _webhooks_of(store: "Store", action: "Action", base: str, dry_run: bool) -> None:
    from connector.registration import carry_out, prepare, shown
    from platforms.admins import ADMINS

    admin, plan = prepare(store, ADMINS[store.platform], base, action)
    click.echo(f"{store.name} ({store.platform})")
    for line in plan.lines if dry_run else carry_out(plan.lines, admin, store.webhook_secrets[0]):
        done = f"{'would be ' if dry_run else ''}{line.deed}" if line.deed else ""
        click.echo(f"  {line.topic:<36}{line.state:<14}{done:<18}{shown(line.url)}")
    if plan.others:
        click.echo(f"  {plan.others} more are not ours and stay as they are")


# --- shared ---------------------------------------------------------------------------------------------------


def _config() -> "Config":
    from connector import logs
    from connector.config import ConfigError, load

    try:
        config = load(os.environ)
    except ConfigError as error:
        click.echo(f"The configuration has faults:\n{error}", err=True)
        sys.exit(1)
    logs.set_up(config.log_format, config.log_level)
    return config


def _store(config: "Config", name: str) -> "Store":
    if name not in config.stores:
        raise click.UsageError(f"there is no store {name!r}; there are: {', '.join(config.stores)}")
    return config.stores[name]


def _desk() -> "Desk":
    from connector.database import connect, require_current
    from connector.desk import Desk

    engine = connect(_config().database_url, patience=10.0)
    require_current(engine)
    return Desk(engine)


def _ready_database(config: "Config", migrate_sqlite: bool) -> None:
    from connector.database import connect, require_current
    from connector.database import migrate as run

    engine = connect(config.database_url, patience=10.0)
    sqlite = engine.dialect.name == "sqlite"
    _database(lambda: run(engine) if migrate_sqlite and sqlite else require_current(engine))
    engine.dispose()


def _database(work: Callable[[], T]) -> T:
    """Do it, or say in a sentence why the database does not let us."""
    from connector.database import SchemaError
    from connector.transactions import CannotStore

    try:
        return work()
    except (SchemaError, CannotStore) as error:
        _fail(str(error))
    except Exception as error:
        if type(error).__module__.startswith(("sqlalchemy", "psycopg", "sqlite3")):
            _fail(f"the database cannot be reached ({type(error).__name__}); check DATABASE_URL")
        raise


def _moment(text: str | None) -> float | None:
    """Unix seconds of a date, a time or an age."""
    if not text:
        return None
    units = {"m": "minutes", "h": "hours", "d": "days"}
    if text[:-1].isdecimal() and text[-1] in units:
        return (datetime.now(UTC) - timedelta(**{units[text[-1]]: int(text[:-1])})).timestamp()
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"{text!r} is no date, time or age; e.g. 2026-11-24, 2026-11-24T10:00, 2d, 3h") from None
    return (found.replace(tzinfo=UTC) if found.tzinfo is None else found).timestamp()


def _at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _masked(payload: bytes | None) -> str:
    """The item as it was sent, with what is personal and not hashed cut short."""
    import msgspec

    if payload is None:
        return "(no longer kept)"
    item = msgspec.json.Decoder(float_hook=Decimal).decode(payload)
    for key in ("ip", "user_agent", "ttclid", "ttp"):
        if key in item.get("user", {}):
            item["user"][key] = item["user"][key][:6] + "…"
    if "url" in item.get("page", {}):
        item["page"]["url"] = item["page"]["url"].split("?")[0]
    return msgspec.json.Encoder(decimal_format="number").encode(item).decode()


def _fail(sentence: str) -> NoReturn:
    click.echo(f"connector: {sentence}", err=True)
    sys.exit(1)
