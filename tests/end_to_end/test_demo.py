"""`connector demo`: a shopper in a shop of each platform, and a dashboard to look at."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx

from connector.devtools.demo import demonstrable
from connector.setup.samples import samples_of

PATIENCE = 180  # seconds


@contextmanager
def taken(served: int, chosen: int) -> Iterator[None]:
    """Listen at one port, and take another one as a demo does that is about to start; unless somebody has them."""
    with socket.socket() as listener, socket.socket(type=socket.SOCK_DGRAM) as lock:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            listener.bind(("127.0.0.1", served))
            listener.listen()
        with suppress(OSError):
            lock.bind(("127.0.0.1", chosen))
        yield


def test_the_demo_ends_with_a_dashboard_to_look_at() -> None:
    """Its port is one that nobody has; its password opens it; each platform's shop is there, with what it sent; Ctrl-C
    ends all.
    """
    environment = {name: value for name, value in os.environ.items() if name != "ADMIN_PASSWORD"}
    with taken(8000, 8001), subprocess.Popen(
        [sys.executable, "-m", "connector", "demo"], env=environment | {"WEB_CONCURRENCY": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as demo:  # fmt: skip
        assert demo.stdout
        try:
            printed = ""
            for line in demo.stdout:  # all there is if the demo ends early, as where a port is taken
                printed += line
                if line == "Ctrl-C ends everything.\n":
                    break
            found = re.search(
                r"^The dashboard: +(http://127\.0\.0\.1:\d+)/ \(password: (\w{16})\)$", printed, re.MULTILINE
            )
            assert found, printed
            assert 8001 < int(found[1].rpartition(":")[2]) < 8100
            with httpx.Client(base_url=found[1], timeout=PATIENCE, follow_redirects=True) as browser:
                form = re.search(r'name="token" value="([^"]+)"', browser.get("/login").text)
                browser.post("/login", data={"password": found[2]} | ({"token": form[1]} if form else {}))
                overview = browser.get("/").text
                for platform in demonstrable():
                    assert f'href="/setup/{samples_of(platform).DEMO_SHOP.store}"' in overview
        finally:
            demo.send_signal(signal.SIGINT)
            demo.communicate(timeout=PATIENCE)
    assert demo.returncode == 0
