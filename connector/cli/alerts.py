"""`connector alerts`: tries the addresses that alerts and digests are sent to, and prints a digest."""

import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click

from connector.cli.context import configuration, database, fail, open_database, store_named

if TYPE_CHECKING:
    from connector.config.settings import Config
    from connector.monitoring.channels import Failure, Message
    from connector.monitoring.recipients import Recipient

TEXT = "This is a test of the connector's alerts. Nothing is wrong."


@click.group()
def alerts() -> None:
    """Try the addresses of alerts and the weekly digest."""


@alerts.command("test")
@click.option("--store", help="Only the addresses that are sent this store's problems.")
def try_all(store: str | None) -> None:
    """Send a test message to every address.

    Say of each whether it was delivered and, if not, what to do. The addresses are those of ALERT_URL and DIGEST_URL
    and of the stores' `alerts` and `digest`. Exits with code 1 if one of them failed.
    """
    from connector.monitoring.channels import Message
    from connector.monitoring.recipients import alert_recipients, digest_recipients

    config = configuration()
    found = {one.address: one for one in (*digest_recipients(config), *alert_recipients(config))}
    recipients = sorted(_chosen(config, found.values(), store), key=lambda one: one.is_for_digests)
    if not recipients:
        fail("no address is set: set ALERT_URL, or `alerts` of a store (docs/running.md#alerts)")
    _report(recipients, _send(recipients, lambda _: Message("Connector: test", TEXT)))


@alerts.command("digest")
@click.option("--store", help="Only this store.")
@click.option("--send", is_flag=True, help="Also send it to the addresses of DIGEST_URL and of the stores' `digest`.")
def digest(store: str | None, send: bool) -> None:
    """Print the digest of the last whole week, as it is sent on Mondays."""
    from connector.monitoring.digest import Digest, week_before
    from connector.monitoring.recipients import digest_recipients

    config = configuration()
    names = None if store is None else frozenset({store_named(config, store).name})
    writer, start = Digest(database(lambda: open_database(config)), config.stores), week_before(time.time())
    message = database(lambda: writer.message(names, start))
    click.echo(f"{message.title}\n\n{message.text}")
    if not send:
        return
    recipients = _chosen(config, digest_recipients(config), store)
    if not recipients:
        fail("no address is set: set DIGEST_URL, or `digest` of a store (docs/running.md#the-weekly-digest)")
    messages = database(lambda: {one: writer.message(one.stores, start) for one in recipients})
    click.echo()
    _report(recipients, _send(recipients, messages.__getitem__))


def _report(recipients: "list[Recipient]", results: "list[Failure | None]") -> None:
    """Say of each address whether it was delivered, and exit with 1 if one was not."""
    for recipient, failure in zip(recipients, results, strict=True):
        if failure is None:
            click.secho(f"✓ {recipient.label}: delivered", fg="green")
        else:
            click.secho(f"✗ {recipient.label}: {failure.why}; {failure.remedy}", fg="red")
    sys.exit(1 if any(results) else 0)


def _chosen(config: "Config", recipients: "Iterable[Recipient]", store: str | None) -> "list[Recipient]":
    """Return the recipients that are sent something about this store; all if it is None."""
    if store is None:
        return [*recipients]
    name = store_named(config, store).name
    return [recipient for recipient in recipients if recipient.stores is None or name in recipient.stores]


def _send(recipients: "list[Recipient]", message_of: "Callable[[Recipient], Message]") -> "list[Failure | None]":
    """Send to all addresses at once, so that one which does not answer keeps nobody waiting."""
    from concurrent.futures import ThreadPoolExecutor

    import httpx

    from connector.monitoring.channels import TIMEOUT, channel

    with httpx.Client(timeout=TIMEOUT) as client, ThreadPoolExecutor(max_workers=8) as pool:
        return [*pool.map(lambda one: channel(one.address, client).send(message_of(one)), recipients)]
