"""Product feeds: the ids that a catalogue knows, from a CSV, TSV or XML file.

Columns of TikTok's catalogue: https://ads.tiktok.com/help/article/catalog-product-parameters
Tags of XML feeds: https://support.google.com/merchants/answer/7052112
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

IDS = ("sku_id", "id", "content_id", "offer_id", "sku", "product_id")  # the first that a feed has
GROUPS = ("item_group_id", "group_id", "parent_id", "parent_sku")
_ROWS = frozenset({"item", "entry", "product", "offer"})
_DELIMITERS = "\t,;|"


class FeedError(Exception):
    """The file is no product feed. The message is one sentence, with the remedy."""


@dataclass(frozen=True, slots=True)
class Feed:
    """The ids of a catalogue: of its products (`content_type` "product"), and of their groups ("product_group")."""

    products: frozenset[str]
    groups: frozenset[str]

    def ids(self, content_type: str) -> frozenset[str]:
        """Return the ids that events of this content_type are matched with."""
        return self.groups if content_type == "product_group" else self.products


def read_feed(path: Path) -> Feed:
    """Read a product feed. Raises FeedError."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise FeedError(f"{path} cannot be read: {error.strerror}") from None
    text = (
        raw.decode("utf-8-sig", errors="replace") if raw[:2] not in (b"\xff\xfe", b"\xfe\xff") else raw.decode("utf-16")
    )
    is_xml = text.lstrip()[:1] == "<"
    rows = _xml_rows(raw, path) if is_xml else _table_rows(text, path)
    products: set[str] = set()
    groups: set[str] = set()
    for row in rows:
        if found := _first(row, IDS):
            products.add(found)
        if group := _first(row, GROUPS):
            groups.add(group)
    if not products:
        raise FeedError(f"{path} has no product ids; it must have a column (or tag) {', '.join(IDS[:3])}")
    return Feed(frozenset(products), frozenset(groups))


def _first(row: Mapping[str, str], names: Iterable[str]) -> str:
    return next((value for name in names if (value := row.get(name, "").strip())), "")


def _table_rows(text: str, path: Path) -> Iterator[dict[str, str]]:
    header = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(_DELIMITERS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    names: list[str] = []
    try:
        for row in reader:
            if names:
                yield dict(zip(names, row, strict=False))
            elif any(cell.strip() for cell in row):
                names = [_name(cell) for cell in row]
                if not {*names} & {*IDS}:
                    raise FeedError(
                        f"{path} has no column of product ids ({', '.join(IDS[:3])}); its first line names: "
                        f"{', '.join(names[:12])[:200]}"
                    )
    except csv.Error as error:
        raise FeedError(f"{path} cannot be read as a table: {error}") from None


def _name(cell: str) -> str:
    return cell.strip().lower().removeprefix("g:").replace(" ", "_")


def _xml_rows(raw: bytes, path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of an RSS or Atom feed, or of any XML with one element a product."""
    try:
        # expat limits the expansion of entities, and reads no other file; the user chose this one.
        for _, element in ElementTree.iterparse(io.BytesIO(raw)):  # noqa: S314
            if _local(element.tag) in _ROWS:
                # An Atom entry has an id of its own, its address, beside the product's g:id.
                children = sorted(element, key=lambda child: "base.google.com" in child.tag)
                yield {_local(child.tag): child.text or "" for child in children} | _attributes(element)
                element.clear()
    except ElementTree.ParseError as error:
        raise FeedError(f"{path} is not valid XML: {error}") from None


def _local(tag: str) -> str:
    return _name(tag.rpartition("}")[2])


def _attributes(element: "ElementTree.Element") -> dict[str, str]:
    """Return the attributes that some feeds write ids in: `<offer id="12" group_id="3">`."""
    return {_name(name): value for name, value in element.attrib.items() if _name(name) in (*IDS, *GROUPS)}
