"""connector.devtools.catalogue: the best `mapping.content_id` for a feed, over generated catalogues and by command."""

import csv
import io
import json
import os
import random
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
from click.testing import CliRunner

from connector.cli.main import main
from connector.core.event import Item
from connector.core.store import MappingSettings
from connector.devtools.catalogue import COINCIDENCE, CatalogueCheck, ItemCount, check_catalogue
from connector.devtools.feed import Feed, FeedError, read_feed
from connector.mapping.properties import content_id, content_type
from tests.support.factories import OTHER_CODE, a_section, a_store, a_stores_file
from tests.support.fakes.living import SECRET, Clock, Living
from tests.support.platforms import PLATFORMS
from tests.support.sample_bodies import NOW, PAID, sample

STORES = {name: a_store(name, country="US") for name in ("shopify", "woocommerce")}
ALL = int(os.environ.get("CATALOGUES", "400"))  # generated for each platform; 5000 take a minute
BATCHES = 2


@dataclass(frozen=True)
class Truth:
    """A setting, and how a feed writes an item's ids under it: the product's, the group's."""

    choice: str
    product: Any
    group: Any = lambda item: f"g{item.product_id}"


def own(item: Item) -> str:
    return item.variant_id or item.product_id


TRUTHS = [
    Truth("variant_id", own),
    Truth("product_id", lambda item: f"x{own(item)}y", lambda item: item.product_id),
    Truth("sku", lambda item: item.sku),
    Truth("shopify_US_{product_id}_{variant_id}", lambda item: f"shopify_US_{item.product_id}_{item.variant_id}"),
    Truth("gla_{item_id}", lambda item: f"gla_{own(item)}"),
    Truth("wc-{item_id}-de", lambda item: f"wc-{own(item)}-de"),
    Truth("{sku}_{item_id}", lambda item: f"{item.sku}_{own(item)}"),
    Truth("group-{product_id}", lambda item: f"z{item.sku}z", lambda item: f"group-{item.product_id}"),
    Truth("pre.{sku}", lambda item: f"pre.{item.sku}"),
]


def random_items(rng: random.Random, variants: bool) -> list[Item]:
    """Products of a shop; with `variants`, all have them, as at Shopify."""
    start = rng.choice((10, 900, 8_140_000_000_000))
    found = []
    for number in range(rng.randint(3, 15)):
        product = str(start + number * rng.randint(1, 7))
        for variant in range(rng.randint(1, 3)):
            has_variant = variants or rng.random() < 0.5
            sku = f"{rng.choice(('MUG', 'tee', 'Ä'))}-{number}-{variant}{rng.choice(('', 'x', '.b'))}"
            variant_id = str(start * 3 + 100_000 + number * 10 + variant) if has_variant else ""
            found.append(Item(product_id=product, variant_id=variant_id, sku=sku))
            if not has_variant:
                break
    return found


def brute_force(items: Counter[Item], feed: Feed, choices: list[str]) -> dict[str, int]:
    store = STORES["shopify"]
    found = {}
    for choice in choices:
        chosen = replace(store, mapping=MappingSettings(content_id=choice))
        ids = feed.groups if content_type(choice) == "product_group" else feed.products
        found[choice] = sum(number for item, number in items.items() if content_id(item, chosen) in ids)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(BATCHES))
@pytest.mark.parametrize("platform", sorted(STORES))
def test_the_best_choice_is_found_in_generated_catalogues(platform: str, batch: int) -> None:
    """Catalogues of variants, parents, SKUs, templates, foreign prefixes; or of another shop."""
    rng = random.Random(f"{platform} {batch}")
    verdicts: Counter[str] = Counter()
    for _ in range(ALL // BATCHES):
        items = random_items(rng, platform == "shopify")
        lines = Counter({item: rng.randint(1, 9) for item in items})
        truth = rng.choice([one for one in TRUTHS if platform == "shopify" or "{variant_id}" not in one.choice])
        listed = [item for item in items if rng.random() < 0.9]
        strangers = [Item(product_id=f"5{n}5", variant_id=f"6{n}6", sku=f"other-{n}") for n in range(rng.randint(1, 9))]
        foreign = rng.random() < 0.1
        known = strangers if foreign else [*listed, *strangers]
        feed = Feed(frozenset(truth.product(item) for item in known), frozenset(truth.group(item) for item in known))
        store = replace(
            STORES[platform], mapping=MappingSettings(content_id=rng.choice(("variant_id", "product_id", "sku")))
        )
        result = check_catalogue(store, lines, feed)
        expected = brute_force(lines, feed, [truth.choice, "variant_id", "product_id", "sku"])
        if max(expected.values()) <= COINCIDENCE * lines.total():
            assert result.best is None or result.best.share > COINCIDENCE
            verdicts["none fits" if "none fits" in result.verdict else "found"] += 1
            continue
        verdicts[truth.choice] += 1
        assert result.best is not None, (truth.choice, expected)
        assert result.best.lines >= max(expected.values()), (truth.choice, result.matches[:3], expected)
        again = brute_force(lines, feed, [result.best.choice])
        assert again == {result.best.choice: result.best.lines}
    assert verdicts["none fits"] > 3
    assert len(verdicts) > 7


def checked(items: list[Item], feed: Feed, choice: str = "sku") -> CatalogueCheck:
    store = replace(STORES["woocommerce"], mapping=MappingSettings(content_id=choice))
    return check_catalogue(store, Counter(items), feed)


ITEMS = [Item(product_id=f"{n}000", variant_id=f"{n}001", sku=f"MUG-{n}") for n in range(1, 6)]


def test_the_present_setting_is_kept_where_it_is_as_good() -> None:
    feed = Feed(frozenset(item.sku for item in ITEMS), frozenset(item.product_id for item in ITEMS))
    for choice in ("sku", "product_id"):
        result = checked(ITEMS, feed, choice)
        assert result.best == result.present
        assert result.verdict == f'mapping.content_id = "{choice}", as set, matches best'


def test_what_is_not_in_the_feed_is_said() -> None:
    feed = Feed(frozenset(f"gla_{item.variant_id}" for item in ITEMS[1:]), frozenset())
    result = checked(ITEMS, feed)
    assert result.verdict == (
        'set mapping.content_id = "gla_{item_id}"; 20.0% of the lines are not in the feed'
    ) or result.verdict.startswith('set mapping.content_id = "gla_{variant_id}"; 20.0%')
    assert result.unmatched == ("gla_1001",)
    assert checked([], feed).verdict.startswith("no item to check")


def test_a_template_found_here_is_one_the_settings_take(tmp_path: Path) -> None:
    """What the command recommends can be written into the stores file, and then matches."""
    feed = Feed(frozenset(f"gla_{own(item)}" for item in ITEMS), frozenset())
    best = checked([*ITEMS, Item(product_id="7", sku="s")], feed).best
    assert best is not None
    assert content_type(best.choice) == "product"
    assert content_type("{item_id}-{product_id}") == "product"
    assert content_type("x-{product_id}") == "product_group"


def test_items_are_counted_once_an_order() -> None:
    for name, store in STORES.items():
        body = json.dumps(sample(store)).encode()
        count = ItemCount(store, PLATFORMS[name])
        for _ in range(2):
            count.add(PAID[name], body)
        count.add(PAID[name], b"[]")
        assert (count.orders, count.lines.total()) == (1, len(json.loads(body)["line_items"]))
    assert NOW


# --- feeds ------------------------------------------------------------------------------------------------------

ROWS = [("gla_1", "g1", 'Mug, "blue"'), ("gla_2", "g1", "Tee;\nlong"), ("gla_3", "", "Ä & Co <x>")]


def table(delimiter: str, *names: str) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerows([names, *ROWS])
    return out.getvalue().encode()


def xml(rows: str, root: str) -> bytes:
    content = "".join(rows.format(id=id, group=group, title=escape(title)) for id, group, title in ROWS)
    return f'<?xml version="1.0"?><{root} xmlns:g="http://base.google.com/ns/1.0">{content}</{root}>'.encode()


@pytest.mark.parametrize(
    "content",
    [
        table(",", "sku_id", "item_group_id", "title"),
        table("\t", "id", "item group id", "title"),
        table(";", "g:id", "g:item_group_id", "title"),
        b"\xef\xbb\xbf" + table(",", "ID", "Item_Group_ID", "Title"),
        table(",", "id", "item_group_id", "title").decode().encode("utf-16"),
        xml("<item><g:id>{id}</g:id><title>{title}</title><g:item_group_id>{group}</g:item_group_id></item>", "rss"),
        xml(
            "<entry><g:id>{id}</g:id><id>https://x.example/{id}</id><g:item_group_id>{group}</g:item_group_id></entry>",
            "feed",
        ),
        xml('<offer id="{id}" group_id="{group}"><name>{title}</name></offer>', "shop"),
    ],
)  # fmt: skip
def test_feeds_of_each_form(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "feed").write_bytes(content)
    assert read_feed(tmp_path / "feed") == Feed(frozenset({"gla_1", "gla_2", "gla_3"}), frozenset({"g1"}))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "has no product ids"),
        (
            b"name,price\nMug,3\n",
            "has no column of product ids (sku_id, id, content_id); its first line names: name, price",
        ),
        (b"<rss><item></item></rss>", "has no product ids"),
        (b"<rss><item>", "is not valid XML"),
        (b"\x00\x01\x02", "has no column of product ids"),
    ],
)
def test_files_that_are_no_feed(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "feed").write_bytes(content)
    with pytest.raises(FeedError) as caught:
        read_feed(tmp_path / "feed")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


# --- the command ------------------------------------------------------------------------------------------------


def test_the_command_reads_orders_from_the_shop_and_recommends(tmp_path: Path) -> None:
    shop = Living("woocommerce", Clock())
    with shop.fake:
        shop.place(3)
        lines = [row for body in shop.fake.orders.values() for row in body["line_items"]]
        keys = {"consumer_key": shop.fake.key, "consumer_secret": shop.fake.secret}
        section = a_section(
            "woocommerce", "beans", url=shop.fake.url, shop=shop.fake.url, pixel=OTHER_CODE, api=keys,
        )  # fmt: skip
        environ = {
            "STORES_TOML": a_stores_file(section, webhook_secrets=[SECRET]),
            "DATABASE_URL": f"sqlite:///{tmp_path}/no.db",
        }

        def run(*arguments: str) -> tuple[int, str]:
            result = CliRunner(env=environ).invoke(main, ["check", *arguments])
            return result.exit_code, result.output

        feed = tmp_path / "feed.csv"
        feed.write_text("\n".join(["id", *(f"gla_{row['variation_id'] or row['product_id']}" for row in lines)]))
        status, said = run("--catalogue", str(feed))
        assert status == 0, said
        assert said.startswith(f"store beans: {len(lines)} lines of 3 orders; the feed has ")
        assert "  0.0%  as set\n" in said
        assert said.splitlines()[-1] == 'set mapping.content_id = "gla_{item_id}"'
        found = json.loads(run("--catalogue", str(feed), "--json")[1])
        assert (found["best"], found["present"], found["choices"][0]["share"]) == ("gla_{item_id}", "sku", 1.0)
        feed.write_text("id\nfrom-elsewhere\n")
        assert "none fits" in run("--catalogue", str(feed))[1]
        feed.write_text("name\nMug\n")
        assert run("--catalogue", str(feed))[0] == 1
        for wrong in (("--json",), ("--catalogue", str(feed), "--store", "nobody"), ("--catalogue", "none.csv")):
            assert run(*wrong)[0] == 2
        assert not (tmp_path / "no.db").exists()
