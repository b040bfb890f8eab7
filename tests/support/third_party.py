"""A platform of a third party: a package on the path, with the metadata that pip writes beside it."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
THIRD_PARTY = """
from connector.plugin import BodySignature, Platform, PlatformFacts


class MyShop(Platform):
    name = "myshop"
    title = "MyShop"
    facts = PlatformFacts(content_id="sku", shared_url=True)
    signature = BodySignature("X-MyShop")
    event_topics = frozenset({"sold"})

    def translate(self, webhook, store):
        return []

    def topic_of(self, request):
        return "sold"


platform = MyShop()
"""
STORES = """
[defaults]
webhook_secrets = ["${SECRET}"]
access_token = "${SECRET}"
consent = "not_required"
url = "https://shop.example"

[stores.acme]
platform = "shopify"
shop = "acme.myshopify.com"
pixel = "CABCDEFGHIJKLMNOPQR0"

[stores.other]
platform = "myshop"
shop = "other.example"
pixel = "CABCDEFGHIJKLMNOPQR1"
api = { access_token = "${SECRET}" }
"""


def python(code, *, cwd=ROOT, path=(), options=(), **environ):
    """What a fresh interpreter prints, as JSON."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), **environ}
    command = [sys.executable, *options, "-c", f"import json, sys\n{code}"]
    done = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def install(folder, source=THIRD_PARTY, *names):
    """Put the package there, offering its object under these names; the folder, for `path`."""
    (folder / "myshop.py").write_text(source)
    info = folder / "connector_myshop-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: connector-myshop\nVersion: 1.0\n")
    lines = "".join(f"{name} = myshop:platform\n" for name in names or ("myshop",))
    (info / "entry_points.txt").write_text(f"[connector.platforms]\n{lines}")
    return folder
