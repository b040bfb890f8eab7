"""Types of columns, and the metadata that all tables belong to."""

import re

from sqlalchemy import (
    BigInteger,
    Integer,
    MetaData,
    String,
    TypeDecorator,
    text,
)
from sqlalchemy.engine import Dialect

_SURROGATES = re.compile("[\ud800-\udfff]")


def storable(text: str) -> str:
    """Return text as `StorableText` stores it."""
    # Printable text contains neither, and the check is cheap.
    return text if text.isprintable() else _SURROGATES.sub("\ufffd", text.replace("\0", ""))


class StorableText(TypeDecorator[str]):
    """Text that both databases accept: NUL is removed, a lone surrogate becomes U+FFFD."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Clean text that is stored or searched for."""
        return value if value is None else storable(value)


metadata = MetaData()
ID = BigInteger().with_variant(Integer, "sqlite")

DUE = text("state = 'due'")  # of a partial index of a queue
