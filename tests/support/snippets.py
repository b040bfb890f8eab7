"""The snippets by kind: a platform's name, or "plain"."""

from connector.pixel import plain
from connector.pixel.version import printed
from tests.support.platforms import PLATFORMS


def _module(kind):
    return plain if kind == "plain" else PLATFORMS[kind].snippet


def _options(with_official_plugin, with_pixel):
    chosen = {"with_official_plugin": with_official_plugin, "without_pixel": not with_pixel}
    return {name for name, is_set in chosen.items() if is_set}


def snippet(store, kind, base_url="", with_official_plugin=False, with_pixel=True):
    return printed(_module(kind), store, base_url, _options(with_official_plugin, with_pixel))


def where_to_paste(store, kind):
    return _module(kind).where_to_paste(store)


def snippet_warnings(store, kind, with_pixel=True):
    return _module(kind).snippet_warnings(store, _options(False, with_pixel))
