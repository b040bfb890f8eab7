"""`connector erase` and `connector events export`: what is kept of a person, gone or told; and a store, gone."""

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


def _whom(command: Callable[..., None]) -> Callable[..., None]:
    """The options that name a person, shared by both commands."""
    for option in (
        click.option("--store", default="", help="Only this store. Default: all there ever were."),
        click.option("--customer", default="", help="The shop's own number of its customer; needs --store."),
        click.option("--phone", default="", help="With country code, or as it is written in the stores' country."),
        click.option("--email", default="", help="- reads it from standard input, so no shell remembers it."),
    ):
        command = option(command)
    return command


@click.command()
@_whom
@click.option("--all", "everybody", is_flag=True, help="All that ever came from --store, configured or not.")
@click.option("--yes", is_flag=True, help="Do not ask before erasing.")
@click.option("--dry-run", is_flag=True, help="Only say what would be erased.")
def erase(email: str, phone: str, customer: str, store: str, everybody: bool, yes: bool, dry_run: bool) -> None:
    """Erase a person, or with --store NAME --all a store. Asks for the e-mail when nothing names them.

    What is found by an e-mail is every order, checkout and sign-up that came with it. One that came with a phone number
    only is found by --phone, one that came with neither by --customer. What waits to be sent is not sent any more; of
    what was sent stays that it was, by its event_id. Parked webhooks that name the person are deleted, and those that
    cannot be opened. TikTok keeps what it has.
    """
    if everybody:
        if not store or email or phone or customer:
            raise click.UsageError("--all is all of one store: say --store NAME --all, and nobody's e-mail")
        _erase_store(store, yes, dry_run)
        return
    opened, records = _open()
    demand = _demand(email, phone, customer, store)
    found = {name: _found(records, name, person) for name, person in _people(records, demand, store).items()}
    found = {name: rows for name, rows in found.items() if rows}
    for name, rows in found.items():
        click.echo(f"{name}: {_counted(rows)}")
    if not found:
        click.echo("nothing is kept of this person")
        return
    if _is_meant(yes, dry_run):
        _erase(opened, found)
        click.echo("erased")


def _erase_store(store: str, yes: bool, dry_run: bool) -> None:
    import math
    import time

    from connector.privacy.erasure import Erasure
    from connector.privacy.retention import PAUSE

    opened, records = _open()
    if store not in (known := database(records.stores)):
        raise click.UsageError(f"nothing ever came from a store {store!r}; there are: {', '.join(known)}")
    erasure = Erasure(opened)
    # To a store that is gone nothing comes any more, and what a clock that had jumped wrote shall go, too.
    until = time.time() if store in records.configured else math.inf
    found = {what: number for what, number in database(lambda: erasure.count_store(store, until)).items() if number}
    for what, number in found.items():
        click.echo(f"{store}: {what}: {number}")
    if not found:
        click.echo(f"nothing is kept of {store}")
    elif _is_meant(yes, dry_run):
        database(lambda: erasure.erase_store(store, until, time.time(), lambda: time.sleep(PAUSE)))
        click.echo("erased")
    if store in records.configured:
        click.echo(f"{store} is in the stores file: what comes from now on is kept as ever", err=True)


def _is_meant(yes: bool, dry_run: bool) -> bool:
    """Whether to erase what has been told; asked of whoever has not said so."""
    if dry_run:
        click.echo("nothing is erased (--dry-run)")
        return False
    if not yes and not click.confirm("Erase this for good?"):
        fail("nothing is erased")
    return True


@click.command()
@_whom
@click.option("--demand", "number", type=int, help="The person that Shopify named; an alert tells the number.")
def export(email: str, phone: str, customer: str, store: str, number: int | None) -> None:
    """Print all that is kept of a person as JSON lines, nothing masked: it is theirs.

    Asks for the e-mail when nothing else names them. --demand answers what a shopper asked through Shopify.
    """
    from connector.privacy.requests import DataRequestStore

    opened, records = _open()
    asked = DataRequestStore(opened)
    people = _demanded(asked, number) if number else _people(records, _demand(email, phone, customer, store), store)
    lines = 0
    for name, person in people.items():
        for line in database(partial(_lines, opened, records, name, person)):
            click.echo(line.decode())
            lines += 1
    click.echo(how_many(lines, "line") if lines else "nothing is kept of this person", err=True)
    if number:
        _answered(asked, number)


def _lines(opened: "Database", records: "PersonalDataLookup", store: str, person: "DataSubject") -> list[bytes]:
    from connector.privacy.export import exported

    return list(exported(opened, records, store, person))


def _open() -> "tuple[Database, PersonalDataLookup]":
    from connector.privacy.lookup import PersonalDataLookup

    config = configuration()
    opened = database(lambda: open_database(config))
    return opened, PersonalDataLookup(opened, config.stores)


def _demand(email: str, phone: str, customer: str, store: str) -> "DataRequest":
    """Whom the options name. A usage error for what is no e-mail and no phone, without repeating it."""
    from connector.core.event import DataRequest
    from connector.mapping import hashing

    if customer and not store:
        raise click.UsageError("a customer's number is the shop's own: say --store, too")
    if store:
        store_named(configuration(), store)
    if email == "-":
        email = sys.stdin.readline().strip()
    elif not (email or phone or customer):
        email = click.prompt("E-mail", err=True).strip()
    if email and not hashing.email(email):
        raise click.UsageError("that is no e-mail address")
    if not (email or phone or customer):
        raise click.UsageError("say whom: --email, --phone or --customer")
    return DataRequest("export", customer, (email,) if email else (), (phone,) if phone else ())


def _people(records: "PersonalDataLookup", demand: "DataRequest", store: str) -> "dict[str, DataSubject]":
    """The person as each store hashes them."""
    from connector.privacy.data_subject import data_subject_of

    names = [store] if store else database(records.stores)
    people = {name: data_subject_of(demand, records.configured.get(name)) for name in names}
    if demand.phones and not any(person.phones for person in people.values()):
        raise click.UsageError("that is no phone number in any store's country; write it with its country code")
    return {name: person for name, person in people.items() if person}


def _demanded(asked: "DataRequestStore", number: int) -> "dict[str, DataSubject]":
    from connector.privacy.data_subject import DataSubject

    found = database(lambda: asked.find(number))
    if found is None or found.what != "export":
        fail(f"nobody has asked under the number {number}; `connector check` names what is open")
    if found.done_at is not None:
        fail(f"demand {number} has been answered already; whom it was about is not kept")
    return {found.store: found.person or DataSubject()}


def _answered(asked: "DataRequestStore", number: int) -> None:
    import time

    database(lambda: asked.finish(number, time.time()))


def _found(records: "PersonalDataLookup", store: str, person: "DataSubject") -> "PersonalData":
    return database(lambda: records.find(store, person))


def _erase(opened: "Database", found: "dict[str, PersonalData]") -> None:
    import time

    from connector.privacy.erasure import Erasure

    erasure = Erasure(opened)
    for store, rows in found.items():
        database(partial(erasure.erase, store, rows, time.time()))


def _counted(rows: "PersonalData") -> str:
    closed = "that no webhook_secret opens"
    told = (
        (len(rows.waiting), "event that waits, not to be sent", "events that wait, not to be sent"),
        (len(rows.finished), "finished event", ""),
        (len(rows.parked), "parked webhook", ""),
        (len(rows.unopenable), f"parked webhook {closed}", f"parked webhooks {closed}"),
        (len(rows.checkouts), "checkout a browser told of", "checkouts a browser told of"),
    )
    return ", ".join(how_many(number, one, more) for number, one, more in told if number)
