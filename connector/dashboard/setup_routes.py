"""Routes of the set-up: the checklist of each store, and what its buttons do.

The buttons use the network, in the thread of their page and with time limits: one at a time in a process, so that a
shop that hangs does not occupy all threads.
"""

import time
from collections.abc import Callable, Mapping
from threading import Lock

import httpx
from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from werkzeug.exceptions import BadRequest, NotFound

from connector.config.settings import Config
from connector.core.platform import Platform
from connector.core.registry import BrokenPlatform
from connector.core.store import Store
from connector.dashboard.labels import sentence_parts
from connector.dashboard.login import OUTDATED_FORM, LoginGuard
from connector.setup.actions import PAGE_TIMEOUT, Setup
from connector.setup.checklist import checklist
from connector.setup.items import progress
from connector.setup.records import SetupRecords
from connector.setup.situation import Situation, read_situation
from connector.storage.database import CannotStore, Database

BUSY = "Another request to TikTok or a shop is under way; try again in a few seconds."
Reload = Callable[[], Config]


def add_setup_routes(
    blueprint: Blueprint,
    guard: LoginGuard,
    config: Config,
    database: Database,
    platforms: Mapping[str, Platform],
    reload: Reload | None,
) -> None:
    """Add `/setup`, and `/setup/NAME` with its buttons; the login leads there until the first store is complete."""
    records, busy = SetupRecords(database), Lock()

    def landing() -> str:
        """Return the set-up until the first store is complete, then the overview."""
        try:
            if records.complete(config.stores):
                return url_for("dashboard.home")
        except CannotStore:
            return url_for("dashboard.home")
        (first, *more) = config.stores
        return url_for("dashboard.setups") if more else url_for("dashboard.setup", name=first)

    guard.landing = landing

    def situation(store: Store) -> Situation:
        return read_situation(config, store, platforms[store.platform], database, time.time(), reload)

    @blueprint.get("/setup")
    @guard.login_required
    def setups() -> str:
        return render_template("setups.html", stores=config.stores, complete=records.complete(config.stores))

    @blueprint.get("/setup/<name>")
    @guard.login_required
    def setup(name: str) -> str | tuple[str, int]:
        store = _store(config, name)
        try:
            found = situation(store)
        except BrokenPlatform as error:
            return render_template("failed.html", status=503, sentence=f"{error}."), 503
        items = checklist(found)
        done, number = progress(items)
        if done == number and not found.records.complete:
            records.note_complete(store, time.time())
        asked = max((answers.at for answers in found.records.answers.values()), default=None)
        return render_template(
            "setup.html",
            store=store,
            items=items,
            done=done,
            number=number,
            asked=asked,
            sentence_parts=sentence_parts,
        )

    @blueprint.post("/setup/<name>")
    @guard.login_required
    @guard.token_required
    def act(name: str) -> Response:
        store, what = _store(config, name), request.form.get("what", "")
        if not busy.acquire(blocking=False):
            note = BUSY
        else:
            try:
                with httpx.Client(timeout=PAGE_TIMEOUT) as client:
                    note = _act(Setup(config, store, platforms[store.platform], database, client), what)
            except BrokenPlatform as error:
                note = f"{error}."
            finally:
                busy.release()
        response = make_response(redirect(url_for(".setup", name=name), 303))
        return guard.with_note(response, note) if note else response


def _act(setup: Setup, what: str) -> str:
    match what:
        case "check":
            setup.check()
            return ""
        case "register":
            return setup.register()
        case "test_event":
            return setup.send_test_event(request.form.get("code", ""))
        case "sample":
            return setup.post_sample()
        case "app_off":
            return setup.note_app_off()
    raise BadRequest(OUTDATED_FORM)


def _store(config: Config, name: str) -> Store:
    if name not in config.stores:
        known = ", ".join(config.stores)
        raise NotFound(f"There is no store of this name in the settings that run here; there are: {known}.")
    return config.stores[name]
