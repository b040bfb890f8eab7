"""Recipients: the addresses of the settings, each once, and whose problems it is sent."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from connector.config.settings import Config
from connector.core.alert_address import addresses_in, service_of
from connector.outbox.lanes import fingerprint


@dataclass(frozen=True, slots=True)
class Recipient:
    """An address, where it is set, and the stores it is sent about; `stores` is None for all."""

    address: str = field(repr=False)
    place: str
    stores: frozenset[str] | None = None
    is_for_digests: bool = False

    @property
    def id(self) -> str:
        """The address's name in the database: a fingerprint, because the address is a secret."""
        return f"{'digest:' if self.is_for_digests else ''}{fingerprint(self.address)}"

    @property
    def label(self) -> str:
        """The address's name for people, without its secret: "ALERT_URL 2 (slack)"."""
        return f"{self.place} ({service_of(self.address)})"

    def takes(self, key: str) -> bool:
        """Return True for the problem of this key; one that is not of a single store is for those who get all."""
        return self.stores is None or key.split(":")[1:2] in [[store] for store in self.stores]


def alert_recipients(config: Config) -> list[Recipient]:
    """Return those of ALERT_URL, then those of single stores."""
    by_store = ((f"stores.{name}.alerts", name, store.alerts) for name, store in config.stores.items())
    return _once([*_of_all("ALERT_URL", config.alert_url), *_of_stores(by_store)])


def digest_recipients(config: Config) -> list[Recipient]:
    """Return those of DIGEST_URL, then those of single stores."""
    by_store = ((f"stores.{name}.digest", name, store.digest) for name, store in config.stores.items())
    found = _once([*_of_all("DIGEST_URL", config.digest_url), *_of_stores(by_store)])
    return [replace(recipient, is_for_digests=True) for recipient in found]


def _of_all(variable: str, value: str) -> list[Recipient]:
    addresses = addresses_in(value)
    several = len(addresses) > 1
    return [
        Recipient(address, f"{variable} {number}" if several else variable)
        for number, address in enumerate(addresses, 1)
    ]


def _of_stores(settings: Iterable[tuple[str, str, tuple[str, ...]]]) -> list[Recipient]:
    return [
        Recipient(address, f"{key} {number}" if len(addresses) > 1 else key, frozenset({store}))
        for key, store, addresses in settings
        for number, address in enumerate(addresses, 1)
    ]


def _once(found: Iterable[Recipient]) -> list[Recipient]:
    """Merge the entries of one address: it is sent about all of their stores, and named by the first place."""
    merged: dict[str, Recipient] = {}
    for one in found:
        known = merged.setdefault(one.address, one)
        stores = None if known.stores is None or one.stores is None else known.stores | one.stores
        merged[one.address] = Recipient(one.address, known.place, stores)
    return [*merged.values()]
