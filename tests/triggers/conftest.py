"""Servers that run triggers and an engine on one real NATS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from dagnats.model.codec import encode
from dagnats.model.run import WorkflowRun
from dagnats.model.trigger import TriggerDef, TriggerFire
from dagnats.model.workflow import WorkflowDef
from dagnats.runtime.engine import Engine
from dagnats.runtime.triggers.service import TriggerService
from dagnats.server.embedded import EmbeddedServer
from dagnats.wire.connection import ConnectOptions, connect
from dagnats.wire.stores import Stores
from tests.conftest import eventually

Put = Callable[..., Awaitable[TriggerDef]]

STEP = {"id": "nap", "type": "sleep", "config": {"duration": 1_000_000}}


def workflow_of(name: str = "w", **more: Any) -> WorkflowDef:
    plain = {"name": name, "version": "1", "steps": [STEP], **more}
    return msgspec.json.decode(encode(plain), type=WorkflowDef)


@pytest.fixture
async def engine(stores: Stores) -> AsyncIterator[Engine]:
    engine = Engine(stores)
    task = asyncio.create_task(engine.run())
    await asyncio.wait_for(engine.ready(), 10)
    await stores.definitions.put("w", workflow_of())
    yield engine
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def another(nats: EmbeddedServer) -> AsyncIterator[TriggerService]:
    """One more server's triggers, on a connection of its own."""
    bus = await connect(ConnectOptions(url=nats.url))
    service = TriggerService(Stores(bus))
    await service.start()
    try:
        yield service
    finally:
        await service.stop()
        await bus.close()


@pytest.fixture
async def two(nats_server: EmbeddedServer, stores: Stores) -> AsyncIterator[list[TriggerService]]:
    """The triggers of two servers."""
    async with another(nats_server) as one, another(nats_server) as other:
        yield [one, other]


@pytest.fixture
def put(stores: Stores) -> Put:
    async def put(trigger_id: str = "t", **parts: Any) -> TriggerDef:
        parts = {"workflow_id": "w", "enabled": True, **parts}
        trigger = TriggerDef(id=trigger_id, **parts)
        await stores.triggers.put(trigger_id, trigger)
        return trigger

    return put


async def fires(stores: Stores, trigger_id: str = "t") -> list[TriggerFire]:
    """The history of a trigger, oldest first."""
    return (await stores.fires.newest(trigger_id, 500))[::-1]


async def started(stores: Stores, count: int, trigger_id: str = "t") -> list[TriggerFire]:
    """Wait for that many rows of history."""
    found: list[TriggerFire] = []

    async def there() -> bool:
        found[:] = await fires(stores, trigger_id)
        return len(found) >= count

    await eventually(there)
    return found


async def runs(stores: Stores) -> list[WorkflowRun]:
    return [entry.value async for entry in stores.runs.scan()]


async def ended(stores: Stores, count: int) -> list[WorkflowRun]:
    """Wait until that many runs have completed."""

    async def there() -> bool:
        return sum(run.status == "completed" for run in await runs(stores)) >= count

    await eventually(there)
    return await runs(stores)


def data_of(run: WorkflowRun) -> Any:
    return msgspec.json.decode(bytes(run.input)).get("data")
