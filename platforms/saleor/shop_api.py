"""Saleor's GraphQL API: the app's webhooks, and orders from the history in the form of webhooks.

https://docs.saleor.io/developer/extending/webhooks/overview, https://docs.saleor.io/api-reference/orders/queries/orders
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import msgspec

from connector.plugin import ApiCheck, Page, ShopApi, ShopApiError, Store, Subscription, parse_time
from platforms.saleor.order_state import BOOK_TOPICS

if TYPE_CHECKING:
    from platforms.saleor.graphql_client import GraphqlClient

SETS_SECRET = True  # for stores with webhook_secrets; others are signed with the shop's private key
SEES_ALL = False  # an app lists its own webhooks only
NAME = "TikTok shop connector"
PAGE_SIZE = 100
PERMISSIONS = ("MANAGE_ORDERS", "MANAGE_USERS", "MANAGE_CHECKOUTS")
_TOPICS: Mapping[str, tuple[str, ...]] = {
    "order_placed": ("order_created", "order_updated"),
    "order_paid": ("order_fully_paid", "order_updated"),
    "checkout_started": ("checkout_created", "checkout_updated"),
    "customer_registered": ("customer_created",),
}
_FRAGMENT = re.compile(r"^(?=fragment )", re.MULTILINE)


def topics(store: Store) -> tuple[str, ...]:
    """Return the topics needed for what the store sends and for its books; order_updated has orders' later states."""
    needed = [topic for milestone in store.sent_milestones for topic in _TOPICS[milestone]]
    return tuple(dict.fromkeys(needed + sorted(BOOK_TOPICS if store.books else ())))


def why_not_url(url: str) -> str:
    """Return why orders should not be delivered to this URL, with the remedy, or ""."""
    try:
        parts = urlsplit(url)
        name = parts.hostname
    except ValueError:
        name = None
    if not name:
        return "this is not a URL: give the connector's address, like https://connector.example"
    if parts.username is not None or parts.password is not None:
        return "a user or password in the address would be shown in Saleor's dashboard: leave them out"
    if parts.scheme != "https":
        return "orders with personal data would cross the internet in plain http: use an https address"
    return ""


def connect(store: Store, pause: Callable[[float], object] = time.sleep, url: str = "") -> ShopApi:
    """Open the API of this store's shop with the app's token in its [api]. Raises ShopApiError if there is none.

    `url` is the address of the API, by default /graphql/ at the store's first `shop`.
    """
    from platforms.saleor.graphql_client import GraphqlClient  # its library is loaded by commands and the relay only

    if not store.api or not store.api.access_token:
        raise ShopApiError(
            "keys",
            f"store {store.name} has no access_token in its [api]: create a token for the app in Saleor's dashboard",
        )
    return SaleorApi(GraphqlClient(url or f"https://{store.shops[0]}/graphql/", store.api.access_token, pause))


@cache
def subscription_query() -> str:
    """Return the query that webhooks are registered with."""
    return (Path(__file__).parent / "subscription.graphql").read_text(encoding="utf-8")


def fragments(name: str) -> str:
    """Return the fragment of this name in the subscription query, and those that it uses: others must not be sent."""
    known = {text.split()[1]: text.strip() for text in _FRAGMENT.split(subscription_query())[1:]}
    needed, open_ = dict.fromkeys([name]), [name]
    while open_:
        for used in re.findall(r"\.\.\.(\w+)", known[open_.pop()]):
            if used not in needed:
                needed[used] = None
                open_.append(used)
    return "\n".join(known[one] for one in needed)


class _Node(msgspec.Struct):
    node: msgspec.Raw


class _PageInfo(msgspec.Struct):
    has_next: bool = msgspec.field(name="hasNextPage")
    end: str | None = msgspec.field(name="endCursor", default=None)


class _Connection(msgspec.Struct):
    edges: list[_Node]
    page_info: _PageInfo = msgspec.field(name="pageInfo")


class _Orders(msgspec.Struct):
    orders: _Connection


class _Dates(msgspec.Struct):
    created: str = ""


class SaleorApi:
    """The API of one shop. Methods raise ShopApiError."""

    def __init__(self, client: "GraphqlClient") -> None:
        self._client = client
        self._events: dict[str, list[str]] = {}  # of each webhook, as last listed

    def subscriptions(self) -> list[Subscription]:
        """Return one for each event of the app's webhooks; one with another query than ours counts as switched off."""
        fields = "id name targetUrl isActive asyncEvents { eventType } subscriptionQuery"
        app = self._ask(f"query Webhooks {{ app {{ webhooks {{ {fields} }} }} }}")["app"]
        found = []
        for hook in (app or {}).get("webhooks") or []:
            events = [str(event["eventType"]).lower() for event in hook["asyncEvents"]]
            self._events[hook["id"]] = events
            active = hook["isActive"] is True and _same_query(hook["subscriptionQuery"])
            by_us = hook["name"] == NAME
            found += [Subscription(hook["id"], topic, hook["targetUrl"], active, by_us) for topic in events]
        return found

    def subscribe(self, topic: str, url: str, secret: str) -> Subscription:
        """Create a webhook of one event; without a secret the shop signs with its private key."""
        values: dict[str, Any] = {"name": NAME, "targetUrl": url, "asyncEvents": [topic.upper()]}
        values |= {"query": subscription_query(), "isActive": True} | ({"secretKey": secret} if secret else {})
        made = self._change("webhookCreate", "input: $input", {"input": values})
        self._events[made["webhook"]["id"]] = [topic]
        return Subscription(made["webhook"]["id"], topic, url, by_us=True)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Take the event out of its webhook, and delete the webhook with its last one."""
        left = [topic for topic in self._events.get(subscription.id, []) if topic != subscription.topic]
        self._events[subscription.id] = left
        if left:
            values = {"asyncEvents": [topic.upper() for topic in left]}
            self._change("webhookUpdate", "id: $id, input: $input", {"id": subscription.id, "input": values})
        else:
            self._change("webhookDelete", "id: $id", {"id": subscription.id}, gone=True)

    def orders(self, since: datetime, until: datetime, by: Literal["created", "modified"]) -> Iterator[Page]:
        """Yield orders as bodies of order_updated, in the order of their last change."""
        query = (
            "query Orders($since: DateTime!, $until: DateTime, $after: String) { orders(first: "
            f"{PAGE_SIZE}, after: $after, filter: {{updatedAt: {{gte: $since, lte: $until}}}}, "
            "sortBy: {field: LAST_MODIFIED_AT, direction: ASC}) "
            "{ edges { node { ...Order } } pageInfo { hasNextPage endCursor } } }\n" + fragments("Order")
        )
        # What was created in a period was changed in it or later.
        variables: dict[str, Any] = {
            "since": since.isoformat(),
            "until": until.isoformat() if by == "modified" else None,
        }
        after: str | None = None
        while True:
            raw = self._client.ask(query, variables | {"after": after})
            page = _decoded(raw, _Orders).orders
            rows = [bytes(edge.node) for edge in page.edges]
            chosen = rows if by == "modified" else [row for row in rows if _created_within(row, since, until)]
            yield Page("order_updated", [b'{"__typename":"OrderUpdated","order":' + row + b"}" for row in chosen])
            if not page.page_info.has_next or page.page_info.end in (None, after):
                return
            after = page.page_info.end

    def customers(self, since: datetime, until: datetime) -> Iterator[Page]:
        """Yield none: the history does not tell an account that staff made from a registration."""
        return iter(())

    def why_never_sent(self, topic: str) -> str:
        """Return "": Saleor sends all topics that are registered."""
        return ""

    def check(self) -> Iterator[ApiCheck]:
        """Check the token, and the app's permissions."""
        app = self._ask("query Check { app { name permissions { code } } }")["app"]
        if not app:
            yield ApiCheck(
                False, "the access_token is not an app's; create an app in the dashboard, and a token for it"
            )
            return
        yield ApiCheck(True, "the shop's API knows the app")
        has = {permission["code"] for permission in app["permissions"] or []}
        if missing := [code for code in PERMISSIONS if code not in has]:
            yield ApiCheck(False, f"the app lacks {' and '.join(missing)}, so fields of its webhooks are null")
        else:
            yield ApiCheck(True, "the app has the permissions that webhooks need")

    # --- requests ---------------------------------------------------------------------------------------------

    def _ask(self, query: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        answer: dict[str, Any] = _decoded(self._client.ask(query, variables or {}), dict[str, Any])
        return answer

    def _change(self, name: str, arguments: str, variables: Mapping[str, Any], gone: bool = False) -> dict[str, Any]:
        """Run a mutation and return its result; with `gone` that there is no such webhook is not an error."""
        kinds = {"id": "ID!", "input": "WebhookUpdateInput!" if name == "webhookUpdate" else "WebhookCreateInput!"}
        declared = ", ".join(f"${key}: {kinds[key]}" for key in variables)
        query = f"mutation Change({declared}) {{ {name}({arguments}) {{ webhook {{ id }} errors {{ field code }} }} }}"
        made: dict[str, Any] = self._ask(query, variables)[name]
        errors = [error for error in made["errors"] or [] if not (gone and error["code"] == "NOT_FOUND")]
        if errors:
            raise ShopApiError("refused", f"{name}: {errors[0]['field']} is refused ({errors[0]['code']})")
        return made


def _same_query(found: object) -> bool:
    """Return True for our query, however its white space was changed: an older one lacks fields."""
    return isinstance(found, str) and found.split() == subscription_query().split()


def _created_within(row: bytes, since: datetime, until: datetime) -> bool:
    created = parse_time(_decoded(msgspec.Raw(row), _Dates).created)
    return created is not None and since <= created <= until


def _decoded(raw: msgspec.Raw, kind: Any) -> Any:
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.DecodeError:
        raise ShopApiError("broken", "the shop's API answers in another form than Saleor 3.23") from None
