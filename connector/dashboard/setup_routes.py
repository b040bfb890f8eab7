"""Routes of the setup: the checklist of each store, and what its buttons do.

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
from connector.setup.situation import read_situation
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
    pages = _SetupPages(config, database, platforms, reload)
    guard.landing = pages.landing

    @blueprint.get("/setup")
    @guard.login_required
    def setups() -> str:
        return render_template("setups.html", stores=config.stores, complete=pages.records.complete(config.stores))

    @blueprint.get("/setup/<name>")
    @guard.login_required
    def setup(name: str) -> str | tuple[str, int]:
        try:
            return pages.list(_store(config, name))
        except BrokenPlatform as error:
            return render_template("failed.html", status=503, sentence=f"{error}."), 503

    @blueprint.post("/setup/<name>")
    @guard.login_required
    @guard.token_required
    def act(name: str) -> Response:
        note = pages.act(_store(config, name), request.form.get("what", ""))
        response = make_response(redirect(url_for(".setup", name=name), 303))
        return guard.with_note(response, note) if note else response


class _SetupPages:
    """Pages and actions of the routes."""

    def __init__(
        self, config: Config, database: Database, platforms: Mapping[str, Platform], reload: Reload | None
    ) -> None:
        self.records = SetupRecords(database)
        self._config = config
        self._database = database
        self._platforms = platforms
        self._reload = reload
        self._busy = Lock()

    def landing(self) -> str:
        """Return the setup until the first store is complete, then the overview."""
        try:
            if self.records.complete(self._config.stores):
                return url_for("dashboard.home")
        except CannotStore:
            return url_for("dashboard.home")
        (first, *more) = self._config.stores
        return url_for("dashboard.setups") if more else url_for("dashboard.setup", name=first)

    def list(self, store: Store) -> str:
        """Return the page of a store's checklist. Raises BrokenPlatform, CannotStore."""
        platform = self._platforms[store.platform]
        found = read_situation(self._config, store, platform, self._database, time.time(), self._reload)
        items = checklist(found)
        done, number = progress(items)
        if done == number and not found.records.complete:
            self.records.note_complete(store, time.time())
        return render_template(
            "setup.html",
            store=store,
            items=items,
            done=done,
            number=number,
            asked=max((answers.at for answers in found.records.answers.values()), default=None),
            sentence_parts=sentence_parts,
        )

    def act(self, store: Store, what: str) -> str:
        """Do what a button says, and return a sentence about it, or ""."""
        if not self._busy.acquire(blocking=False):
            return BUSY
        try:
            with httpx.Client(timeout=PAGE_TIMEOUT) as client:
                platform = self._platforms[store.platform]
                return _act(Setup(self._config, store, platform, self._database, client), what)
        except BrokenPlatform as error:
            return f"{error}."
        finally:
            self._busy.release()


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
