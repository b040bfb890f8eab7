"""A proxy before PostgreSQL that hands everything on late, as a database far away would."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import make_url

from tests.support.web import Loop


@contextmanager
def far_away(url: str, folder: Path, seconds: float) -> Iterator[str]:
    """The URL of the same database, `seconds` away in each direction."""
    loop, target = Loop(), make_url(url)
    server = Path(str(target.query["host"])) / ".s.PGSQL.5432"

    async def hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            loop.loop.call_later(seconds, writer.write, data)
        loop.loop.call_later(seconds, writer.close)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_server = await asyncio.open_unix_connection(str(server))
        await asyncio.gather(hand_on(reader, to_server), hand_on(there, writer), return_exceptions=True)

    listening = loop.run(asyncio.start_unix_server(accept, str(folder / server.name)))
    yield target.set(query={"host": str(folder)}).render_as_string(hide_password=False)
    loop.loop.call_soon_threadsafe(listening.close)
