"""The items about the way from the shop to here: signatures, topics, and the keys to the shop's API."""

from collections.abc import Mapping
from functools import partial

from connector.core.event import Milestone
from connector.core.text import how_many
from connector.intake.refusals import API_KEY, NO_SIGNATURE, OLD_SIGNATURE, OTHER_STORE, WRONG_SECRET
from connector.monitoring.problems import withheld
from connector.setup.items import Action, Item
from connector.setup.situation import Situation

Cause = tuple[str, str]  # what is so, and the remedy

MILESTONES: Mapping[Milestone, str] = {
    "order_placed": "a placed order",
    "order_paid": "a paid order",
    "checkout_started": "a started checkout",
    "customer_registered": "a new account",
}


# --- signature ----------------------------------------------------------------------------------------------------


def signature(situation: Situation) -> Item:
    """Has a signed webhook arrived; how many were refused, and why?"""
    evidence, make = situation.evidence, partial(Item, "signature", "Signed webhooks")
    refused = sum(evidence.refusals.values())
    if evidence.topics and not evidence.refused_last:
        aside = f"; {how_many(refused, 'request was', 'requests were')} refused in the last day" if refused else ""
        aside += f", as {_cause(situation)[0]}" if refused else ""
        return make("green", f"signed webhooks arrive{aside}")
    if refused:
        sentence, remedy = _cause(situation)
        return make(
            "red",
            f"{how_many(refused, 'webhook was', 'webhooks were')} answered 401 in the last day: {sentence}",
            remedy,
            action=_sample_action(situation),
        )
    if evidence.not_json:
        return make(
            "red",
            f"{how_many(evidence.not_json, 'signed webhook was', 'signed webhooks were')} not JSON, so answered 400",
            "choose the format JSON in the shop's webhook",
        )
    if evidence.unknown_stores:
        number = how_many(evidence.unknown_stores, "webhook was", "webhooks were")
        return make(
            "red",
            f"none has arrived, but {number} sent to the address of no store in the last day",
            "correct the URL of the shop's webhook: it must end in the store's name; if they came before this store "
            "was added, send another",
            copy=situation.address,
        )
    if evidence.key_error:
        return make("red", evidence.key_error, "start `connector serve`, and see that this server reaches the shop")
    if evidence.sampled:
        sentence = "a sample from this page was taken, so the way is open; the shop itself has sent nothing yet"
        return make("waiting", sentence, _first_webhook(situation), copy=situation.address)
    return make(
        "waiting",
        "no webhook has arrived yet",
        _first_webhook(situation),
        copy=situation.address,
        action=_sample_action(situation),
    )


def _cause(situation: Situation) -> Cause:
    """Return the likeliest cause of the refusals: that of a known secret, else the most frequent."""
    store, facts = situation.store, situation.platform.facts
    causes: dict[str, Cause] = {
        API_KEY: (
            f"they are signed with a key of [stores.{store.name}.api], as those of an app are",
            "add that key, the app's client secret, to `webhook_secrets`, and restart",
        ),
        OTHER_STORE: (
            "they are signed with the secret of another store of this server",
            f"correct the webhook's URL, which must end in /webhooks/{store.name}; or correct `webhook_secrets`",
        ),
        OLD_SIGNATURE: (
            "they were signed more than five minutes before or after they arrived",
            "set the clocks of this server and of the sender; each attempt must be signed anew",
        ),
        WRONG_SECRET: (
            "the secret they are signed with is not in `webhook_secrets`, or a proxy changes their bodies",
            f"compare `webhook_secrets` with {facts.signed_with}; if both are equal, a sample shows a proxy",
        ),
        NO_SIGNATURE: (
            "they have no signature, so the shop's webhook has no secret, or they are not the shop's",
            f"give the shop's webhook the secret of `webhook_secrets`: {facts.signed_with}",
        ),
    }
    refusals = situation.evidence.refusals
    known = next((cause for cause in (API_KEY, OTHER_STORE) if refusals.get(cause)), "")
    return causes.get(known or max(refusals, key=lambda one: refusals[one]), causes[WRONG_SECRET])


def _first_webhook(situation: Situation) -> str:
    if situation.is_trial:
        return f"`connector simulate {situation.store.name}` sends those of an invented shopper, as a real shop would"
    return "place an order in the shop, once its webhooks go to this address"


def _sample_action(situation: Situation) -> Action:
    return "sample" if situation.may_send_samples else ""


# --- topics -------------------------------------------------------------------------------------------------------


def topics(situation: Situation) -> Item:
    """Has each topic come that the store's events need, or does its webhook stand in the shop?"""
    store, make = situation.store, partial(Item, "topics", "Topics")
    answers, unseen = situation.answers("webhooks"), _unseen(situation)
    problems = {one.problem: one.text for one in answers if one.problem}
    register = f"`connector webhooks register {store.name}` creates them"
    if "broken" in problems:
        return make("red", problems["broken"], action="register")
    if "missing" in problems and not situation.platform.facts.hidden_webhooks:  # also one that was switched off since
        return make("red", problems["missing"].partition(":")[0], register, action="register")
    if "never_sent" in problems and "checkout_started" in unseen:
        return make("red", problems["never_sent"])
    if not unseen:
        return make("green", "webhooks of every kind that is sent have arrived")
    if any(one.mark == "ok" for one in answers):
        return make("green", "the shop's API shows every needed webhook, registered and active")
    sentence = f"not seen yet: {', '.join(MILESTONES[milestone] for milestone in unseen)}"
    if store.api and situation.shop_api is not None:
        return make("waiting", sentence, register, action="register")
    return make("waiting", sentence, _by_hand(situation), copy="\n".join([situation.address, *_needed(situation)]))


def _by_hand(situation: Situation) -> str:
    if situation.is_trial:
        return f"`connector simulate {situation.store.name}` sends all of them; a real shop needs a webhook for each"
    page = situation.platform.facts.webhooks_page
    return f"create a webhook for each in {page}" if page else "send each of them here"


def _unseen(situation: Situation) -> list[Milestone]:
    """Return the milestones that are sent, and of which no topic has come."""
    facts, seen = situation.platform.facts, situation.evidence.topics
    accepted = {event for _, event in situation.evidence.sent | situation.evidence.tested}
    found = []
    for milestone in situation.store.sent_milestones:
        if milestone not in facts.milestones:
            continue
        known = facts.milestone_topics.get(milestone, ())
        if known:
            arrived = bool(seen.intersection(known))
        else:  # the platform does not say which topic it is, but an event does
            arrived = bool(accepted.intersection(situation.store.all_event_names(milestone)))
        if not arrived:
            found.append(milestone)
    return found


def _needed(situation: Situation) -> list[str]:
    """Return the topics to create webhooks for."""
    if (module := situation.shop_api) is not None:
        wanted = module.topics(situation.store)
        handled = situation.platform.event_topics | situation.platform.notice_topics
        return [topic for topic in wanted if topic in handled]
    by_milestone = situation.platform.facts.milestone_topics
    sent = [by_milestone.get(milestone, ()) for milestone in situation.store.sent_milestones]
    return [*dict.fromkeys(topic for topics in sent for topic in topics)]


# --- the shop's API -----------------------------------------------------------------------------------------------


def api(situation: Situation) -> Item:
    """Do the keys to the shop's API work, with scopes and personal data?"""
    store, make = situation.store, partial(Item, "api", "Keys, scopes and personal data")
    if situation.evidence.withheld:
        return make("red", "none of the last orders names its customer", withheld(store).sentence.partition(": ")[2])
    if situation.shop_api is None:
        return make("not_applicable", f"the API of {situation.platform.title} is not used; webhooks are made by hand")
    if store.api is None:
        return make(
            "not_applicable",
            f"no keys in [stores.{store.name}.api], so webhooks are made by hand, and orders whose webhook never "
            "arrived are not fetched",
        )
    if situation.evidence.unfetched:
        return make("red", f"what webhooks name cannot be fetched: {situation.evidence.unfetched}", action="check")
    answers = situation.answers("api")
    if faults := [one.text for one in answers if one.mark == "fault"]:
        return make("red", faults[0], action="check")
    if any(one.mark == "ok" for one in answers):
        return make("green", "; ".join(one.text for one in answers if one.mark == "ok"))
    return make("waiting", "the shop was not asked with these keys", _ask(store.name), action="check")


def _ask(name: str) -> str:
    return f"`connector check --live {name}` asks"


WEBHOOK_ITEMS = (signature, topics, api)
