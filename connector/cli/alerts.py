"""`connector alerts`: tries the addresses that alerts are sent to."""

import sys
from typing import TYPE_CHECKING

import click

from connector.cli.context import configuration, fail, store_named

if TYPE_CHECKING:
    from connector.config.settings import Config
    from connector.monitoring.channels import Failure
    from connector.monitoring.recipients import Recipient

TEXT = "This is a test of the connector's alerts. Nothing is wrong."


@click.group()
def alerts() -> None:
    """Try the addresses that alerts are sent to."""


@alerts.command("test")
@click.option("--store", help="Only the addresses that are sent this store's problems.")
def try_all(store: str | None) -> None:
    """Send a test message to every address, and say of each whether it was delivered and, if not, what to do.

    The addresses are those of ALERT_URL and of the stores' `alerts`. Exits with 1 if one of them failed.
    """
    config = configuration()
    recipients = _recipients(config, store)
    if not recipients:
        fail("no address is set: set ALERT_URL, or `alerts` of a store (docs/running.md#alerts)")
    results = _send(recipients)
    for recipient, failure in zip(recipients, results, strict=True):
        if failure is None:
            click.secho(f"✓ {recipient.label}: delivered", fg="green")
        else:
            click.secho(f"✗ {recipient.label}: {failure.why}; {failure.remedy}", fg="red")
    sys.exit(1 if any(results) else 0)


def _recipients(config: "Config", store: str | None) -> "list[Recipient]":
    from connector.monitoring.recipients import alert_recipients

    found = alert_recipients(config)
    if store is None:
        return found
    name = store_named(config, store).name
    return [recipient for recipient in found if recipient.stores is None or name in recipient.stores]


def _send(recipients: "list[Recipient]") -> "list[Failure | None]":
    """Send to all addresses at once, so that one which does not answer keeps nobody waiting."""
    from concurrent.futures import ThreadPoolExecutor

    import httpx

    from connector.monitoring.channels import TIMEOUT, Message, channel

    message = Message("Connector: test", TEXT)
    with httpx.Client(timeout=TIMEOUT) as client, ThreadPoolExecutor(max_workers=8) as pool:
        return [*pool.map(lambda recipient: channel(recipient.address, client).send(message), recipients)]
