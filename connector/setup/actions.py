"""Actions of a checklist's buttons: check again, register webhooks, send a test event, post a sample.

Each returns a sentence for the page. They use the network, so they run in the threads of pages and commands only.
"""

import random
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import httpx

from connector.config.settings import Config
from connector.core.platform import Platform
from connector.core.registry import BrokenPlatform
from connector.core.shop_api import ShopApiError
from connector.core.signature import body_sha256
from connector.core.store import Store
from connector.core.text import how_many
from connector.core.webhook import Webhook
from connector.intake.examine import examine
from connector.mapping.tiktok_event import OutboundEvent
from connector.relay.events_api import EventsApi
from connector.setup.live import LiveResult, ask
from connector.setup.records import SetupRecords
from connector.storage.database import Database
from connector.sync.registered_webhooks import RegisteredWebhooks
from connector.sync.registration import CannotRegister, apply_plan, prepare
from connector.sync.shop_wait import ShopWait

PAGE_TIMEOUT = httpx.Timeout(5.0, connect=3.0, pool=3.0)  # seconds; somebody looks at the page meanwhile
PAGE_WAIT = 15.0  # seconds for a shop's answer


@dataclass(frozen=True, slots=True)
class Setup:
    """A store to set up, with what its actions use. Close `client` after use."""

    config: Config
    store: Store
    platform: Platform
    database: Database
    client: httpx.Client

    def check(self, wait: ShopWait | None = None) -> list[LiveResult]:
        """Ask TikTok, PUBLIC_URL and the shop, and store the answers. Raises CannotStore."""
        broken = RegisteredWebhooks(self.database).broken(self.store.name, time.time())
        results = [*ask(self.config, self.store, self.platform, broken, wait or _short_wait(), self.client)]
        SetupRecords(self.database).note_answers(self.config, self.store, results, time.time())
        return results

    def register(self) -> str:
        """Register the needed webhooks through the shop's API. Raises CannotStore."""
        registered = RegisteredWebhooks(self.database)
        broken: Collection[str] = registered.broken(self.store.name, time.time())
        wait, created = _short_wait(), 0
        try:
            with wait:
                shop_api, plan = prepare(
                    self.store, self.platform, self.config.public_url, "register", broken, wait.pause
                )
                for line in apply_plan(plan.lines, shop_api, self.store.signing_secret):
                    wait.progress()
                    registered.note(self.store.name, line, time.time())
                    created += line.change == "created"
        except (ShopApiError, CannotRegister, BrokenPlatform) as error:
            return f"{how_many(created, 'webhook was', 'webhooks were')} registered, then: {error}"
        self.check()
        return f"{how_many(created, 'webhook was', 'webhooks were')} registered." if created else "All were registered."

    def send_test_event(self, code: str) -> str:
        """Send the event of a sample order to Test Events under `code`, or that of the settings.

        The event is not stored, only that it was accepted. Raises CannotStore.
        """
        sample = self._sample_event()
        if isinstance(sample, str):
            return sample
        code = code.strip() or sample.pixel.test_event_code
        if not code:
            return "Enter the code that Test Events shows, such as TEST12345."
        api = EventsApi(self.config.events_api_url, self.client)
        outcome = api.send(replace(sample.pixel, test_event_code=code), code, [sample.payload])
        if outcome.verdict == "accepted":
            records = SetupRecords(self.database)
            records.note_test_event(self.config, self.store, sample.pixel.code, sample.event, time.time())
            return f"TikTok accepted a {sample.event} for Test Events ({code}) at pixel {sample.pixel.code}."
        answer = f"{outcome.code or ''} {outcome.message}".strip()
        return f"TikTok answered {answer}; check pixel, access_token and the code."

    def _sample_event(self) -> OutboundEvent | str:
        """Return the event of a sample's paid order, or why there is none."""
        from connector.setup.samples import NoSamples, samples_of, translated_bodies

        try:
            topics = samples_of(self.platform).FUNNEL
            bodies = [*translated_bodies(self.store, topics, random.SystemRandom())]
        except NoSamples as error:
            return f"{error}, so there is nothing to send."
        now, why = datetime.now(UTC), "none is set"
        for topic, body in reversed(bodies):
            webhook = Webhook(topic=topic, body=body, received_at=now)
            found = examine(webhook, self.platform, replace(self.store, consent="not_required"), now, None)
            if found.events:
                return found.events[-1]  # of an order that is placed and paid at once, the payment
            why = found.reason or why
        return f"No sample yields an event with these settings: {why}."

    def post_sample(self) -> str:
        """Post a signed sample order to the store's address, through whatever stands before this server."""
        from connector.setup.samples import NoSamples, refusal, samples_of, webhooks

        if why := refusal(self.config, self.store):
            return f"{why[0].upper()}{why[1:]}."
        try:
            topic = samples_of(self.platform).FUNNEL[-1]
            ((body, headers),) = webhooks(self.store, [topic], 1, random.SystemRandom(), self._put)
        except NoSamples as error:
            return f"{error}, so there is nothing to send."
        except httpx.HTTPError:
            return "The address in api.url takes no invented orders: is `connector sandbox` there?"
        base = self.config.public_url or f"http://127.0.0.1:{self.config.port}"
        url = f"{base}/webhooks/{self.store.name}"
        sample = (topic, body_sha256(body))
        SetupRecords(self.database).note_sample(self.config, self.store, sample, time.time())
        try:
            answer = self.client.post(url, content=body, headers=headers)
        except httpx.HTTPError as error:
            return f"{url} did not answer ({type(error).__name__}); see the public address below."
        match answer.status_code:
            case 200:
                return f"{url} took the sample; its event follows within seconds."
            case 401:
                return (
                    f"{url} refused the sample although its signature is right: a proxy before this server changes "
                    "bodies or headers, or another server answers there."
                )
            case 404:
                return f"{url} knows no store {self.store.name}: restart `connector serve`, or correct PUBLIC_URL."
        return f"{url} answered {answer.status_code}; the log of `connector serve` says why."

    def _put(self, topic: str, body: bytes) -> None:
        """Give the sandbox the order that a webhook without data names, and note that it is a sample's."""
        if self.store.api and self.store.api.url:
            SetupRecords(self.database).note_sample(self.config, self.store, (topic, body_sha256(body)), time.time())
            self.client.put(self.store.api.url, content=body, headers={"X-Topic": topic}).raise_for_status()

    def note_app_off(self) -> str:
        """Note that TikTok's own app is off. Raises CannotStore."""
        SetupRecords(self.database).note_app_off(self.store, time.time())
        return "Noted: TikTok's own app is switched off on this store's pixels."


def _short_wait() -> ShopWait:
    return ShopWait(PAGE_WAIT, lambda _sentence: None)
