"""Webhooks of privacy law, in the form that several shop systems send: for platforms that receive them.

Their topic is an unsigned header and an erasure cannot be undone, so a body must have its topic's fields and no other,
and name this shop. Any other body is parked for a person to check.
"""

from collections.abc import Set

from connector.core.event import DataRequest, DataRequestKind
from connector.core.json_fields import Json, host, json_object, text
from connector.core.store import Store
from connector.core.webhook import InvalidPayload


def require(condition: bool, topic: str, why: str) -> None:
    """Raise InvalidPayload with the reason unless the condition holds."""
    if not condition:
        raise InvalidPayload(f"expected a {topic} body: {why}")


def require_fields(body: Json, topic: str, needed: Set[str], optional: Set[str] = frozenset()) -> None:
    """Require the fields `needed`, and no others but `optional`. Raises InvalidPayload."""
    exact = needed <= body.keys() <= needed | optional
    require(exact, topic, f"its fields are not exactly {', '.join(sorted(needed))}")


def require_shop(body: Json, topic: str, field: str, store: Store) -> None:
    """Require that a field names one of the store's shops: an app's secret signs for all. Raises InvalidPayload."""
    require(host(body[field]) in store.shops, topic, f"its {field} is another shop's")


def person_request(
    what: DataRequestKind, topic: str, customer: object, customer_id: str, order_ids: tuple[str, ...] = ()
) -> DataRequest:
    """Return the request about a `customer` (an object with `email` and `phone`). Raises InvalidPayload for nobody."""
    person = json_object(customer)
    emails, phones = (tuple(filter(None, [text(person.get(name))])) for name in ("email", "phone"))
    require(any((customer_id, emails, phones, order_ids)), topic, "it names no person")
    return DataRequest(what, customer_id, emails, phones, order_ids)
