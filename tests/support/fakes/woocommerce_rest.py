"""The fake shop's REST API, wc/v3: authentication, webhooks, orders, customers, as WooCommerce answers."""

import base64
import hashlib
import hmac
import math
import random
import re
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, request

from tests.support.fakes.woocommerce_webhooks import Webhook, encode

STATUSES = {"pending", "processing", "on-hold", "completed", "cancelled", "refunded", "failed", "checkout-draft"}
TOPIC = re.compile(r"(order|customer|product|coupon)\.(created|updated|deleted|restored)|action\.(woocommerce|wc)_\w+")
OAUTH = ("oauth_consumer_key", "oauth_timestamp", "oauth_nonce", "oauth_signature", "oauth_signature_method")
WINDOW = 15 * 60  # seconds a signed request is good for


class Refusal(Exception):
    """A WP_Error: status and code."""

    def __init__(self, status: int, code: str, message: str = "Sorry, you cannot do that.") -> None:
        self.status, self.code, self.message = status, code, message


def application(shop: Any) -> Flask:
    """The WSGI application over a FakeWooCommerce."""
    app = Flask(__name__)
    api = f"{shop.path}/wp-json/wc/v3"

    @app.before_request
    def _fail() -> Response | None:
        endpoint = request.path.removeprefix(f"{api}/")
        with shop.lock:
            shop.requests.append((request.method, endpoint, request.args.to_dict()))
        if shop.before:
            shop.before(endpoint)
        fault: Response | None = shop.next_fault()
        return fault

    @app.errorhandler(Refusal)
    def _refuse(refusal: Refusal) -> Response:
        error = {"code": refusal.code, "message": refusal.message, "data": {"status": refusal.status}}
        return _answer(error, refusal.status)

    @app.errorhandler(404)
    def _nowhere(_: Exception) -> Response:
        if request.path.startswith(f"{shop.path}/wp-json/"):
            return _refuse(Refusal(404, "rest_no_route"))
        return Response("<html>Not found</html>", 404, content_type="text/html")

    _serve_webhooks(app, api, shop)
    _serve_lists(app, api, shop)
    return app


def _serve_webhooks(app: Flask, api: str, shop: Any) -> None:
    @app.get(f"{api}/webhooks")
    def _list_webhooks() -> Response:
        enter(shop, "webhooks", "view")
        status = request.args.get("status", "all")
        found = [hook for hook in shop.webhooks.values() if status in ("all", hook.status)]
        descending = request.args.get("order", "desc") == "desc"
        found.sort(key=lambda hook: hook.id, reverse=descending)
        return _page(shop, [_shown(shop, hook) for hook in found])

    @app.post(f"{api}/webhooks")
    def _create_webhook() -> Response:
        enter(shop, "webhooks", "create")
        asked = request.get_json(silent=True) or {}
        if missing := [name for name in ("topic", "delivery_url") if name not in asked]:
            raise Refusal(400, "rest_missing_callback_param", f"Missing parameter(s): {', '.join(missing)}")
        if not shop.takes_any_webhook:
            _validate(asked)
        if not asked.get("secret"):
            asked["secret"] = "made up, and never told"
        with shop.lock:
            made = shop.hooks.create(
                asked.get("name", "Webhook"), asked["topic"], asked["delivery_url"], asked["secret"]
            )
        return _answer(_shown(shop, made), 201, Location=f"{shop.url}/wp-json/wc/v3/webhooks/{made.id}")

    @app.route(f"{api}/webhooks/<int:webhook_id>", methods=["GET", "PUT", "DELETE"])
    def _one_webhook(webhook_id: int) -> Response:
        verb = {"GET": "view", "PUT": "edit", "DELETE": "delete"}[request.method]
        enter(shop, "webhooks", verb)
        if request.method == "DELETE" and request.args.get("force") not in ("true", "1"):
            raise Refusal(501, "woocommerce_rest_trash_not_supported")
        hook = shop.webhooks.get(webhook_id)
        if hook is None:
            raise Refusal(404 if verb != "edit" else 400, "woocommerce_rest_shop_webhook_invalid_id")
        if request.method == "DELETE":
            del shop.webhooks[webhook_id]
        elif request.method == "PUT":
            _change(shop, hook, request.get_json(silent=True) or {})
        return _answer(_shown(shop, hook))


def _serve_lists(app: Flask, api: str, shop: Any) -> None:
    @app.get(f"{api}/orders")
    def _list_orders() -> Response:
        enter(shop, "orders", "view")
        with shop.lock:
            return _page(shop, _orders(shop), unreadable=shop.unreadable)

    @app.get(f"{api}/customers")
    def _list_customers() -> Response:
        enter(shop, "customers", "view")
        role = request.args.get("role", "customer")
        with shop.lock:
            found = [one for one in shop.customers.values() if role in ("all", one["role"])]
        key = "date_created_gmt" if request.args.get("orderby") == "registered_date" else "id"
        found.sort(key=lambda one: one[key], reverse=request.args.get("order", "asc") == "desc")
        return _page(shop, found)

    @app.get(f"{api}/system_status")
    def _system_status() -> Response:
        enter(shop, "system_status", "view")
        return _answer({"environment": {"version": shop.version}})

    @app.get(f"{api}/tiktok-connector")
    def _plugin() -> Response:
        if not shop.has_plugin:
            raise Refusal(404, "rest_no_route")
        enter(shop, "tiktok-connector", "view")
        return _answer({"fires": "wc_tiktok_initiate_checkout"})


# --- authentication ----------------------------------------------------------------------------------


def enter(shop: Any, resource: str, verb: str) -> None:
    """As WC_REST_Authentication: the keys first, then what they permit, then what their user may."""
    known = _basic(shop) or _oauth(shop)
    if known:
        needed = {"view": ("read", "read_write")}.get(verb, ("write", "read_write"))
        if shop.permissions not in needed:
            raise Refusal(401, "woocommerce_rest_authentication_error")
    if not known or resource in shop.forbidden:
        raise Refusal(403 if known else 401, f"woocommerce_rest_cannot_{verb}")


def _basic(shop: Any) -> bool:
    """HTTP Basic or keys in the query, only where PHP knows of TLS."""
    if not shop.secure or shop.proxied:
        return False
    given = (request.args.get("consumer_key", ""), request.args.get("consumer_secret", ""))
    if not all(given) and request.authorization and not shop.drops_authorization:
        given = (request.authorization.username or "", request.authorization.password or "")
    if given[0] != shop.key:
        return False
    if given[1] != shop.secret:
        raise Refusal(401, "woocommerce_rest_authentication_error", "Consumer secret is invalid.")
    return True


def _oauth(shop: Any) -> bool:
    """OAuth 1.0a with HMAC-SHA256 over method, address and all parameters of the query."""
    params = {name: values[-1] for name, values in request.args.lists()}  # PHP keeps the last of a repeated one
    missing = [name for name in OAUTH if not params.get(name)]
    if len(missing) == len(OAUTH):
        return False
    if missing:
        raise Refusal(401, "woocommerce_rest_authentication_missing_parameter")
    given, bad = params.pop("oauth_signature"), "woocommerce_rest_authentication_error"
    if params["oauth_consumer_key"] != shop.key:
        raise Refusal(401, bad, "Consumer key is invalid.")
    address = shop.url.replace("https:", "http:") if shop.proxied else shop.url
    address += request.path.removeprefix(shop.path)
    pairs = (_twice(name) + "%3D" + _twice(params[name]) for name in sorted(params))
    text = "&".join((request.method, quote(address, safe="~"), "%26".join(pairs)))
    made = hmac.new(f"{shop.secret}&".encode(), text.encode(), hashlib.sha256).digest()
    if params["oauth_signature_method"] != "HMAC-SHA256":
        raise Refusal(401, bad, "Invalid signature - signature method is invalid.")
    if not hmac.compare_digest(base64.b64encode(made).decode(), given):
        raise Refusal(401, bad, "Invalid signature - provided signature does not match.")
    if abs(int(params["oauth_timestamp"]) - shop.time()) > WINDOW:
        raise Refusal(401, bad, "Invalid timestamp.")
    with shop.lock:
        if params["oauth_nonce"] in shop.nonces:
            raise Refusal(401, bad, "Invalid nonce - nonce has already been used.")
        shop.nonces.add(params["oauth_nonce"])
    return True


def _twice(value: str) -> str:
    return quote(quote(value, safe="~").replace("%7E", "~"), safe="~")


# --- webhooks ----------------------------------------------------------------------------------------


def _validate(asked: dict[str, Any]) -> None:
    if "topic" in asked and not TOPIC.fullmatch(str(asked["topic"]).lower()):
        raise Refusal(400, "woocommerce_rest_shop_webhook_invalid_topic")
    if "delivery_url" in asked and not re.match(r"https?://[^\s/]+", str(asked["delivery_url"])):
        raise Refusal(400, "woocommerce_rest_shop_webhook_invalid_delivery_url")
    if asked.get("status", "active") not in ("active", "paused", "disabled"):
        raise Refusal(400, "rest_invalid_param")


def _change(shop: Any, hook: Webhook, asked: dict[str, Any]) -> None:
    """The failure counter stays, whatever the new status; a new address is pinged."""
    _validate(asked)
    moved = asked.get("delivery_url", hook.delivery_url) != hook.delivery_url
    for name in ("name", "topic", "delivery_url", "secret", "status"):
        if asked.get(name):
            setattr(hook, name, asked[name])
    hook.dates |= shop.dates("modified")
    if hook.status == "active" and (moved or hook.pending):
        shop.hooks.ping(hook)


def _shown(shop: Any, hook: Webhook) -> dict[str, Any]:
    """All that REST tells: neither secret nor failures."""
    resource, _, event = hook.topic.partition(".")
    hooks = {"order.created": ["woocommerce_new_order"], "customer.created": ["user_register"]}
    link = f"{shop.url}/wp-json/wc/v3/webhooks"
    return {
        "id": hook.id,
        "name": hook.name,
        "status": hook.status,
        "topic": hook.topic,
        "resource": resource,
        "event": event,
        "hooks": [event] if resource == "action" else hooks.get(hook.topic, ["woocommerce_update_order"]),
        "delivery_url": hook.delivery_url,
        **hook.dates,
        "_links": {"self": [{"href": f"{link}/{hook.id}"}], "collection": [{"href": link}]},
    }


# --- lists -------------------------------------------------------------------------------------------


def _orders(shop: Any) -> list[dict[str, Any]]:
    """Filtered and sorted. Without a status: all but trash and auto-draft, so with checkout-draft."""
    wanted = set(request.args.get("status", "any").split(","))
    if not wanted <= STATUSES | {"any", "trash"}:
        raise Refusal(400, "rest_invalid_param", "Invalid parameter(s): status")
    hidden = {"trash", "auto-draft"}
    found = [
        order
        for order in shop.orders.values()
        if order["status"] in wanted or ("any" in wanted and order["status"] not in hidden)
    ]
    zone = timezone(shop.offset)
    suffix = "_gmt" if request.args.get("dates_are_gmt") in ("true", "1") else ""
    for name, field, sign in (
        ("after", "created", 1),
        ("before", "created", -1),
        ("modified_after", "modified", 1),
        ("modified_before", "modified", -1),
    ):
        if name in request.args and (shop.filters_changes or field == "created"):
            bound = _bound(request.args[name], zone)
            found = [
                o for o in found if (o[f"date_{field}{suffix}"] > bound) - (o[f"date_{field}{suffix}"] < bound) == sign
            ]
    orderby = request.args.get("orderby", "date")
    if orderby not in ("date", "id", "modified", "include", "title", "slug"):
        raise Refusal(400, "rest_invalid_param", "Invalid parameter(s): orderby")
    if orderby == "modified":  # among equals a database promises no order, and may change its mind between two pages
        random.Random(len(shop.requests)).shuffle(found)
    key = {"date": "date_created_gmt", "modified": "date_modified_gmt"}.get(orderby, "id")
    found.sort(key=lambda order: order[key], reverse=request.args.get("order", "desc") == "desc")
    return found


def _bound(value: str, zone: timezone) -> str:
    """The digits a date is compared by: as written, or in the shop's time if it has an offset, whatever the column."""
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise Refusal(400, "rest_invalid_param") from error
    return f"{moment.astimezone(zone) if moment.tzinfo else moment:%Y-%m-%dT%H:%M:%S}"


def _number(name: str, otherwise: int, most: int) -> int:
    value = request.args.get(name, str(otherwise))
    if not value.isdecimal() or not (0 if name == "offset" else 1) <= int(value) <= most:
        raise Refusal(400, "rest_invalid_param", f"Invalid parameter(s): {name}")
    return int(value)


def _page(shop: Any, found: list[dict[str, Any]], unreadable: Iterable[int] = ()) -> Response:
    per_page = _number("per_page", 10, 100)
    first = _number("offset", 0, 10**9) or (_number("page", 1, 10**9) - 1) * per_page
    if shop.between:
        shop.between(found[first : first + per_page])
    shown = [one for one in found[first : first + per_page] if one["id"] not in unreadable]
    total, pages = len(found), math.ceil(len(found) / per_page)
    return _answer(shown, 200, **{"X-WP-Total": str(total), "X-WP-TotalPages": str(pages)})


def _answer(body: Any, status: int = 200, **headers: str) -> Response:
    return Response(encode(body), status, headers, content_type="application/json; charset=UTF-8")
