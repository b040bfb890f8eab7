"""The items about the way from here to TikTok: token, snippet, first events, TikTok's own app, going live."""

from functools import partial

from connector.core.registry import BrokenPlatform, part
from connector.core.store import Pixel
from connector.core.text import utc_minute
from connector.outbox.lanes import Lane, fingerprint
from connector.setup.items import Item
from connector.setup.live import is_tiktok, reach_remedy
from connector.setup.situation import Situation
from connector.setup.snippet_report import SnippetReport
from connector.setup.webhook_items import MILESTONES


def token(situation: Situation) -> Item:
    """Does TikTok accept the token of each pixel?"""
    make, evidence, name = partial(Item, "token", "Access token"), situation.evidence, situation.store.name
    if denied := [said for pixel in situation.store.pixels if (said := _denial(situation, pixel))]:
        return make("red", denied[0], "set the right `pixel` and a new `access_token`, and restart", action="check")
    answers = situation.answers("token")
    if faults := [one for one in answers if one.mark == "fault"]:
        remedy = "" if faults[0].problem else "set the right `pixel` and a new `access_token`, and restart"
        return make("red", faults[0].text, remedy, action="check")
    accepted = {pixel for pixel, _ in evidence.tested | evidence.sent}
    if situation.records.test_event:
        accepted.add(situation.records.test_event[0])
    untried = [pixel.code for pixel in situation.store.pixels if pixel.code not in accepted]
    if not untried or (answers and all(one.mark == "ok" for one in answers)):
        return make("green", "TikTok accepts the token of every pixel")
    if any(pixel.test_event_code for pixel in situation.store.pixels):
        return make(
            "waiting", "the token was not tried yet", f"`connector check --live {name}` tries it", action="check"
        )
    return make(
        "waiting",
        f"the token of {', '.join(untried)} is tried with the first event",
        "set `test_event_code` to try it before",
    )


def _denial(situation: Situation, pixel: Pixel) -> str:
    """Return that TikTok denies this pixel's present token, or ""."""
    for state in situation.evidence.lanes:
        of_pixel = state.lane == Lane(situation.store.name, pixel.code) and state.suspended_since is not None
        if of_pixel and state.suspended_token == fingerprint(pixel.access_token):
            since = utc_minute(state.suspended_since or 0.0)
            return (
                f"TikTok has denied the token of pixel {pixel.code} since {since} ({state.reason}), so its events wait"
            )
    return ""


def snippet(situation: Situation) -> Item:
    """Does the code in the shop's pages report, and was it printed from the present settings?"""
    store, report, again = situation.store, situation.evidence.snippet, _print_again(situation)
    make = partial(Item, "snippet", "Code in the shop's pages")
    if store.browser_pixel in ("none", "official") and not (store.signals or store.funnel or store.meter):
        return make(
            "not_applicable", f'browsers send nothing for the connector (`browser_pixel = "{store.browser_pixel}"`)'
        )
    if report.out_of_date:
        return make("red", "the code in the shop was printed before the last change of the settings", again)
    if report.at is not None:
        return make("green", f"the shop's pages report; last seen {utc_minute(report.at)}{_aside(report)}")
    if not (store.signals or store.funnel or store.meter):
        return make("not_applicable", "this code tells this server nothing; with `meter = true` it reports its version")
    if not situation.config.public_url:
        return make(
            "red", "the shop's pages have no address to report to", f"set `PUBLIC_URL`, and restart; then {again}"
        )
    return make("waiting", "no page has reported yet", f"{again}; then open a product or a checkout in the shop")


def _aside(report: SnippetReport) -> str:
    if report.blocked:
        return "; TikTok's script has not run in any page yet (an ad blocker, or no consent)"
    if report.older_at is not None:
        return f"; an older version was seen {utc_minute(report.older_at)}, as a page cache keeps it: empty it"
    return ""


def _print_again(situation: Situation) -> str:
    name = situation.store.name
    try:
        has_own = part(situation.platform, lambda one: one.snippet) is not None
    except BrokenPlatform:
        has_own = False
    plain = "" if has_own and situation.store.browser_pixel != "own" else " --plain"
    return f"`connector snippet {name}{plain}` prints it; paste it in the shop"


def first_test_event(situation: Situation) -> Item:
    """Has Test Events accepted an event?"""
    evidence, make = situation.evidence, partial(Item, "test_event", "First test event")
    if evidence.tested:
        names = sorted({event for _, event in evidence.tested})
        return make("green", f"Test Events accepted {', '.join(names)}")
    if evidence.sent:
        return make("green", "not needed any more: TikTok accepts real events")
    if evidence.rejected:
        return make("red", f"TikTok rejected an event: {evidence.rejected}", _look_at(situation), action="test_event")
    if evidence.not_sent:
        return make("red", f"webhooks arrive, but none becomes an event: {evidence.not_sent}", _why_not(situation))
    if evidence.unsent:
        return make("red", f"events wait: {evidence.unsent}", reach_remedy(situation.config.events_api_url))
    if not evidence.relay_alive and evidence.topics:
        return make("red", "no relay is running, so nothing is sent", "start `connector serve`")
    if situation.records.test_event:
        return make("green", f"Test Events accepted a {situation.records.test_event[1]} made from a sample")
    return make("waiting", "Test Events has accepted no event yet", _send_one(situation), action="test_event")


def _send_one(situation: Situation) -> str:
    name = situation.store.name
    if situation.may_send_samples:
        return f"send one made from a sample; it counts nowhere (in a terminal, `connector simulate {name}`)"
    return (
        f"set `test_event_code` to try it before it counts; the dashboard's /setup/{name} sends one made from a sample"
    )


def _look_at(situation: Situation) -> str:
    return f"`connector events list --store {situation.store.name} --state rejected` shows it; correct what it names"


def _why_not(situation: Situation) -> str:
    """Return the remedy for webhooks that become no event, by the beginning of the reason."""
    outcome, _, reason = situation.evidence.not_sent.partition(": ")
    if "another shop" in reason:
        return "set `shop` to the name that the webhook gives, and restart; then `connector events replay --parked`"
    if "test order" in reason:
        return "set `test_event_code`, or place an order that is not one of the shop's test orders"
    if "go_live" in reason or "older than" in reason:
        return "place a new order: older ones are history, except for `connector backfill`"
    if "consent" in reason:
        return "let the shop write the shopper's answer where `consent_source.key` says, or choose another `consent`"
    if outcome == "parked":
        return (
            "`connector events replay --parked --dry-run` lists the reasons; after a correction it takes them up again"
        )
    return "docs/mapping.md, Why something is skipped, names the setting of each reason"


def first_real_events(situation: Situation) -> Item:
    """Has TikTok accepted a real event of each kind that is sent?"""
    store, make = situation.store, partial(Item, "real_events", "First real event of each kind")
    accepted = {event for _, event in situation.evidence.sent}
    possible = [one for one in store.sent_milestones if one in situation.platform.facts.milestones]
    missing = [one for one in possible if not accepted.intersection(store.all_event_names(one))]
    if not missing:
        return make("green", f"TikTok accepted {', '.join(sorted(accepted))}")
    names = ", ".join(f"{'/'.join(store.all_event_names(one))} ({MILESTONES[one]})" for one in missing)
    if store.only_tests:
        return make("waiting", f"still to come: {names}", "comes after `test_event_code` is taken out")
    if situation.evidence.rejected and not accepted:
        return make("red", f"TikTok rejected an event: {situation.evidence.rejected}", _look_at(situation))
    by = f"`connector simulate {store.name}`" if situation.is_trial else "an order of a shopper"
    return make("waiting", f"still to come: {names}", f"{by} brings it")


def official_app(situation: Situation) -> Item:
    """Is TikTok's own app silent on the store's pixels? Its event_ids are random, so orders would count twice."""
    store, title = situation.store, situation.platform.title
    make = partial(Item, "official_app", "TikTok's own app")
    off = "switch its data sharing off or give it another pixel"
    if situation.evidence.foreign:
        said = situation.evidence.foreign.removeprefix(f"store {store.name}, ").removeprefix(f"store {store.name}: ")
        return make("red", f"the shop's pages have seen it: {said.partition('; ')[0]}", off)
    if store.browser_pixel == "official":
        return make(
            "green", '`browser_pixel = "official"` leaves the app its events, and the server sends none of them'
        )
    if not situation.platform.facts.official_app:
        return make("not_applicable", f"no app of TikTok's for {title} is known")
    if situation.records.app_off_at is not None:
        return make("green", f"switched off, as you said on {utc_minute(situation.records.app_off_at)}")
    codes = " and ".join(pixel.code for pixel in store.pixels)
    return make(
        "waiting",
        f"if TikTok's own app for {title} sends to {codes} as well, every order counts twice: its event_ids are random",
        f"when you go live, {off}; then say so here, or with `connector check --live {store.name} --app-off`",
        action="app_off",
    )


def live(situation: Situation) -> Item:
    """Is test_event_code gone?"""
    make = partial(Item, "live", "Live")
    testing = [pixel for pixel in situation.store.pixels if pixel.test_event_code]
    if not testing:
        return _counts(situation)
    codes = ", ".join(pixel.code for pixel in testing)
    return make(
        "waiting",
        f"`test_event_code` is set for {codes}, so events go to Test Events and count nowhere",
        "when Test Events look right, take it out of the stores file, and restart `connector serve` or send it HUP",
    )


def _counts(situation: Situation) -> Item:
    """Events without a code count, if they go to TikTok."""
    make, url = partial(Item, "live", "Live"), situation.config.events_api_url
    if is_tiktok(url):
        return make("green", "no `test_event_code` is set: events count")
    if situation.is_trial:
        return make("green", f"no `test_event_code` is set; events go to the sandbox, {url}, as long as you try this")
    return make(
        "red",
        f"events go to {url}, which is not TikTok, and count nowhere",
        "unset `EVENTS_API_URL`, and restart `connector serve`",
    )


EVENT_ITEMS = (token, snippet, first_test_event, first_real_events, official_app, live)
