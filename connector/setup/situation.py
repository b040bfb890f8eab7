"""The situation of a store: its settings, what its database shows, and what shop and TikTok last answered."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from ipaddress import ip_address
from urllib.parse import urlsplit

from connector.config.settings import Config, ConfigError
from connector.core.platform import Platform
from connector.core.registry import BrokenPlatform, part
from connector.core.shop_api import ShopApiModule
from connector.core.store import Store
from connector.outbox.outbox import Outbox
from connector.setup.evidence import NOTHING, Evidence, read_evidence
from connector.setup.live import SUBJECTS, LiveResult, Subject, is_tiktok
from connector.setup.records import Answers, Records, SetupRecords
from connector.setup.running import RunningSettings
from connector.storage.database import CannotStore, Database

LOOPBACK = "http://127.0.0.1"


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything from which a store's checklist is made; times in Unix seconds.

    `problems` are those of the settings as they are written now, `changed` is True if they are no longer those that
    the server runs with. `database_problem` is "" if the database takes writes; `unread` is True if it could not even
    be read, so that `evidence` and `records` are not known.
    """

    config: Config
    store: Store
    platform: Platform
    database_problem: str
    evidence: Evidence
    records: Records
    problems: tuple[str, ...] = ()
    changed: bool = False
    unread: bool = False

    @property
    def shop_api(self) -> ShopApiModule | None:
        """The module of the shop's API; None if the platform has none, or if it cannot be loaded."""
        try:
            return part(self.platform, lambda one: one.shop_api)
        except BrokenPlatform:
            return None

    @property
    def address(self) -> str:
        """The URL to which the shop delivers the store's webhooks."""
        return f"{self.config.public_url or 'https://HOST'}/webhooks/{self.store.name}"

    @property
    def is_trial(self) -> bool:
        """True if all stays on this machine: the shop is simulated, and events go to a sandbox."""
        return _is_local(self.config.events_api_url) and _is_local(self.config.public_url or LOOPBACK)

    @property
    def may_send_samples(self) -> bool:
        """True if invented orders count nowhere, and can be signed."""
        harmless = self.store.only_tests or not is_tiktok(self.config.events_api_url)
        return harmless and bool(self.store.webhook_secrets)

    def answers(self, subject: Subject) -> tuple[LiveResult, ...]:
        """Return what was last answered about a subject; empty if nobody has asked with these settings."""
        found = self.records.answers.get(subject)
        return found.results if found else ()


def read_situation(
    config: Config,
    store: Store,
    platform: Platform,
    database: Database | None,
    now: float,
    reload: Callable[[], Config] | None = None,
) -> Situation:
    """Gather a store's situation. Without a database, the caller says why in `database_problem` of a copy.

    `reload` reads the settings as they are written now; without it, `config` is what is written now, and the running
    relay's settings are looked up. Raises CannotStore if the database cannot be read.
    """
    records, evidence, problem = Records({}, (), None, None, False), NOTHING, ""
    if database is not None:
        records = SetupRecords(database).read(config, store)
        evidence = read_evidence(database, store, records.samples, now)
        try:
            Outbox(database).ping()
        except CannotStore as error:
            problem = f"the database does not take writes: {error}"
    problems, changed = _reloaded(config, store, reload)
    if database is not None and reload is None and evidence.relay_alive:
        changed = not RunningSettings(database, config).are_those_of(store)
    return Situation(config, store, platform, problem, evidence, records, problems, changed)


def with_answers(records: Records, results: Iterable[LiveResult], now: float) -> Records:
    """Return the records with these answers in place of earlier ones, where they cannot be stored."""
    found = [*results]
    answers = {
        subject: Answers(tuple(one for one in found if one.about == subject), now)
        for subject in SUBJECTS
        if any(one.about == subject for one in found)
    }
    return replace(records, answers={**records.answers, **answers})


def _reloaded(config: Config, store: Store, reload: Callable[[], Config] | None) -> tuple[tuple[str, ...], bool]:
    if reload is None:
        return (), False
    try:
        written = reload()
    except ConfigError as error:
        return tuple(error.problems), True
    return (), written.stores.get(store.name) != store or written.public_url != config.public_url


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
