"""`connector webhooks`: lists and changes a shop's webhooks to this server through the shop's API."""

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import click

from connector.cli.context import configuration, database, open_database, say_of, store_named, wait_option
from connector.core.text import how_many

if TYPE_CHECKING:
    from connector.config.settings import Config
    from connector.core.store import Store
    from connector.sync.registered_webhooks import RegisteredWebhooks
    from connector.sync.registration import Action
    from connector.sync.shop_wait import ShopWait


@click.group()
def webhooks() -> None:
    """List and change a shop's webhooks to this server.

    Through the shop's API (keys: [stores.STORE.api]).
    """


def _shop_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that choose the shops and this server's address."""
    for option in (
        wait_option("30s"),
        click.option("--base-url", help="This server's address. Default: PUBLIC_URL"),
        click.option("--all", "every", is_flag=True, help="All stores."),
        click.argument("store", required=False),
    ):
        command = option(command)
    return command


_dry_run = click.option("--dry-run", is_flag=True, help="Only show what would be done.")


@webhooks.command("list")
@_shop_options
def webhooks_list(store: str | None, every: bool, base_url: str | None, wait: float) -> None:
    """List STORE's webhooks to this server, and the missing ones.

    Exits with code 1 if one is missing, switched off or broken.
    """
    _webhooks("list", store, every, base_url, wait, dry_run=True)


@webhooks.command()
@_shop_options
@_dry_run
def register(store: str | None, every: bool, base_url: str | None, wait: float, dry_run: bool) -> None:
    """Create the webhooks that STORE's events need.

    Those that were switched off are replaced.
    """
    _webhooks("register", store, every, base_url, wait, dry_run)


@webhooks.command()
@_shop_options
@_dry_run
def delete(store: str | None, every: bool, base_url: str | None, wait: float, dry_run: bool) -> None:
    """Delete this server's webhooks from STORE's shop. Webhooks created by others are left alone."""
    _webhooks("delete", store, every, base_url, wait, dry_run)


@webhooks.command()
@_shop_options
@_dry_run
def sync(store: str | None, every: bool, base_url: str | None, wait: float, dry_run: bool) -> None:
    """Like register; also delete webhooks that are not needed.

    Only this server's own, also those that point to another host.
    """
    _webhooks("sync", store, every, base_url, wait, dry_run)


@webhooks.command()
def secret() -> None:
    """Print a new random secret for webhook_secrets.

    For shops that let you choose what their webhooks are signed with.
    """
    from connector.core.signature import new_secret

    click.echo(new_secret())


def _webhooks(
    action: "Action", store: str | None, every: bool, base_url: str | None, wait: float, dry_run: bool
) -> None:
    from connector.core.registry import BrokenPlatform
    from connector.core.shop_api import ShopApiError
    from connector.sync.registration import CannotRegister
    from connector.sync.shop_wait import ShopWait

    if every == bool(store):
        raise click.UsageError("give either a STORE or --all")
    config = configuration()
    chosen = list(config.stores.values()) if every else [store_named(config, store or "")]
    failed = False
    registered = _registered_webhooks(config, not dry_run and any(one.reconcile for one in chosen))
    for one in chosen:
        base = config.public_url if base_url is None else base_url
        try:
            with ShopWait(wait, say_of(one.name)) as shop_wait:
                complete = _webhooks_of(one, action, base, dry_run, registered, shop_wait)
            failed |= action == "list" and not complete
        except (ShopApiError, CannotRegister, BrokenPlatform) as fault:
            failed = True
            prefix = "" if f"store {one.name}" in str(fault) else f"store {one.name}: "
            click.echo(f"connector: {prefix}{fault}", err=True)
    sys.exit(1 if failed else 0)


def _registered_webhooks(config: "Config", needed: bool) -> "RegisteredWebhooks | None":
    """Open the table of registered webhooks, which `reconcile` watches; None if the database cannot be used."""
    from connector.storage.engine import SchemaError
    from connector.storage.unreachable import is_not_created, why_unreachable
    from connector.sync.registered_webhooks import RegisteredWebhooks

    why = "there is no database file yet"
    if not is_not_created(config.database_url):
        try:
            return RegisteredWebhooks(open_database(config))
        except SchemaError as error:
            why = str(error)
        except Exception as error:
            why = why_unreachable(config.database_url, error)
    if not needed:
        return None
    click.echo(
        f"Note: {why}, so the webhooks are not recorded, and `reconcile` does not create them again if the shop "
        "removes them; register again when `connector serve` runs",
        err=True,
    )
    return None


def _webhooks_of(
    store: "Store",
    action: "Action",
    base: str,
    dry_run: bool,
    registered: "RegisteredWebhooks | None",
    shop_wait: "ShopWait",
) -> bool:
    """Print a store's webhooks and change them; return False if one was missing or does not work."""
    from connector.core.registry import installed_platforms
    from connector.sync.registration import apply_plan, prepare, redact_url, why_not_to

    platform = installed_platforms()[store.platform]
    broken = database(lambda: registered.broken(store.name, time.time())) if registered else {}
    shop_api, plan = prepare(store, platform, base, action, broken, shop_wait.pause)
    if action == "list" and (why := why_not_to(base, store, platform)):
        click.echo(f"! store {store.name}: {why}", err=True)
    click.echo(f"{store.name} ({store.platform})")
    for line in plan.lines if dry_run else apply_plan(plan.lines, shop_api, store.signing_secret):
        shop_wait.progress()
        if registered and not dry_run:
            database(partial(registered.note, store.name, line, time.time()))
        done = f"{'would be ' if dry_run else ''}{line.change}" if line.change else ""
        click.echo(f"  {line.topic:<36}{line.state:<14}{done:<18}{redact_url(line.url)}")
    for topic in () if action == "delete" else dict.fromkeys(line.topic for line in plan.lines):
        if why := shop_api.why_never_sent(topic):
            click.echo(f"! store {store.name}: {why}", err=True)
    if plan.others:
        others = how_many(plan.others, "webhook", "webhooks")
        click.echo(f"  {others} created by others, left alone")
    return not any(line.state in ("missing", "switched off", "broken") for line in plan.lines)
