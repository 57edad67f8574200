"""A real nats-server for whoever asks for one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from dagnats.server.embedded import EmbeddedServer, NatsSettings, free_port
from dagnats.wire.connection import ConnectOptions, connect
from dagnats.wire.stores import Stores
from dagnats.wire.topology import provision

# A busy machine makes the drawing of values slow, which says nothing about what is tested.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


@pytest.fixture
async def nats_server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """A running server on a free port with an empty store."""
    server = EmbeddedServer(NatsSettings(data_dir=tmp_path / "nats", port=free_port(), sync="2m"))
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def stores(nats_server: EmbeddedServer) -> AsyncIterator[Stores]:
    """A connection to a provisioned server."""
    bus = await connect(ConnectOptions(url=nats_server.url))
    await provision(bus)
    yield Stores(bus)
    await bus.close()


async def eventually(condition: Callable[[], Awaitable[bool]], timeout: float = 15.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + timeout
    while not await condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        await asyncio.sleep(0.02)
