"""The WooCommerce plugin under php-cli, with WordPress as it acts on it, and the recorded orders it is tried with."""

import base64
import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from tests.browser.server_side import WOOCOMMERCE
from tests.support.snippets import snippet

HERE = Path(__file__).parent
RECORDINGS = HERE.parent / "fixtures" / "woocommerce" / "requests"
_PAGE = re.compile(r"\}\)\((\{.*\})\);\n</script>")
CLICK, TTP = "E.C.P.CtoBExample_0123%2B", "01JEXAMPLE0000000000000000_.tt.1"
PAID, ON_DELIVERY, UNPAID = "035", "068", "085"  # recordings: paid by variation, COD, bank transfer
COOKIES = {"ttclid": CLICK, "_ttp": TTP}
CART = [
    {
        "product_id": 11,
        "variation_id": 12,
        "quantity": 2,
        "price": 12.0,
        "sku": "MUG-S",
        "name": "Café Mug &amp; <b>Co</b>",
    },
    {"product_id": 10, "variation_id": 0, "quantity": 1, "price": 34.95, "sku": "", "name": "Linen Shirt"},
]
PERSON = {"id": 5, "email": "Jane.Doe@example.com", "phone": "(212) 555-0123", "country": "US"}
BANNER = {"type": "optin", "given": ["marketing"]}
REFUSED = {"type": "optin", "given": []}
PLACING = ("woocommerce_checkout_order_processed", "woocommerce_store_api_checkout_order_processed")


class Plugin:
    """The plugin printed for one store."""

    def __init__(self, php, folder, store=WOOCOMMERCE, **options):
        self.php, self.file = php, folder / f"{store.name}.php"
        self.file.write_text(snippet(store, "woocommerce", **options))

    def run(self, *steps, **case):
        """Let hooks happen, each a list of its name and arguments ("ORDER" is the case's order)."""
        return self._run([{**case, "steps": steps}])[0]

    def _run(self, cases):
        # Without the settings and extensions of this machine, none of which the plugin needs: 11 ms to start, not 34.
        command = [self.php, "-n", "-d", "display_errors=stderr", HERE / "wordpress.php", self.file]
        done = subprocess.run(command, input=json.dumps(cases), capture_output=True, encoding="utf-8", check=False)
        assert done.returncode == 0, done.stderr + done.stdout
        assert not done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def thanks(self, order, **case):
        """The thank-you page of an order."""
        return self.thanks_for([order], **case)[0]

    def thanks_for(self, orders, **case):
        """The thank-you pages of some orders, each by itself."""
        steps = [[["woocommerce_thankyou", order["id"]], ["wp_footer"]] for order in orders]
        return self._run([{**case, "order": order, "steps": of} for order, of in zip(orders, steps, strict=True)])

    def checks_out(self, **case):
        """The checkout page, where both kinds of checkout are heard of."""
        both = ("woocommerce_before_checkout_form", "woocommerce_blocks_enqueue_checkout_block_scripts_after")
        return self.run(["template_redirect"], *([hook] for hook in both), ["wp_footer"], **case)


def page_of(report):
    """The settings that a page's script has."""
    (page,) = map(json.loads, _PAGE.findall(report["html"]))
    return page


def told(report):
    """What a page tells TikTok's pixel, or None."""
    page = page_of(report)
    event = page["event"]
    if not event:
        return event
    names = list(dict.fromkeys(name for given in event["names"].values() for name in given))
    return {**event, "names": names, "by_pixel": event["names"], "pixels": page["pixels"]}


def recorded_orders():
    """The orders of all recorded webhooks by the recordings' names."""
    found = {}
    for path in sorted(RECORDINGS.glob("*__order.*.json")):
        body = json.loads(base64.b64decode(json.loads(path.read_text())["body_base64"]))
        if "line_items" in body:
            found[path.stem] = recent(body)
    return found


def recorded(number):
    """The body of a recording."""
    (path,) = RECORDINGS.glob(f"{number}_*.json")
    return json.loads(base64.b64decode(json.loads(path.read_text())["body_base64"]))


def recent(order):
    """The same order, placed (and paid, if it was) a moment ago; the pixel was told nothing yet."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    meta = [row for row in order["meta_data"] if row["key"] not in ("_tiktok_placed_at", "_tiktok_connector_sent")]
    return {**order, "date_created_gmt": now, "date_paid_gmt": order["date_paid_gmt"] and now, "meta_data": meta}


def order(number):
    return next(found for name, found in recorded_orders().items() if name.startswith(number))


def pairs(page):
    return {(name, page["id"]) for name in page["names"]} if page else set()


def webhook_of(report):
    return {"action": "wc_tiktok_initiate_checkout", "arg": report["fired"][0]}
