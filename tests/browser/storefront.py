"""Pages of a shop in a real browser: a loopback server gives them, and takes what they send to /collect."""

import json
import queue
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
PATIENCE = 60  # seconds, on a busy machine
SANDBOX = '<iframe sandbox="allow-scripts allow-forms" src="/custom-pixel"></iframe>'
ALLOWED = {
    "analyticsProcessingAllowed": True,
    "marketingAllowed": True,
    "preferencesProcessingAllowed": True,
    "saleOfDataAllowed": True,
}
REFUSED = {**ALLOWED, "marketingAllowed": False}


class Beacon(NamedTuple):
    """A request to /collect as it came."""

    path: str
    headers: dict
    body: dict


class Call(NamedTuple):
    """A call of TikTok's pixel; `pixel` is "" for all of them."""

    pixel: str
    method: str
    arguments: list


class Storefront:
    """One shop and one shopper's browser, TikTok's script answered by the stub, or `blocked` as by an ad blocker."""

    def __init__(self, chromium):
        self.pages = {}
        self.beacons = queue.Queue()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.context = chromium.new_context(user_agent="Mozilla/5.0 (Linux; Android 15) Example/1.0")
        self.blocked = False
        self.held = None  # a list: requests for TikTok's script that wait for `release`
        self.scripts = 0  # times that TikTok's script was asked for
        self.errors = []
        self.tokens = []  # those that /collect gave out
        self.refused = set()  # those it takes no more
        self.permit = None  # what the shop's own address answers for a token, in place of one that this class makes
        self.served = []  # paths of pages, in the order they were asked for, with the purpose
        self.numbers = count(1)
        self.context.set_default_timeout(PATIENCE * 1000)
        self.context.route(re.compile("^https:"), self._outside)  # all that is not this server

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.context.close()
        self.server.shutdown()
        self.server.server_close()

    # --- Shopify

    def open_shopify(self, code, customer=None, privacy=ALLOWED, path="/", currency="USD", company=None):
        """A page with the custom pixel `code`, unchanged, in its sandbox."""
        data = {"customer": customer, "shop": shop(currency), "purchasingCompany": company}
        init = {"customerPrivacy": privacy, "data": data, "context": {}}
        given = {"{{init}}": json.dumps(init), "{{code}}": code}
        self.pages["/custom-pixel"] = _filled("custom_pixel.html", given)
        self.pages[path.partition("?")[0]] = _filled("shop_page.html", {"{{body}}": SANDBOX})
        self.visit(path)
        self.page.wait_for_function("window.sandboxed !== undefined")
        assert self.page.evaluate("window.sandboxed"), "the pixel's frame must have an opaque origin"

    def tell(self, name, **data):
        """Let an event of Shopify's happen, and wait until the pixel's answer to it has come to its end."""
        place = self.page.evaluate("[location.href, location.search, document.referrer]")
        document = {"location": {"href": place[0], "search": place[1]}, "referrer": place[2]}
        navigator = self.page.evaluate("({userAgent: navigator.userAgent, language: navigator.language})")
        context = {"document": document, "navigator": navigator}
        event = {"id": "sh-1", "name": name, "type": "standard", "data": data, "context": context}
        self._tell({"event": event})

    def answer_consent(self, privacy):
        self._tell({"privacy": privacy})

    def _tell(self, message):
        number = next(self.numbers)
        self.page.evaluate("message => tell(message)", {**message, "done": number})
        self.page.wait_for_function("number => window.done.includes(number)", arg=number)

    # --- any page

    def open_page(self, path, body):
        """A page of a shop with `body` in it."""
        self.pages[path.partition("?")[0]] = _filled("shop_page.html", {"{{body}}": body})
        self.visit(path)

    def visit(self, path):
        """Go to a page, or load it again."""
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(self.url + path)

    def calls(self, number=None):
        """The pixel's calls; `number` waits for so many of `track`."""
        if number is not None:
            self.page.wait_for_function(
                "number => window.tiktok.filter(one => one.method === 'track').length >= number", arg=number
            )
        assert not self.errors
        return [Call(one["pixel"], one["method"], one["arguments"]) for one in self.page.evaluate("window.tiktok")]

    def tracked(self, number=None):
        return [call for call in self.calls(number) if call.method == "track"]

    def identified(self):
        return [call.arguments[0] for call in self.calls() if call.method == "identify"]

    def until(self, met):
        """Wait for what a page lets happen outside of it."""
        deadline = time.monotonic() + PATIENCE
        while not met():
            assert time.monotonic() < deadline, f"it did not come to pass in {PATIENCE} s"
            self.page.wait_for_timeout(25)

    def beacon(self):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                return self.beacons.get(timeout=0.05)
            except queue.Empty:
                self.page.evaluate("0")  # while Playwright is asked for nothing, it gives nothing from outside
        raise AssertionError("no beacon came")

    def no_beacon(self):
        """What is sent after all else has arrived, and nothing before it."""
        self.page.evaluate("url => fetch(url, {method: 'POST', body: '{}'})", f"{self.url}/collect/last")
        return self.beacon().path == "/collect/last"

    def cookies(self):
        # The page hands its cookies over without waiting; by its own question it is known that they have arrived.
        self.page.evaluate("document.cookie")
        return {cookie["name"]: cookie["value"] for cookie in self.context.cookies()}

    def set_cookie(self, name, value):
        self.context.add_cookies([{"name": name, "value": value, "url": self.url}])

    def release(self):
        """Answer the requests for TikTok's script that were held."""
        held, self.held = self.held, None
        for route in held:
            _answer_with_stub(route)

    def _outside(self, route):
        sdk = "https://analytics.tiktok.com/i18n/pixel/events.js?"
        self.scripts += route.request.url.startswith(sdk)
        if route.request.url.startswith(sdk) and self.held is not None:
            self.held.append(route)
        elif route.request.url.startswith(sdk) and not self.blocked:
            _answer_with_stub(route)
        else:
            route.abort("blockedbyclient")

    def _handler(self):
        front = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                if self.path.endswith("/token"):
                    front.tokens.append(f"a.{len(front.tokens)}")
                    self._answer(200, json.dumps({"token": front.tokens[-1], "expires": time.time() + 1800}))
                    return
                front.served.append((self.path, self.headers.get("Sec-Purpose", "")))
                page = front.pages.get(self.path.partition("?")[0])
                self.send_response(404 if page is None else 200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write((page or "").encode())

            def do_POST(self):
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/?wc-ajax=connector_token":
                    made = {"token": f"p.{len(front.tokens)}", "expires": time.time() + 1800, "external_id": "0" * 64}
                    permit = front.permit() if front.permit else made
                    front.tokens.append(permit["token"])
                    self._answer(200, json.dumps(permit))
                    return
                body = json.loads(raw)
                front.beacons.put(Beacon(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                self._answer(403 if body.get("token") in front.refused else 204)

            def _answer(self, status, text=""):
                self.send_response(status)
                origin = self.headers.get("Origin", "null")
                self.send_header("Access-Control-Allow-Origin", "*" if origin == "null" else origin)
                self.send_header("Access-Control-Allow-Credentials", "true")
                self.end_headers()
                self.wfile.write(text.encode())

            def do_OPTIONS(self):
                raise AssertionError("a beacon must need no preflight")

            def log_message(self, *_):
                pass

        return Handler


def _answer_with_stub(route):
    route.fulfill(content_type="text/javascript", body=(HERE / "tiktok_stub.js").read_text())


def shop(currency):
    return {"name": "Acme", "paymentSettings": {"currencyCode": currency}, "storefrontUrl": "https://acme.example"}


def _filled(name, given):
    text = (HERE / name).read_text()
    for mark, value in given.items():
        text = text.replace(mark, value)
    return text
