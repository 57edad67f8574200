"""Servers without message schedules, or without a way to reset consumers.

The server of the suite can do both; what it says of itself is overridden. With
``DAGNATS_OLD_SERVERS`` (paths of nats-server binaries, separated by colons) real ones are used.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dagnats.errors import RefusedError
from dagnats.model.codec import encode, raw
from dagnats.model.event import EventType
from dagnats.model.records import ScheduledRun
from dagnats.model.times import MILLISECOND, SECOND, format_time
from dagnats.runtime.engine import Engine
from dagnats.server.embedded import EmbeddedServer, free_port
from dagnats.wire import topology
from dagnats.wire.connection import Bus, ConnectOptions, connect
from dagnats.wire.publisher import Outgoing
from dagnats.wire.stores import Stores
from tests.conftest import eventually
from tests.engine.world import flow, step
from tests.runtime.test_engine import RawWorker, ended, start

REAL = [path for path in os.environ.get("DAGNATS_OLD_SERVERS", "").split(":") if path]


@pytest.fixture(params=REAL or [1, 2])
async def old(
    request: pytest.FixtureRequest, tmp_path: Path, nats_server: EmbeddedServer
) -> AsyncIterator[Bus]:
    """A connection to an old server, not provisioned."""
    if isinstance(request.param, int):
        bus = await connect(ConnectOptions(url=nats_server.url))
        bus.api_level = request.param
        yield bus
        await bus.close()
        return
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(request.param, "-p", str(port), "-js", "-sd", str(tmp_path / "old")),
        stderr=asyncio.subprocess.DEVNULL,
    )
    await asyncio.sleep(0.5)
    bus = await connect(ConnectOptions(url=f"nats://127.0.0.1:{port}"))
    yield bus
    await bus.close()
    process.kill()
    await process.wait()


async def test_timers_retries_and_scheduled_runs_work(old: Bus) -> None:
    await topology.provision(old)
    assert await topology.provision(old) == []
    stores = Stores(old)
    engine = asyncio.create_task(Engine(stores).run())

    async def handler(task: dict[str, Any]) -> tuple[str, Any]:
        if not task.get("attempt"):
            return "step.failed", {"error": "once", "failure_type": "retriable"}
        return "step.completed", 1

    worker = asyncio.create_task(RawWorker(stores, "t", handler).run())
    retry = {"max_attempts": 1, "initial_delay": 2200 * MILLISECOND}
    definition = flow(
        step("a", task="t", retry=retry, timeout=60 * SECOND),
        step("nap", type="sleep", config={"duration": 2500 * MILLISECOND}),
        name="old",
    )
    began = time.monotonic()
    runs = [await start(stores, definition) for _ in range(5)]
    runs.append(await _scheduled(stores, definition))
    await asyncio.sleep(1)
    # The next engine finds what the first one left.
    engine.cancel()
    await asyncio.gather(engine, return_exceptions=True)
    engine = asyncio.create_task(Engine(stores).run())
    for run_id in runs:
        assert (await ended(stores, run_id)).status == "completed"
        kinds = [stored.event.type for stored in await stores.history.read(run_id)]
        assert kinds.count(EventType.STEP_COMPLETED) == 1
        assert kinds.count(EventType.SLEEP_COMPLETED) == 1
    assert 2.4 < time.monotonic() - began < 15

    async def nothing_left() -> bool:
        return (await old.api("STREAM.INFO.SLEEP_TIMERS"))["state"]["messages"] == 0

    await eventually(nothing_left)
    for task in (engine, worker):
        task.cancel()
    await asyncio.gather(engine, worker, return_exceptions=True)


async def _scheduled(stores: Stores, definition: dict[str, Any]) -> str:
    run_id = secrets.token_hex(16)
    await stores.publisher.publish(Outgoing("$KV.workflow_defs.old", encode(raw(definition))))
    record = ScheduledRun(
        run_id=run_id,
        workflow_id="old",
        run_at=format_time(time.time_ns() + 1500 * MILLISECOND),
        status="scheduled",
    )
    await stores.scheduled.put(run_id, record)
    await stores.publisher.publish(Outgoing(f"scheduled.{run_id}", encode(record)))
    return run_id


async def test_an_engine_killed_between_two_lives_of_its_consumer(old: Bus) -> None:
    """Nothing is applied twice, and the history is not read from its beginning."""
    await topology.provision(old)
    stores = Stores(old)
    for number in range(3):
        await stores.publisher.publish(Outgoing(f"history.r{number}", b"{}"))
    await old.request(topology.FLOOR, b"2")
    await old.api("CONSUMER.DELETE.WORKFLOW_HISTORY.orchestrator")
    await topology.provision(old)
    info = await old.api("CONSUMER.INFO.WORKFLOW_HISTORY.orchestrator")
    assert info["num_pending"] == 1


async def test_what_is_too_old_is_refused(nats_server: EmbeddedServer) -> None:
    bus = await connect(ConnectOptions(url=nats_server.url))
    bus.api_level = 0
    with pytest.raises(RefusedError, match=r"too old: dagnats needs 2\.11 or newer"):
        await topology.provision(bus)
    assert (await bus.api("STREAM.LIST"))["total"] == 0
    await bus.close()
