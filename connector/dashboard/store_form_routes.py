"""The page `/add-store`: the text of a store's settings from a form. It stores nothing."""

from flask import Blueprint, render_template, request

from connector.config.settings import Config
from connector.dashboard.labels import sentence_parts
from connector.dashboard.login import LoginGuard
from connector.setup.store_form import MAIN_FIELDS, fields, store_text


def add_store_form_routes(blueprint: Blueprint, guard: LoginGuard, config: Config) -> None:
    """Add `/add-store`."""

    def page(**shown: object) -> str:
        every = fields()
        return render_template(
            "add_store.html",
            main=every[:MAIN_FIELDS],
            more=every[MAIN_FIELDS:],
            public_url=config.public_url,
            sentence_parts=sentence_parts,
            **shown,
        )

    @blueprint.get("/add-store")
    @guard.login_required
    def add_store() -> str:
        return page(given={}, result=None)

    @blueprint.post("/add-store")
    @guard.login_required
    @guard.token_required
    def made_store() -> tuple[str, int]:
        result = store_text(request.form, config.stores)
        return page(given=request.form, result=result), 422 if result.faults else 200
