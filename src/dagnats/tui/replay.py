"""A recording, put on a private server and looked at as of when it was made."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from dagnats.server.embedded import EmbeddedServer, NatsSettings, free_port
from dagnats.services.contexts import ConnectSettings
from dagnats.services.recording import play, read_manifest
from dagnats.services.session import Session, open_session
from dagnats.tui.feed.feed import Feed


def recorded_feed(path: Path) -> Feed:
    """A feed on a recording; its server starts and ends with the feed.

    Args:
        path: the file, made by ``dagnats ui --record``.

    Raises:
        NotFoundError, InvalidError: the file is no recording.
    """
    manifest = read_manifest(path)
    feed = Feed(now=lambda: manifest.at, recorded=lambda: _played(path))
    feed.link.name = path.name
    return feed


@asynccontextmanager
async def _played(path: Path) -> AsyncGenerator[Session]:
    with tempfile.TemporaryDirectory(prefix="dagnats-replay-") as folder:
        server = EmbeddedServer(NatsSettings(data_dir=Path(folder), port=free_port(), sync="2m"))
        await server.start()
        try:
            async with open_session(ConnectSettings(server=server.url)) as session:
                await play(session, path)
                yield session
        finally:
            await server.stop()
