"""`connector check --catalogue`: which `mapping.content_id` makes a shop's items match the ids of its catalogue.

Each choice of the setting is tried, and each template that turns an item's ids into an id of the feed. Shares are of
the lines of orders. https://ads.tiktok.com/help/article/about-catalog-event-match-rates
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace as replaced

from connector.core.event import Event, Item
from connector.core.platform import Platform
from connector.core.store import Store
from connector.core.text import percent
from connector.core.values import CONTENT_IDS
from connector.core.webhook import InvalidPayload, NotJson, Webhook
from connector.devtools.feed import Feed
from connector.intake.examine import parse
from connector.mapping.properties import content_id, content_type

GOOD = 0.8  # TikTok warns of a catalogue with a lower share of matching ids
COINCIDENCE = 0.2  # at most this share of short numbers may match by chance
SAMPLED = 300  # items from which templates are derived
NEAR = 50  # ids of the feed that are looked at for one id of an item
TEMPLATES = 30  # templates that are tried, the most frequent first
SHOWN = 3  # examples of ids without a match
MATCHES_SHOWN = 8  # choices, the best first
_ITEM_IDS = ("variant_id", "product_id", "sku")


@dataclass(frozen=True, slots=True)
class Match:
    """One choice of `mapping.content_id`, and the number of order lines whose id the feed has."""

    choice: str
    lines: int
    of: int

    @property
    def share(self) -> float:
        """The share of matching lines, 0.0 to 1.0."""
        return self.lines / self.of if self.of else 0.0


@dataclass(frozen=True, slots=True)
class CatalogueCheck:
    """The result for one store: every choice, the best first; the present one; examples of ids that do not match."""

    items: int
    lines: int
    matches: tuple[Match, ...]
    present: Match
    unmatched: tuple[str, ...]  # ids of the best choice

    @property
    def best(self) -> Match | None:
        """The best choice; None if none fits."""
        best = self.matches[0]
        return best if best.share > COINCIDENCE else None

    @property
    def verdict(self) -> str:
        """The result in one sentence, with what to do."""
        if not self.lines:
            return "no item to check: there was no order in this time (--since 90d looks further back)"
        best = self.best
        if best is None:
            return (
                "none fits: the feed has no id that could be made from these items' ids; is it this shop's feed, and "
                "complete?"
            )
        if best.choice == self.present.choice:
            fits = f"mapping.content_id = {_quoted(best.choice)}, as set, matches best"
        else:
            fits = f"set mapping.content_id = {_quoted(best.choice)}"
        missing = (
            f"; {percent(self.lines - best.lines, self.lines, 1)} of the lines are not in the feed"
            if best.lines < self.lines
            else ""
        )
        return fits + missing


def _quoted(choice: str) -> str:
    return f'"{choice}"'


class ItemCount:
    """Counts the lines of orders by item, from bodies as the shop's API returns them."""

    def __init__(self, store: Store, platform: Platform) -> None:
        self._store = store
        self._platform = platform
        self._seen: set[str] = set()
        self.orders = 0
        self.lines: Counter[Item] = Counter()

    def add(self, topic: str, body: bytes) -> None:
        """Count an order's lines once; a body that cannot be translated counts nothing."""
        webhook = Webhook(topic, body, datetime.now(UTC))
        try:
            translated = [*self._platform.translate(replaced(webhook, data=parse(body)), self._store)]
        except (InvalidPayload, NotJson):
            return
        order = next((one for one in translated if isinstance(one, Event) and one.ids.get("order_id")), None)
        if order is None or order.ids["order_id"] in self._seen:
            return
        self._seen.add(order.ids["order_id"])
        self.orders += 1
        for item in order.items:
            self.lines[Item(product_id=item.product_id, variant_id=item.variant_id, sku=item.sku)] += 1


def check_catalogue(store: Store, lines: Counter[Item], feed: Feed) -> CatalogueCheck:
    """Try every choice and the likely templates on the items."""
    present = store.mapping.content_id
    choices = dict.fromkeys((present, *_ITEM_IDS, *likely_templates(lines, feed)))
    total = lines.total()
    matches = [Match(choice, _matching(store, choice, lines, feed), total) for choice in choices]
    matches.sort(key=lambda match: (-match.lines, match.choice != present, _rank(match.choice)))
    best = matches[0].choice
    ids = feed.ids(content_type(best))
    unmatched = dict.fromkeys(found for item in lines if (found := _id_of(item, store, best)) not in ids)
    return CatalogueCheck(
        items=len(lines),
        lines=total,
        matches=tuple(matches),
        present=next(match for match in matches if match.choice == present),
        unmatched=tuple([*filter(None, unmatched)][:SHOWN]),
    )


def _matching(store: Store, choice: str, lines: Counter[Item], feed: Feed) -> int:
    ids = feed.ids(content_type(choice))
    return sum(number for item, number in lines.items() if _id_of(item, store, choice) in ids)


def _id_of(item: Item, store: Store, choice: str) -> str:
    return content_id(item, replace(store, mapping=replace(store.mapping, content_id=choice)))


def _rank(choice: str) -> tuple[Any, ...]:
    """Return the sequence of equally good choices: plain ids, then simple templates; variants before groups."""
    plain = _ITEM_IDS.index(choice) if choice in CONTENT_IDS else len(_ITEM_IDS)
    return plain, content_type(choice) == "product_group", choice.count("{"), len(choice), choice


# --- templates --------------------------------------------------------------------------------------------------


def likely_templates(items: Iterable[Item], feed: Feed) -> list[str]:
    """Return the templates that turn most of the items' ids into ids of the feed, the most frequent first."""
    index = _by_token(feed.products | feed.groups)
    found: Counter[str] = Counter()
    for item in [*items][:SAMPLED]:
        found.update({template for near in _near(item, index) for template in _templates(item, near)})
    return [template for template, _ in found.most_common(TEMPLATES)]


def _by_token(ids: Iterable[str]) -> dict[str, list[str]]:
    """Return the feed's ids by the numbers and words in them."""
    index: dict[str, list[str]] = defaultdict(list)
    for one in sorted(ids):
        for token in _tokens(one):
            index[token].append(one)
    return index


def _tokens(text: str) -> set[str]:
    return {*re.findall(r"\d+", text), *re.findall(r"[^\W_]+", text)}


def _near(item: Item, index: dict[str, list[str]]) -> Iterator[str]:
    """Yield ids of the feed that contain one of the item's ids, those of the rarest word first."""
    for name in _ITEM_IDS:
        value = getattr(item, name)
        known = [index[token] for token in _tokens(value) if token in index]
        if known:
            yield from (one for one in min(known, key=len)[:NEAR] if value in one)


def _templates(item: Item, near: str) -> Iterator[str]:
    """Yield the templates that make this id of the feed from the item's ids."""
    values = {name: value for name in _ITEM_IDS if (value := getattr(item, name))}
    pattern = "|".join(f"(?P<{name}>{_bounded(value)})" for name, value in _longest_first(values))
    if not pattern or set("{}") & set(near):
        return
    template = re.sub(pattern, lambda match: f"{{{match.lastgroup}}}", near)
    if template == near or re.fullmatch(r"\{\w+\}", template):
        return
    yield template
    # An item without variants is listed under its product's id, as others are under their variant's.
    own = "variant_id" if item.variant_id else "product_id"
    if f"{{{own}}}" in template and not (own == "variant_id" and "{product_id}" in template):
        yield template.replace(f"{{{own}}}", "{item_id}")


def _bounded(value: str) -> str:
    """Return a pattern for an id that is not a part of a longer number."""
    before = r"(?<!\d)" if value[0].isdigit() else ""
    return before + re.escape(value) + (r"(?!\d)" if value[-1].isdigit() else "")


def _longest_first(values: dict[str, str]) -> list[tuple[str, str]]:
    return sorted(values.items(), key=lambda pair: -len(pair[1]))
