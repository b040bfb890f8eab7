"""The senders of docs/examples/signed, run as a shop would, against the real server."""

import json
import re
import shutil
import subprocess
import sys
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from connector.config.settings import load
from connector.core.registry import installed_platforms
from connector.outbox.queries import EventFilter, OutboxQueries
from connector.storage.database import Database
from connector.storage.engine import connect
from tests.support.factories import a_section, a_stores_file
from tests.support.web import application, served

pytestmark = pytest.mark.processes
ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "docs" / "examples" / "signed"
SECRETS = {"plain": "a-secret-of-more-than-16", "standard": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
IN_PYTHON = """
import json, sys
sys.path.insert(0, {folder!r})
from sender import send_event
print(send_event(*sys.argv[1:3], json.loads(sys.argv[3])))
"""
IN_NODE = """
import {{ sendEvent }} from {file!r};
const [url, secret, event] = process.argv.slice(1);
console.log(await sendEvent(url, secret, JSON.parse(event)));
"""
IN_PHP = "require {php!r}; echo send_event($argv[1], $argv[2], json_decode($argv[3], true));"
CALLS = {
    "python": (sys.executable, "-c", IN_PYTHON),
    "node": ("node", "--input-type=module", "-e", IN_NODE),
    "php": ("php", "-r", IN_PHP),
}


@pytest.fixture(params=CALLS)
def sender(request):
    """Call it to send an event in one of the languages; what it prints."""
    program, *arguments = CALLS[request.param]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    paths = {"folder": str(FOLDER), "file": (FOLDER / "sender.mjs").as_uri(), "php": str(FOLDER / "sender.php")}
    command = [program, *(argument.format(**paths) for argument in arguments)]

    def send(url, secret, event):
        more = ["--"] if request.param == "php" else []
        return subprocess.run(
            [*command, *more, url, secret, json.dumps(event)], capture_output=True, text=True, check=False, timeout=60
        )

    return send


def page_event():
    """The event of the page, of today."""
    text = re.search(r"```json\n(.*?)```", (ROOT / "docs" / "signed.md").read_text(), re.DOTALL)[1]
    return json.loads(text) | {"occurred_at": datetime.now(UTC).isoformat(timespec="seconds")}


@pytest.fixture
def shop(migrated_sqlite_url):
    """The URL of a running server with two stores, and the database."""
    sections = [
        a_section("signed", name, webhook_secrets=[secret], shop="mugs.example") for name, secret in SECRETS.items()
    ]
    config = load({"STORES_TOML": a_stores_file(*sections), "DATABASE_URL": migrated_sqlite_url})
    engine = connect(config.database_url)
    with served(application(config, Database(engine), installed_platforms())) as url:
        yield url, Database(engine)
    engine.dispose()


@pytest.mark.parametrize("name", SECRETS)
def test_the_event_of_the_page_arrives(sender, shop, name):
    """With either kind of secret, and with letters beyond ASCII."""
    url, database = shop
    event = page_event()
    event["customer"]["first_name"] = "Zoë"
    done = sender(f"{url}/webhooks/{name}", SECRETS[name], event)
    assert json.loads(done.stdout) == {"outcome": "relayed"}, done.stderr
    (row,) = OutboxQueries(database).find(EventFilter(), 10)
    assert (row.event, row.event_id) == ("Purchase", f"{name}-order-{event['order']['id']}")


def test_a_wrong_secret_is_said_and_not_repeated(sender, shop):
    url, database = shop
    done = sender(f"{url}/webhooks/plain", "another-secret-of-16", page_event())
    assert done.returncode
    assert "the event was not delivered: 401" in done.stderr + done.stdout
    assert "fits none of the store's secrets" in done.stderr + done.stdout
    assert not OutboxQueries(database).find(EventFilter(), 10)


def test_what_cannot_be_stored_is_repeated_under_one_id(sender):
    """The connector answers 503 while its database is away."""
    seen = []

    class Busy(BaseHTTPRequestHandler):
        def do_POST(self):
            seen.append((self.headers["webhook-id"], self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(503 if len(seen) == 1 else 200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Busy)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        done = sender(f"http://127.0.0.1:{server.server_port}/", SECRETS["plain"], page_event())
    finally:
        server.shutdown()
        server.server_close()
    assert done.stdout.strip() == "ok", done.stderr
    assert len(seen) == 2
    assert seen[0] == seen[1]


def test_each_is_of_about_thirty_lines():
    senders = sorted(FOLDER.glob("sender.*"))
    assert [file.suffix for file in senders] == [".mjs", ".php", ".py"]
    assert all(len(file.read_text().splitlines()) <= 35 for file in senders)
