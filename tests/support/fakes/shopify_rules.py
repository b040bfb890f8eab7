"""What the fake Shopify's Admin API answers: REST lists and counts, GraphQL's webhooks, tokens, limits. No sockets.

The texts of refusals are Shopify's own. https://shopify.dev/docs/api/admin-rest · …/admin-graphql
"""

import base64
import json
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tests.support.fakes.shopify import FakeShopify

NOT_APPROVED = "See https://shopify.dev/docs/apps/launch/protected-customer-data for more details."
WEBHOOKS_NOT_APPROVED = (
    f"This app is not approved to subscribe to webhook topics containing protected customer data. {NOT_APPROVED}"
)
REST_NOT_APPROVED = (
    f"[API] This app is not approved to access REST endpoints with protected customer data. {NOT_APPROVED}"
)
BAD_KEY = "[API] Invalid API key or access token (unrecognized login or wrong password)"
TOO_FAST = "Exceeded 2 calls per second for api client. Reduce request rates to resume uninterrupted service."
LASTS = 86399  # seconds

BUCKET, LEAK = 40, 2.0  # REST: calls, and calls a second
POINTS, RESTORED = 2000.0, 100.0  # GraphQL
COST = 10  # of a mutation; a list costs that and one for each node asked for

TOPICS = {
    *("ORDERS_CREATE", "ORDERS_PAID", "ORDERS_UPDATED", "CHECKOUTS_CREATE", "CHECKOUTS_UPDATE", "CUSTOMERS_CREATE"),
    *("CUSTOMERS_ENABLE", "APP_UNINSTALLED", "PRODUCTS_UPDATE", "CUSTOMER_TAGS_ADDED"),
}
PROTECTED = ("ORDERS", "CHECKOUTS", "CUSTOMERS")
WORDS = {
    *("query", "mutation", "String", "ID", "WebhookSubscriptionTopic", "WebhookSubscriptionInput", "first", "after"),
    *("webhookSubscriptions", "nodes", "id", "topic", "uri", "pageInfo", "hasNextPage", "endCursor"),
    *("webhookSubscriptionCreate", "webhookSubscription", "userErrors", "field", "message"),
    *("webhookSubscriptionDelete", "deletedWebhookSubscriptionId"),
    *("currentAppInstallation", "accessScopes", "handle"),
}


class Reply(NamedTuple):
    """An HTTP answer, without the headers every answer has."""

    status: int
    body: object
    headers: Mapping[str, str] = {}


class Rules:
    """The API of one fake shop."""

    def __init__(self, shopify: "FakeShopify") -> None:
        self._shopify = shopify
        self._called, self._calls_at = 0.0, 0.0
        self._points, self._points_at = POINTS, 0.0
        self.page_size = 250  # the most a page holds; smaller in tests of paging

    # --- tokens -----------------------------------------------------------------------------------------------

    def grant(self, form: Mapping[str, Any]) -> Reply:
        """POST /admin/oauth/access_token with client credentials."""
        shopify = self._shopify
        if form.get("grant_type") != "client_credentials":
            return Reply(400, {"error": "unsupported_grant_type"})
        if (form.get("client_id"), form.get("client_secret")) != (shopify.client_id, shopify.secret):
            return Reply(400, {"error": "application_cannot_be_found", "error_description": f"{dict(form)}"})
        if not shopify.organisation:
            said = "Oauth error shop_not_permitted: Client credentials cannot be performed on this shop."
            return Reply(400, f"<html><body><h1>{said}</h1></body></html>")
        token = secrets.token_hex(16)
        shopify.tokens[token] = shopify.clock() + LASTS
        return Reply(200, {"access_token": token, "scope": ",".join(shopify.scopes), "expires_in": LASTS})

    def knows(self, token: str) -> bool:
        """Whether a token is good now."""
        return token == self._shopify.access_token or self._shopify.tokens.get(token, 0) > self._shopify.clock()

    # --- REST -------------------------------------------------------------------------------------------------

    def rest(self, path: str, query: Mapping[str, str]) -> Reply:
        """GET /admin/api/VERSION/`path`."""
        now = self._shopify.clock()
        self._called = max(0.0, self._called - (now - self._calls_at) * LEAK)
        self._calls_at = now
        if self._called + 1 > BUCKET:
            return Reply(429, {"errors": TOO_FAST}, {"Retry-After": "2.0", **self._call_limit()})
        self._called += 1
        reply = self._resource(path, query)
        return reply._replace(headers={**reply.headers, **self._call_limit()})

    def exhaust(self, left: int = 0) -> None:
        """Let other callers of the app have used up the rates, but for so many calls, and all of GraphQL's points."""
        self._called, self._calls_at = float(BUCKET - left), self._shopify.clock()
        self._points, self._points_at = 0.0, self._shopify.clock()

    def _call_limit(self) -> dict[str, str]:
        return {"X-Shopify-Shop-Api-Call-Limit": f"{round(self._called)}/{BUCKET}"}

    def _resource(self, path: str, query: Mapping[str, str]) -> Reply:
        name, _, rest = path.removesuffix(".json").partition("/")
        bodies = {"orders": self._shopify.orders, "customers": self._shopify.customers}.get(name)
        if bodies is None or rest not in ("", "count") or not path.endswith(".json"):
            return Reply(404, {"errors": "Not PersonalData"})
        if f"read_{name}" not in self._shopify.scopes:
            return Reply(403, {"errors": f"[API] This action requires merchant approval for read_{name} scope."})
        if not self._shopify.approved:
            return Reply(403, {"errors": REST_NOT_APPROVED})
        if rest == "count":
            return Reply(200, {"count": len(_chosen(name, bodies.values(), query))})
        return self._list(name, list(bodies.values()), query)

    def _list(self, name: str, bodies: list[dict[str, Any]], query: Mapping[str, str]) -> Reply:
        filters, after = dict(query), None
        if cursor := query.get("page_info"):
            if strange := sorted(set(query) - {"page_info", "limit", "fields"}):
                said = f"{strange[0]} cannot be passed when page_info is present."
                return Reply(400, {"errors": {strange[0]: said}})
            filters, after = json.loads(base64.urlsafe_b64decode(cursor))
        column, _, direction = filters.get("order", "id desc").partition(" ")
        found = sorted(_chosen(name, bodies, filters), key=_key(column), reverse=direction == "desc")
        if after is not None:
            found = [body for body in found if _is_after(_key(column)(body), tuple(after), direction)]
        limit = min(int(query.get("limit", 50)), self.page_size)
        page = [self._shopify.shown(body) for body in found[:limit]]
        if len(found) <= limit:
            return Reply(200, {name: page})
        place = base64.urlsafe_b64encode(json.dumps([filters, _key(column)(found[limit - 1])]).encode()).decode()
        url = f"https://{self._shopify.shop}/admin/api/2026-07/{name}.json?limit={limit}&page_info={place}"
        previous = f'<{url}x>; rel="previous", ' if after else ""
        return Reply(200, {name: page}, {"Link": f'{previous}<{url}>; rel="next"'})

    # --- GraphQL ----------------------------------------------------------------------------------------------

    def graphql(self, query: str, variables: Mapping[str, Any]) -> Reply:
        """POST /admin/api/VERSION/graphql.json: always a 200."""
        names = re.findall(r"(?<!\$)\b[A-Za-z_]\w*", re.sub(r"\$\w+", "", query))
        if unknown := [name for name in names if name not in WORDS]:
            return Reply(200, {"errors": [{"message": f"Field '{unknown[0]}' doesn't exist"}]})
        first = re.search(r"first: (\d+)", query)
        cost = COST + (int(first.group(1)) if first else 0)
        now = self._shopify.clock()
        self._points = min(POINTS, self._points + (now - self._points_at) * RESTORED)
        self._points_at = now
        if cost > self._points:
            said = {"message": "Throttled", "extensions": {"code": "THROTTLED"}}
            return Reply(200, {"errors": [said], "extensions": self._cost(cost)})
        self._points -= cost
        fields: dict[str, Callable[[Mapping[str, Any], int], object]] = {
            "webhookSubscriptionCreate": self._create,
            "webhookSubscriptionDelete": self._delete,
            "webhookSubscriptions": self._subscriptions,
            "currentAppInstallation": self._installation,
        }
        field = next(name for name in fields if name in names)
        given = {argument: variables.get(name) for argument, name in re.findall(r"(\w+): \$(\w+)", query)}
        if field == "webhookSubscriptionCreate" and given["topic"] not in TOPICS:
            said = "Variable $topic of type WebhookSubscriptionTopic! was provided invalid value"
            return Reply(200, {"errors": [{"message": said, "extensions": {"code": "INVALID_VARIABLE"}}]})
        found = fields[field](given, int(first.group(1)) if first else 0)
        return Reply(200, {"data": {field: found}, "extensions": self._cost(cost)})

    def _cost(self, cost: int) -> dict[str, object]:
        status = {"maximumAvailable": POINTS, "currentlyAvailable": int(self._points), "restoreRate": RESTORED}
        return {"cost": {"requestedQueryCost": cost, "actualQueryCost": cost, "throttleStatus": status}}

    def _installation(self, _variables: Mapping[str, Any], _first: int) -> object:
        return {"accessScopes": [{"handle": scope} for scope in sorted(self._shopify.scopes)]}

    def _subscriptions(self, variables: Mapping[str, Any], first: int) -> object:
        begin, size = int(variables.get("after") or 0), min(first, self.page_size)
        found = self._shopify.subscriptions[begin : begin + size]
        more = begin + size < len(self._shopify.subscriptions)
        nodes = [{"id": each.id, "topic": _enum(each.topic), "uri": each.url} for each in found]
        return {"nodes": nodes, "pageInfo": {"hasNextPage": more, "endCursor": str(begin + len(found))}}

    def _create(self, variables: Mapping[str, Any], _first: int) -> object:
        from tests.support.fakes.shopify import FakeSubscription

        topic, url = variables["topic"], variables["webhookSubscription"]["uri"]
        if said := self._why_not(topic, url):
            errors = [{"field": ["webhookSubscription", "callbackUrl"], "message": each} for each in said]
            return {"webhookSubscription": None, "userErrors": errors}
        number = secrets.randbelow(10**12)
        made = FakeSubscription(f"gid://shopify/WebhookSubscription/{number}", _topic(topic), url)
        self._shopify.subscriptions.append(made)
        return {"webhookSubscription": {"id": made.id, "topic": topic, "uri": url}, "userErrors": []}

    def _why_not(self, topic: str, url: str) -> list[str]:
        resource = topic.partition("_")[0]
        scope = f"read_{resource.replace('CHECKOUTS', 'ORDERS').lower()}"
        if resource in PROTECTED and not self._shopify.approved:
            return [WEBHOOKS_NOT_APPROVED]
        if resource in PROTECTED and scope not in self._shopify.scopes:
            return [f"You do not have permission to create or update webhooks with {_topic(topic)} topic."]
        if any((each.topic, each.url) == (_topic(topic), url) for each in self._shopify.subscriptions):
            return ["Address for this topic has already been taken"]
        if self._shopify.any_url:
            return []
        errors = ["Address protocol http:// is not supported"] if url.startswith("http://") else []
        inside = re.match(r"\w+://(localhost|127\.|10\.|[\w-]+\.myshopify\.com)", url)
        return [*errors, "Address cannot be a Shopify or an internal domain"] if inside else errors

    def _delete(self, variables: Mapping[str, Any], _first: int) -> object:
        gone = [each for each in self._shopify.subscriptions if each.id == variables["id"]]
        if not gone:
            errors = [{"field": ["id"], "message": "Webhook subscription does not exist"}]
            return {"deletedWebhookSubscriptionId": None, "userErrors": errors}
        self._shopify.subscriptions.remove(gone[0])
        return {"deletedWebhookSubscriptionId": gone[0].id, "userErrors": []}


def _chosen(name: str, bodies: Any, query: Mapping[str, str]) -> list[dict[str, Any]]:
    """Those that pass the filters; both ends of a time belong to it. Orders are the open ones unless told otherwise."""
    found = list(bodies)
    if name == "orders" and query.get("status", "open") != "any":
        found = [body for body in found if not body.get("closed_at") and not body.get("cancelled_at")]
    for column in ("created_at", "updated_at"):
        low, high = (_seconds(query[end]) if (end := f"{column}_{side}") in query else None for side in ("min", "max"))
        found = [body for body in found if (low is None or _seconds(body[column]) >= low)]
        found = [body for body in found if (high is None or _seconds(body[column]) <= high)]
    return found


def _seconds(value: object) -> int:
    return int(datetime.fromisoformat(str(value)).timestamp())


def _key(column: str) -> Callable[[dict[str, Any]], tuple[int, int]]:
    return lambda body: (int(body["id"]) if column == "id" else _seconds(body[column]), int(body["id"]))


def _is_after(key: tuple[int, ...], last: tuple[int, ...], direction: str) -> bool:
    return key < last if direction == "desc" else key > last


def _enum(topic: str) -> str:
    return topic.replace("/", "_").replace(".", "_").upper()


def _topic(enum: str) -> str:
    first, _, rest = enum.lower().partition("_")
    return f"{first}/{rest}"
