"""An application whose stores have funnels, and a browser in front of it."""

from datetime import UTC, datetime
from http.cookies import SimpleCookie

from connector.config.settings import load
from connector.monitoring.event_stats import EventStats
from tests.support.factories import a_section, a_stores_file
from tests.support.funnel import AGENT, IP, beacon, rows
from tests.support.web import client_of

STORES = a_stores_file(
    a_section(funnel={}), a_section("woocommerce", "beans", funnel={}, consent="required"), a_section(name="plain")
)
BROWSER = {"User-Agent": AGENT, "X-Forwarded-For": IP}
SHOP = {"Origin": "https://www.acme.example", "Host": "t.acme.example", "Sec-Fetch-Site": "same-site"}
SHOP_HEADERS = {name.replace("-", "_"): text for name, text in SHOP.items()}


def now():
    return datetime.now(UTC).timestamp()


class Shop:
    """An application whose stores have funnels, and a browser in front of it."""

    def __init__(self, database, stores=STORES):
        url = database.engine.url.render_as_string(hide_password=False)
        self.config = load({"STORES_TOML": stores, "DATABASE_URL": url, "TRUSTED_PROXIES": "1"})
        self.database = database
        self.client = client_of(self.config, database)
        self.application = self.client.application

    def token(self, store="acme", **headers):
        return self.client.open(f"/collect/{store}/token", headers=BROWSER | headers).json["token"]

    def post(self, body, store="acme", **headers):
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return self.client.post(f"/collect/{store}/event", data=body, headers=BROWSER | named)

    def report(self, *events, store="acme", **members):
        return self.post(beacon(*events, token=self.token(store), time=now(), **members), store)

    def stored(self):
        self.application.funnel.drain()
        return rows(self.database)

    def counted(self):
        self.application.funnel.drain()
        found = EventStats(self.database).read(["acme", "beans"], ["funnel"], 0, now() + 9999, 3600)
        return {(one.event, one.detail): one.count for one in found}


def cookie_of(answer):
    """The click id's cookie, if the answer sets one."""
    return SimpleCookie(answer.headers.get("Set-Cookie", "")).get("ttclid")
