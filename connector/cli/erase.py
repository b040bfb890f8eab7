"""`connector erase` and `connector events export`: erase or print stored data of a person; erase a store."""

import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import click

from connector.cli.context import configuration, database, fail, open_database, store_named
from connector.core.text import how_many

if TYPE_CHECKING:
    from connector.core.event import DataRequest
    from connector.privacy.data_subject import DataSubject
    from connector.privacy.lookup import PersonalData, PersonalDataLookup
    from connector.privacy.requests import DataRequestStore
    from connector.storage.database import Database


def _person_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that name a person to a command."""
    for option in (
        click.option("--store", default="", help="Only this store. Default: all stores with data."),
        click.option("--customer", default="", help="The shop's customer id; requires --store."),
        click.option("--phone", default="", help="With country code, or in the format of the stores' country."),
        click.option(
            "--email",
            default="",
            help="- reads it from standard input and keeps it out of the shell's history.",
        ),
    ):
        command = option(command)
    return command


@click.command()
@_person_options
@click.option("--all", "whole_store", is_flag=True, help="All data of --store, even if it is no longer configured.")
@click.option("--yes", is_flag=True, help="Erase without asking for confirmation.")
@click.option("--dry-run", is_flag=True, help="Only print what would be erased.")
def erase(email: str, phone: str, customer: str, store: str, whole_store: bool, yes: bool, dry_run: bool) -> None:
    """Erase a person, or a store with --store NAME --all. Asks for the e-mail address if no option names the person.

    --email finds all orders, checkouts and registrations with that address; use --phone for those with only a phone
    number, and --customer for those with neither. Waiting events are not sent any more. Of sent events only the
    event_id and the result remain. Parked webhooks that name the person are deleted, and so are those that cannot be
    decrypted. Data that TikTok has received stays there.
    """
    if whole_store:
        if not store or email or phone or customer:
            raise click.UsageError("--all erases a whole store: use --store NAME --all without options for a person")
        _erase_store(store, yes, dry_run)
        return
    opened, lookup = _open()
    request = _request_from_options(email, phone, customer, store)
    people = _person_by_store(lookup, request, store)
    data = {name: database(partial(lookup.find, name, person)) for name, person in people.items()}
    data = {name: rows for name, rows in data.items() if rows}
    for name, rows in data.items():
        click.echo(f"{name}: {_describe(rows)}")
    if not data:
        click.echo("no data is stored about this person")
        return
    if _confirm(yes, dry_run):
        _erase_person(opened, data)
        click.echo("erased")


def _erase_store(store: str, yes: bool, dry_run: bool) -> None:
    import math
    import time

    from connector.privacy.erasure import Erasure
    from connector.privacy.retention import PAUSE

    opened, lookup = _open()
    if store not in (known := database(lookup.stores)):
        raise click.UsageError(f"there is no data of a store {store!r}; there are: {', '.join(known)}")
    erasure = Erasure(opened)
    # A store that is no longer configured receives nothing; without a limit rows with a time in the future go, too.
    until = time.time() if store in lookup.configured else math.inf
    counts = {what: number for what, number in database(lambda: erasure.count_store(store, until)).items() if number}
    for what, number in counts.items():
        click.echo(f"{store}: {what}: {number}")
    if not counts:
        click.echo(f"no data is stored of {store}")
    elif _confirm(yes, dry_run):
        database(partial(erasure.erase_store, store, until, time.time(), partial(time.sleep, PAUSE)))
        click.echo("erased")
    if store in lookup.configured:
        click.echo(f"{store} is still in the stores file: new webhooks will be stored as before", err=True)


def _confirm(yes: bool, dry_run: bool) -> bool:
    """Return True to erase, False for a dry run; exit with code 1 if the user declines."""
    if dry_run:
        click.echo("nothing was erased (--dry-run)")
        return False
    if not yes and not click.confirm("Erase this permanently?"):
        fail("nothing was erased")
    return True


@click.command()
@_person_options
@click.option("--demand", "number", type=int, help="Number of a data request from the shop; the alert names it.")
def export(email: str, phone: str, customer: str, store: str, number: int | None) -> None:
    """Print all stored data of a person as JSON lines, unmasked.

    Asks for the e-mail address if no option names the person. --demand answers a shopper's request made through
    the shop and marks it as done.
    """
    from connector.privacy.requests import DataRequestStore

    opened, lookup = _open()
    requests = DataRequestStore(opened)
    if number:
        people = _person_of_request(requests, number)
    else:
        people = _person_by_store(lookup, _request_from_options(email, phone, customer, store), store)
    lines = 0
    for name, person in people.items():
        for line in database(partial(_export_lines, opened, lookup, name, person)):
            click.echo(line.decode())
            lines += 1
    click.echo(how_many(lines, "line") if lines else "no data is stored about this person", err=True)
    if number:
        _finish_request(requests, number)


def _export_lines(opened: "Database", lookup: "PersonalDataLookup", store: str, person: "DataSubject") -> list[bytes]:
    from connector.privacy.export import exported

    return list(exported(opened, lookup, store, person))


def _open() -> "tuple[Database, PersonalDataLookup]":
    from connector.privacy.lookup import PersonalDataLookup

    config = configuration()
    opened = database(lambda: open_database(config))
    return opened, PersonalDataLookup(opened, config.stores)


def _request_from_options(email: str, phone: str, customer: str, store: str) -> "DataRequest":
    """Return a data request for the person that the options name. Raises UsageError, without repeating a value."""
    from connector.core.event import DataRequest
    from connector.mapping import hashing

    if customer and not store:
        raise click.UsageError("a customer id belongs to one shop: add --store")
    if store:
        store_named(configuration(), store)
    if email == "-":
        email = sys.stdin.readline().strip()
    elif not (email or phone or customer):
        email = click.prompt("E-mail", err=True).strip()
    if email and not hashing.email(email):
        raise click.UsageError("this is not a valid e-mail address")
    if not (email or phone or customer):
        raise click.UsageError("name the person: --email, --phone or --customer")
    return DataRequest("export", customer, (email,) if email else (), (phone,) if phone else ())


def _person_by_store(lookup: "PersonalDataLookup", request: "DataRequest", store: str) -> "dict[str, DataSubject]":
    """Return the person's identifiers as each store hashes them. Raises UsageError."""
    from connector.privacy.data_subject import data_subject_of

    names = [store] if store else database(lookup.stores)
    people = {name: data_subject_of(request, lookup.configured.get(name)) for name in names}
    if request.phones and not any(person.phones for person in people.values()):
        raise click.UsageError("this is not a phone number in any store's country; add the country code")
    return {name: person for name, person in people.items() if person}


def _person_of_request(requests: "DataRequestStore", number: int) -> "dict[str, DataSubject]":
    from connector.privacy.data_subject import DataSubject

    request = database(lambda: requests.find(number))
    if request is None or request.what != "export":
        fail(f"there is no data request {number}; `connector check` lists the open ones")
    if request.done_at is not None:
        fail(f"data request {number} is done already; the person's identifiers are no longer stored")
    return {request.store: request.person or DataSubject()}


def _finish_request(requests: "DataRequestStore", number: int) -> None:
    import time

    database(lambda: requests.finish(number, time.time()))


def _erase_person(opened: "Database", data: "dict[str, PersonalData]") -> None:
    import time

    from connector.privacy.erasure import Erasure
    from connector.privacy.retention import PAUSE

    erasure = Erasure(opened)
    for store, rows in data.items():
        database(partial(erasure.erase, store, rows, time.time(), partial(time.sleep, PAUSE)))


def _describe(rows: "PersonalData") -> str:
    undecryptable = "that no webhook_secret decrypts"
    counts = (
        (len(rows.waiting), "waiting event, which will not be sent", "waiting events, which will not be sent"),
        (len(rows.finished), "finished event", ""),
        (len(rows.parked), "parked webhook", ""),
        (len(rows.unopenable), f"parked webhook {undecryptable}", f"parked webhooks {undecryptable}"),
        (len(rows.checkouts), "checkout with browser signals", "checkouts with browser signals"),
        (len(rows.clicks), "remembered click", ""),
        (len(rows.recalled), "waiting event with a remembered click", "waiting events with a remembered click"),
    )
    return ", ".join(how_many(number, singular, plural) for number, singular, plural in counts if number)
