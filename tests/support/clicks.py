"""Shops that remember clicks: WooCommerce's orders and checkouts come in by their whole way, and time is told."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from connector.core.store import ConsentSource, MatchingSettings, Pixel, Store
from connector.core.webhook import Request
from connector.intake.intake import Intake
from connector.outbox.outbox import Outbox
from connector.plugin.testing.bench import handle_request
from connector.privacy.requests import DataRequestStore
from connector.storage.database import Database
from connector.storage.tables import clicks, events
from tests.support.factories import SECRET, a_store
from tests.support.platforms import PLATFORMS

START = 1_780_000_000.0
DAY = 86_400.0
PIXEL, OTHER = Pixel("CACME000000000000000", "token"), Pixel("COTHER00000000000000", "token")
ASKING = {"consent": "required", "consent_source": ConsentSource("tiktok_consent")}
YES, NO = {"tiktok_consent": "yes"}, {"tiktok_consent": "no"}


def remembering(name: str = "acme", days: float = 28, pixels: tuple[Pixel, ...] = (PIXEL,), **changes: Any) -> Store:
    """A WooCommerce store that remembers clicks for so many days."""
    matching = MatchingSettings(remember_clicks=timedelta(days=days))
    return a_store(
        "woocommerce", name, pixels=pixels, max_event_age=timedelta(days=28), **{"matching": matching} | changes
    )


class Shops:
    """Some stores on one database; an order is paid unless `paid` says otherwise, and everybody is in the US."""

    def __init__(self, engine: Engine, *stores: Store) -> None:
        self.now = START
        self.engine = engine
        self.database = Database(engine)
        self.stores = {store.name: store for store in stores or (remembering(),)}
        self.outbox = Outbox(self.database)
        self.intake = Intake(self.stores, PLATFORMS, self.outbox, DataRequestStore(self.database), self.moment)
        self.intake.start()

    def moment(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)

    def after(self, days: float) -> "Shops":
        """Time passes."""
        self.now += days * DAY
        return self

    def order(
        self,
        number: int,
        email: str = "ada@example.com",
        phone: str = "",
        customer: int = 0,
        ttclid: str = "",
        ttp: str = "",
        meta: dict[str, Any] | None = None,
        placed: float | None = None,
        paid: bool = True,
        store: str = "acme",
        topic: str = "order.updated",
        **changes: Any,
    ) -> str:
        """An order's webhook; `placed` is Unix seconds, now by default. The outcome."""
        at, now = _gmt(self.now if placed is None else placed), _gmt(self.now)
        found = {"_tiktok_ttclid": ttclid, "_tiktok_ttp": ttp} | (meta or {})
        body = {
            "id": number,
            "number": str(number),
            "status": "processing" if paid else "on-hold",
            "created_via": "checkout",
            "currency": "USD",
            "total": "20.00",
            "date_created_gmt": at,
            "date_modified_gmt": now,
            "date_paid_gmt": now if paid else None,
            "customer_id": customer,
            "billing": {"email": email, "phone": phone, "country": "US"},
            "line_items": [],
            "meta_data": [{"key": key, "value": value} for key, value in found.items() if value],
        }
        return self.webhook(store, topic, body | changes)

    def checkout(self, token: str, store: str = "acme", **data: Any) -> str:
        """A started checkout's webhook, by the plugin; the outcome."""
        arg = {"token": token, "event_time": int(self.now), "country": "US", "line_items": []} | data
        body = {"action": "wc_tiktok_initiate_checkout", "arg": arg}
        return self.webhook(store, "action.wc_tiktok_initiate_checkout", body)

    def webhook(self, store: str, topic: str, body: dict[str, Any]) -> str:
        raw = json.dumps(body).encode()
        headers = {"X-WC-Webhook-Topic": topic, "X-WC-Webhook-Source": f"https://{self.stores[store].shops[0]}/"}
        headers |= PLATFORMS["woocommerce"].signed_headers(raw, SECRET)
        request = Request({name.lower(): value for name, value in headers.items()}, raw, self.moment())
        return handle_request(self.intake, self.stores[store], request)

    # --- what there is --------------------------------------------------------------------------------------

    def rows(self, table: sa.Table = events) -> list[Any]:
        with self.engine.connect().execution_options(reading=True) as connection:
            return list(connection.execute(sa.select(table).order_by(*table.primary_key.columns)).all())

    def keys(
        self, number: object, event: str = "Purchase", pixel: Pixel = PIXEL, store: str = "acme"
    ) -> dict[str, str]:
        """The click id and browser id of an event as it will be sent."""
        row = self.event(number, event, pixel, store)
        user = json.loads(row.payload)["user"]
        return {name: user[name] for name in ("ttclid", "ttp") if name in user}

    def event(self, number: object, event: str = "Purchase", pixel: Pixel = PIXEL, store: str = "acme") -> Any:
        key = (store, pixel.code, event, f"{store}-order-{number}")
        return next(row for row in self.rows() if (row.store, row.pixel, row.event, row.event_id) == key)

    def remembered(self) -> list[str]:
        """The click ids that are remembered, of events and in the table."""
        own = {json.loads(row.payload)["user"].get("ttclid") for row in self.rows() if row.clicked_at and row.payload}
        return sorted({*own, *(row.ttclid for row in self.rows(clicks))} - {None, ""})

    def sent(self) -> "Shops":
        """TikTok accepts all that waits, now."""
        with self.engine.begin() as connection:
            connection.execute(sa.update(events).values(state="accepted", settled_at=self.now))
        return self


def _gmt(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
