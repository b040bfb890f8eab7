"""Many rows into one table by one statement whose text is made once: what intake does for every webhook.

SQLAlchemy's own way makes the text anew for each number of rows and looks at every parameter of every row, which costs
several times what the database itself does.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from connector.storage.tables import StorableText, storable

Row = Mapping[str, Any]


class BulkInsert:
    """INSERT of `columns` into `table` with an `ending` such as ON CONFLICT, which both databases read."""

    def __init__(self, table: sa.Table, columns: Sequence[str], ending: str, dialect: sa.Dialect) -> None:
        self._columns = columns
        self._words = [name for name in columns if isinstance(table.c[name].type, StorableText)]
        self._into = f"INSERT INTO {table.name} ({', '.join(columns)})"
        self._ending = ending
        self._postgresql = dialect.name == "postgresql"
        self._given = [(name, table.c[name].type.compile(dialect)) for name in columns]
        self._text = lru_cache(self._from_json if self._postgresql else self._values)

    def run(self, connection: Connection, rows: Sequence[Row]) -> Sequence[sa.Row[Any]]:
        """Insert the rows, in their order, at most a thousand; what the ending returns."""
        cleaned = [{**row, **{name: row[name] and storable(row[name]) for name in self._words}} for row in rows]
        if self._postgresql:
            parameters: tuple[Any, ...] = (msgspec.json.encode(cleaned).decode(),)
        else:
            parameters = tuple(row[name] for row in cleaned for name in self._columns)
        result = connection.exec_driver_sql(self._text(len(rows)), parameters)
        return result.all() if result.returns_rows else ()

    def _values(self, number: int) -> str:
        places = f"({', '.join('?' * len(self._columns))})"
        return f"{self._into} VALUES {', '.join([places] * number)} {self._ending}"

    def _from_json(self, _number: int) -> str:
        """All rows as one parameter: the driver does not look at each value, nor the server at each place.

        Bytes are base64 in msgspec's JSON. https://www.postgresql.org/docs/current/functions-json.html
        """
        declared = ", ".join(f"{name} {'TEXT' if kind == 'BYTEA' else kind}" for name, kind in self._given)
        chosen = ", ".join(f"decode({name}, 'base64')" if kind == "BYTEA" else name for name, kind in self._given)
        given = f"json_to_recordset(%s::json) AS given({declared})"
        return f"{self._into} SELECT {chosen} FROM {given} {self._ending}"  # noqa: S608 # names of our own tables
