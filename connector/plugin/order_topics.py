"""Which webhooks of an order a store needs: for platforms whose shops tell creation, payment and any other change."""

from collections.abc import Set

from connector.core.store import Store


def waits_for_change(store: Store, shown_by_payment: Set[str]) -> bool:
    """Return True if the store waits for a status that an order reaches after its creation without being paid in full.

    `shown_by_payment` are those that the webhook of the payment shows, or that only follow it. The webhook of any
    change comes with every tag and parcel, so a store should have it only if it needs it.
    """
    awaited = (("order_placed", store.orders.placed_statuses), ("order_paid", store.orders.paid_statuses))
    return any(milestone in store.sent_milestones and set(names) - shown_by_payment for milestone, names in awaited)
