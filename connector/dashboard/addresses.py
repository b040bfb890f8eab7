"""Addresses of the pages to which the numbers of other pages lead. They need a request, in which they are made."""

from urllib.parse import urlencode

from flask import url_for

from connector.dashboard.page_parts import form_time


def events_address(state: str, since: float, until: float | None = None, **more: str) -> str:
    """Return the address of the list of events that were answered in [since, until); `more`: store, pixel, event."""
    return _list_address("events", since, until, state=state, **more)


def webhooks_address(kind: str, since: float, until: float | None = None, **more: str) -> str:
    """Return the address of the list of webhooks of a kind that were received in [since, until); `more`: store."""
    return _list_address("webhooks", since, until, kind=kind, **more)


def story_address(store: str, object_key: str) -> str:
    """Return the address of the page of one order, checkout or customer."""
    return address("story", store=store, key=object_key)


def address(page: str, **chosen: str) -> str:
    """Return the address of a page of the dashboard with the parameters that are not empty."""
    given = urlencode({name: value for name, value in chosen.items() if value})
    return f"{url_for(f'dashboard.{page}')}?{given}" if given else url_for(f"dashboard.{page}")


def _list_address(page: str, since: float, until: float | None, **chosen: str) -> str:
    return address(page, **chosen, since=form_time(since), until="" if until is None else form_time(until))
