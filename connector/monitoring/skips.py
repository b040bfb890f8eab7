"""Skipped webhooks by reason: what each reason means, and the setting that changes it.

`connector.monitoring.webhook_stats` counts them from the ledger, each webhook under its first reason. A store of which
every webhook about an order was skipped sends nothing, although it is healthy otherwise.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from connector.core.text import percent
from connector.monitoring.event_stats import Statistic

SKIPPED, RELAYED = "skipped", "relayed"  # `what` in the tallies; `event` is the kind of the subject
KINDS = ("order", "checkout", "customer")
MOST_REASONS = 20  # reasons counted by themselves, per store and hour; further ones are counted together
OTHER = "other reasons"
NEARLY_ALL = 0.9
ENOUGH = 10  # webhooks about orders, from which on it is a problem that all were skipped
_MILESTONE = re.compile(r"^\w{1,64}: ")


@dataclass(frozen=True, slots=True)
class Explanation:
    """A reason's meaning and the setting that changes it ("": none); `is_chosen` if a setting or a shopper wants it."""

    meaning: str
    setting: str = ""
    is_chosen: bool = True


# By the beginning of the reason, or by a word in it; the first that fits.
_EXPLANATIONS = (
    (r"no consent: consent_source\.key is not set", Explanation(
        "consent is required, and the settings name no place where the shop keeps the answer, so nobody can ever agree",
        "consent_source.key or [signals]; else consent", is_chosen=False)),
    (r"no consent: no answer", Explanation(
        "consent is required and the shop passed on no answer; if that is so of every order, the key is wrong",
        "consent_source.key, [signals], consent", is_chosen=False)),
    (r"no consent: the shopper said no", Explanation("the shopper denied consent, so nothing may be sent", "consent")),
    (r"nothing to match on", Explanation(
        "TikTok could match it with nobody; a later webhook of the same checkout or order may bring a key",
        "[signals] bring the browser's keys", is_chosen=False)),
    (r"limited_data_use applies", Explanation(
        "TikTok honours Limited Data Use only with the shopper's public ip", "limited_data_use", is_chosen=False)),
    (r"event_id template", Explanation(
        "a placeholder of the template is empty, so no event_id can be made", "event_id", is_chosen=False)),
    (r"no pixel takes", Explanation("no pixel's conditions hold", "pixels: countries, currencies, kinds, milestones")),
    (r"events\.\S+ is off", Explanation("this event is switched off", "events")),
    (r"\w+ orders are not relayed", Explanation("this kind of order is left out", "orders.include")),
    (r"excluded e-mail domain", Explanation("this e-mail domain is left out", "orders.exclude_email_domains")),
    (r"excluded tag", Explanation("this tag is left out", "orders.exclude_tags")),
    (r"excluded gateway", Explanation("this payment gateway is left out", "orders.exclude_gateways")),
    (r"the total is zero", Explanation("orders without value are left out", "orders.exclude_zero")),
    (r"a test order", Explanation("test orders go to Test Events only", "test_event_code")),
    (r"older than go_live", Explanation("it is from before the store went live", "go_live")),
    (r"older than max_event_age", Explanation("it is too old", "max_event_age")),
    (r"older than", Explanation("TikTok would no longer drop it as a copy of the browser's", "browser_pixel")),
    (r"status .* does not count as placed", Explanation("not placed yet; it counts with another status",
                                                        "orders.placed_statuses")),
    (r"sent to the payment page", Explanation("not paid yet; it is sent when it is", "orders.placed_statuses")),
    (r"the order was already", Explanation("it was cancelled or refunded before it was first seen")),
    (r"no checkout token", Explanation("the snippet's webhook names no checkout: print and paste it again",
                                       is_chosen=False)),
    (r"the customer has no account", Explanation("a guest or a newsletter sign-up is no registration")),
    (r"an existing customer's first sign-in", Explanation("the account is not new")),
    (r"the new user is not a customer|an account of staff|staff made the account", Explanation(
        "no shopper has registered")),
    (r".* was deleted before", Explanation("nothing is left of it in the shop")),
)  # fmt: skip
_COMPILED = tuple((re.compile(pattern), explanation) for pattern, explanation in _EXPLANATIONS)
_UNKNOWN = Explanation("", is_chosen=False)


@dataclass(frozen=True, slots=True)
class SkipCount:
    """The number of webhooks that were skipped for one reason."""

    reason: str
    number: int

    @property
    def explanation(self) -> Explanation:
        """Return the reason's meaning, and the setting that changes it."""
        return explain(self.reason)


@dataclass(frozen=True, slots=True)
class Skips:
    """The skipped webhooks of a store in a period: by reason, the most frequent first, and those about orders."""

    reasons: tuple[SkipCount, ...]
    orders_skipped: int
    orders_relayed: int

    @property
    def total(self) -> int:
        """All skipped webhooks."""
        return sum(one.number for one in self.reasons)

    @property
    def orders(self) -> int:
        """The webhooks about orders that were skipped or became events."""
        return self.orders_skipped + self.orders_relayed

    @property
    def are_nearly_all(self) -> bool:
        """True if nearly every webhook about an order was skipped."""
        return bool(self.orders_skipped) and self.orders_skipped >= NEARLY_ALL * self.orders

    @property
    def words(self) -> str:
        """The number of skipped webhooks about orders and their share."""
        if not self.orders_relayed:
            return f"all {self.orders:,} order webhooks skipped"
        share = percent(self.orders_skipped, self.orders)
        return f"{self.orders_skipped:,} of {self.orders:,} order webhooks skipped ({share})"


def explain(reason: str) -> Explanation:
    """Return the explanation of a reason; without a meaning if it is not known, as of a package's platform."""
    return next((found for pattern, found in _COMPILED if pattern.match(reason)), _UNKNOWN)


def first_reason(reasons: str) -> str:
    """Return the first of the reasons in a ledger's line, without the milestone or event that it is about."""
    return _MILESTONE.sub("", reasons.partition("; ")[0])


def skips_of(statistics: Iterable[Statistic], store: str) -> Skips:
    """Return the skipped webhooks of a store, from the statistics of SKIPPED and RELAYED."""
    reasons, orders = Counter[str](), Counter[str]()
    for one in statistics:
        if one.store != store or one.what not in (SKIPPED, RELAYED):
            continue
        if one.what == SKIPPED:
            reasons[one.detail] += one.count
        if one.event == "order":
            orders[one.what] += one.count
    counts = tuple(SkipCount(*pair) for pair in sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0])))
    return Skips(counts, orders[SKIPPED], orders[RELAYED])
