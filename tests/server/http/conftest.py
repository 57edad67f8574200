"""The HTTP API on a real NATS server, with an engine and a worker behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dagnats.server.embedded import free_port
from dagnats.server.http.room import HttpRoom
from dagnats.server.rooms import Context
from dagnats.server.settings import Settings
from dagnats.services.session import Session
from tests.server.http.client import Client
from tests.services.conftest import engine, session, worker, workflow  # noqa: F401 - fixtures

Serve = Callable[..., Awaitable[Client]]


@asynccontextmanager
async def api_of(on: Session, data: Path, **more: Any) -> AsyncIterator[Client]:
    """A listening API."""
    port = free_port()
    settings = Settings(data_dir=data, http_addr=f"127.0.0.1:{port}", **more)
    context = Context(settings, on, settings.http_bind)
    room = HttpRoom(context)
    await room.start()
    context.ready = True
    try:
        yield Client("127.0.0.1", port, settings.api_token)
    finally:
        await room.stop()


@pytest.fixture
async def serve(session: Session, tmp_path: Path) -> AsyncIterator[Serve]:  # noqa: F811
    """Starts APIs with other settings."""
    async with AsyncExitStack() as stack:

        async def start(**more: Any) -> Client:
            return await stack.enter_async_context(api_of(session, tmp_path, **more))

        yield start


@pytest.fixture
async def api(serve: Serve) -> Client:
    return await serve()
