"""A stopped server's data, or a recording of one, opened on a private nats-server."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from dagnats.server.datadir import DataDir
from dagnats.server.embedded import EmbeddedServer, free_port
from dagnats.server.natsconf import NatsSettings
from dagnats.services.contexts import ConnectSettings
from dagnats.services.recording import play
from dagnats.services.session import Session, open_session


@asynccontextmanager
async def open_store(path: Path) -> AsyncGenerator[Session]:
    """A session on what lies in a data directory, or in a recording; nothing else is attached.

    Args:
        path: ``data_dir`` of a server that does not run, or a file of ``dagnats ui --record``.

    Raises:
        ConflictError: a server uses the directory.
        InvalidError: the file is no recording.
    """
    if _is_folder(path):
        with DataDir(path):
            async with _session(path) as session:
                yield session
        return
    with tempfile.TemporaryDirectory(prefix="dagnats-replay-") as folder:
        async with _session(Path(folder)) as session:
            await play(session, path)
            yield session


def _is_folder(path: Path) -> bool:
    return path.is_dir()


@asynccontextmanager
async def _session(folder: Path) -> AsyncGenerator[Session]:
    server = EmbeddedServer(NatsSettings(data_dir=folder, port=free_port(), sync="2m"))
    await server.start()
    try:
        async with open_session(ConnectSettings(server=server.url)) as session:
            yield session
    finally:
        await server.stop()
