"""A recording, put on a private server and looked at as of when it was made."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from dagnats.server.embedded import EmbeddedServer, NatsSettings, free_port
from dagnats.services.contexts import ConnectSettings
from dagnats.services.recording import play, read_manifest
from dagnats.services.session import open_session
from dagnats.tui.feed.feed import Feed


@asynccontextmanager
async def replayed(path: Path) -> AsyncGenerator[Feed]:
    """A feed on a recording.

    Args:
        path: the file, made by ``dagnats ui --record``.

    Raises:
        NotFoundError, InvalidError: the file is no recording.
    """
    manifest = read_manifest(path)
    with tempfile.TemporaryDirectory(prefix="dagnats-replay-") as folder:
        server = EmbeddedServer(NatsSettings(data_dir=Path(folder), port=free_port(), sync="2m"))
        await server.start()
        try:
            settings = ConnectSettings(server=server.url)
            async with open_session(settings) as session:
                await play(session, path)
            feed = Feed(settings, lambda: manifest.at, recorded=True)
            feed.link.name = path.name
            yield feed
        finally:
            await server.stop()
