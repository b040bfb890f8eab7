"""The stored part of a setup: what shop and TikTok answered when last asked, and the administrator's word.

A store's rows in the table `setup`, by `about`:

    address, token, api, webhooks   the results of `connector.setup.live`, with a fingerprint of the settings asked with
    samples                         topic and SHA-256 of bodies sent as samples: they are no webhooks of the shop
    test_event                      pixel and name of a sample's event that Test Events accepted; with a fingerprint
    app_off                         the administrator says that TikTok's own app is off on the store's pixels
    complete                        every item was done once
    running                         a fingerprint of the settings that run: see `connector.setup.running`

Times are Unix seconds. Raises CannotStore.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from connector.config.settings import Config
from connector.core.store import Store
from connector.outbox.lanes import fingerprint
from connector.setup.evidence import Sample
from connector.setup.live import SUBJECTS, LiveResult, Subject
from connector.storage.database import Database
from connector.storage.tables import setup

MAX_SAMPLES = 20  # that are kept


@dataclass(frozen=True, slots=True)
class Answers:
    """The last results about one subject, and when they were given."""

    results: tuple[LiveResult, ...]
    at: float


@dataclass(frozen=True, slots=True)
class Records:
    """The stored record of one store's setup."""

    answers: Mapping[Subject, Answers]
    samples: tuple[Sample, ...]
    test_event: tuple[str, str] | None  # pixel and name
    app_off_at: float | None
    complete: bool


class SetupRecords:
    """Reads and writes the table `setup`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self, config: Config, store: Store) -> Records:
        """Return a store's records, without answers to questions asked with other settings."""
        with self._database.read() as connection:
            rows = {
                row.about: row for row in connection.execute(sa.select(setup).where(setup.c.store == store.name)).all()
            }
        values = {about: json.loads(row.value) for about, row in rows.items()}
        tested = "test_event" in rows and rows["test_event"].settings == _pixels(config, store)
        answers: dict[Subject, Answers] = {
            subject: Answers(tuple(LiveResult(**one) for one in values[subject]), rows[subject].at)
            for subject in SUBJECTS
            if subject in rows and rows[subject].settings == _settings(subject, config, store)
        }
        return Records(
            answers=answers,
            samples=tuple((topic, bytes.fromhex(digest)) for topic, digest in values.get("samples", ())),
            test_event=tuple(values["test_event"]) if tested else None,
            app_off_at=rows["app_off"].at if "app_off" in rows else None,
            complete="complete" in rows,
        )

    def complete(self, stores: Iterable[str]) -> set[str]:
        """Return those of these stores that were complete once."""
        with self._database.read() as connection:
            query = sa.select(setup.c.store).where(setup.c.store.in_([*stores]), setup.c.about == "complete")
            return set(connection.execute(query).scalars())

    def note_answers(self, config: Config, store: Store, results: Iterable[LiveResult], now: float) -> None:
        """Store the results of asking about everything, in place of all earlier ones."""
        by_subject: dict[Subject, list[dict[str, Any]]] = {}
        for result in results:
            by_subject.setdefault(result.about, []).append(asdict(result))
        rows = [
            {
                "store": store.name,
                "about": about,
                "value": json.dumps(found),
                "settings": _settings(about, config, store),
            }
            for about, found in by_subject.items()
        ]
        with self._database.write() as connection:
            connection.execute(sa.delete(setup).where(setup.c.store == store.name, setup.c.about.in_(SUBJECTS)))
        self._write(rows, now)

    def note_sample(self, config: Config, store: Store, sample: Sample, now: float) -> None:
        """Store that this body is a sample."""
        known = [*self.read(config, store).samples, sample][-MAX_SAMPLES:]
        value = json.dumps([(topic, digest.hex()) for topic, digest in known])
        self._write([{"store": store.name, "about": "samples", "value": value, "settings": ""}], now)

    def note_test_event(self, config: Config, store: Store, pixel: str, event: str, now: float) -> None:
        """Store that Test Events accepted the event of a sample at this pixel."""
        row = {"about": "test_event", "value": json.dumps([pixel, event]), "settings": _pixels(config, store)}
        self._write([{"store": store.name, **row}], now)

    def note_app_off(self, store: Store, now: float) -> None:
        """Store that the administrator says TikTok's own app is off."""
        self._write([{"store": store.name, "about": "app_off", "value": "true", "settings": ""}], now)

    def note_complete(self, store: Store, now: float) -> None:
        """Store that every item is done."""
        self._write([{"store": store.name, "about": "complete", "value": "true", "settings": ""}], now)

    def _write(self, rows: Sequence[dict[str, str]], now: float) -> None:
        insert = self._database.insert(setup)
        replaced = {name: insert.excluded[name] for name in ("value", "settings", "at")}
        upsert = insert.on_conflict_do_update(index_elements=["store", "about"], set_=replaced)
        if rows:
            with self._database.write() as connection:
                connection.execute(upsert, [{**row, "at": now} for row in rows])


def _settings(subject: Subject, config: Config, store: Store) -> str:
    """Return a fingerprint of the settings on which an answer depends."""
    pixels = [_pixels(config, store), [pixel.test_event_code for pixel in store.pixels]]
    keys = [fingerprint(key) for key in asdict(store.api).values()] if store.api else []
    depends: dict[Subject, object] = {
        "address": config.public_url,
        "token": pixels,
        "api": [store.platform, store.url, store.shops, keys],
        "webhooks": [config.public_url, store.platform, store.url, store.shops, keys, store.sent_milestones],
    }
    return _digest(depends[subject])


def _pixels(config: Config, store: Store) -> str:
    """Return a fingerprint of where events go, and of the tokens."""
    return _digest([config.events_api_url, [(pixel.code, fingerprint(pixel.access_token)) for pixel in store.pixels]])


def _digest(settings: object) -> str:
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]
