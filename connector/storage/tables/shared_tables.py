"""Tables of stores, processes and the work that they share.

stores           the first start of each store: older orders are history
relays           heartbeats of relays
leases           work that only one process at a time may do, on any host: owner and expiry
registered       webhooks that the connector created in the shops, so that a deleted one can be created again
demands          data requests and uninstall notices: kind, time, and whether they are done
public_keys      public keys of shops that sign with a private one, by the address that they are fetched from
setup            per store: what its shop, TikTok and the administrator last said for the setup checklist, and a
                 fingerprint of the settings that run
"""

from sqlalchemy import Column, Double, Index, LargeBinary, Table, UniqueConstraint, text

from connector.storage.tables.columns import ID, StorableText, metadata

stores = Table(
    "stores",
    metadata,
    Column("name", StorableText, primary_key=True),
    Column("started_at", Double, nullable=False),
)

relays = Table(
    "relays",
    metadata,
    Column("name", StorableText, primary_key=True),
    Column("seen_at", Double, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("name", StorableText, primary_key=True),
    Column("owner", StorableText, nullable=False),
    Column("until", Double, nullable=False),
)

registered = Table(
    "registered",
    metadata,
    Column("store", StorableText, primary_key=True),
    Column("topic", StorableText, primary_key=True),
    Column("id", StorableText, nullable=False),  # the shop's id of the webhook
    Column("url", StorableText, nullable=False),
    Column("made_at", Double, nullable=False),
)

demands = Table(
    "demands",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("store", StorableText, nullable=False),
    Column("what", StorableText, nullable=False),  # erase_person, erase_store, export, uninstalled
    Column("body_sha256", LargeBinary, nullable=False),  # so that a repeated body is ignored
    Column("asked_at", Double, nullable=False),
    Column("done_at", Double),
    Column("person", LargeBinary),  # the person, as hashes and ids; erased when it is done
    UniqueConstraint("store", "what", "body_sha256"),
)
_OPEN = text("done_at IS NULL")
Index("demands_open", demands.c.asked_at, sqlite_where=_OPEN, postgresql_where=_OPEN)
Index("demands_asked", demands.c.asked_at)

public_keys = Table(
    "public_keys",
    metadata,
    Column("address", StorableText, primary_key=True),
    Column("keys", StorableText, nullable=False),  # the JWKS as fetched; "" before
    Column("fetched_at", Double),  # when that was; `keys` stays if a later attempt fails
    Column("tried_at", Double),  # the last attempt
    Column("wanted_at", Double),  # when a webhook last named a key that is not there
    Column("error", StorableText, nullable=False),  # of the last attempt; "" if it succeeded
)

setup = Table(
    "setup",
    metadata,
    Column("store", StorableText, primary_key=True),
    Column("about", StorableText, primary_key=True),  # see `connector.setup.records`
    Column("value", StorableText, nullable=False),  # JSON
    Column("settings", StorableText, nullable=False),  # fingerprint of the settings it was asked with; "": of any
    Column("at", Double, nullable=False),
)
