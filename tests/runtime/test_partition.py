"""Two engines whose connections freeze in turn: what arrives late harms nothing."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest

from dagnats.model.codec import decode
from dagnats.model.event import EventType
from dagnats.model.records import EngineEpoch
from dagnats.model.run import is_terminal
from dagnats.model.times import MILLISECOND, SECOND
from dagnats.runtime import lease
from dagnats.runtime.engine import Engine
from dagnats.server.embedded import EmbeddedServer
from dagnats.wire.connection import ConnectOptions, connect
from dagnats.wire.stores import Stores
from tests.conftest import eventually
from tests.engine.world import flow, step
from tests.runtime.test_engine import RawWorker, start

RETRY = {"max_attempts": 5, "initial_delay": 100 * MILLISECOND}
DEFINITION = flow(
    step("a", task="t", retry=RETRY, timeout=60 * SECOND),
    step("nap", "a", type="sleep", config={"duration": 2100 * MILLISECOND}),
    step("b", "nap", task="t", retry=RETRY),
    name="frozen",
    concurrency={"max_runs": 40},
)


class FreezingProxy:
    """Passes bytes on, but for times in which it keeps them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open = asyncio.Event()
        self._open.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sinks: list[asyncio.StreamWriter] = []

    async def start(self) -> int:
        """Listen; the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def freeze(self, seconds: float) -> None:
        """Keep everything for so long."""
        self._open.clear()
        await asyncio.sleep(seconds)
        self._open.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = await asyncio.open_connection("127.0.0.1", self._port)
        for source, sink in ((reader, upstream[1]), (upstream[0], writer)):
            self._tasks.add(asyncio.create_task(self._pump(source, sink)))
            self._sinks.append(sink)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                await self._open.wait()
                sink.write(data)
                await sink.drain()
        sink.close()

    async def stop(self) -> None:
        """Close everything."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for sink in self._sinks:
            sink.close()
            with suppress(OSError):
                await sink.wait_closed()


async def _handler(task: dict[str, Any]) -> tuple[str, Any]:
    if not task.get("attempt") and int(task["run_id"][0], 16) % 3 == 0:
        return "step.failed", {"error": "once", "failure_type": "retriable"}
    return "step.completed", task["step_id"]


@pytest.mark.timeout(90)
@pytest.mark.parametrize("seed", [1])
async def test_late_writes_of_a_frozen_engine_undo_nothing(
    stores: Stores, nats_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    for name, value in (("RENEW_S", 0.1), ("HOLD_S", 0.3), ("PATIENCE_S", 0.5), ("POLL_S", 0.05)):
        monkeypatch.setattr(lease, name, value)
    chance = random.Random(seed)
    proxies = [FreezingProxy(nats_server.settings.port) for _ in range(2)]
    buses = [
        await connect(ConnectOptions(url=f"nats://127.0.0.1:{await proxy.start()}"))
        for proxy in proxies
    ]
    engines = [Engine(Stores(bus)) for bus in buses]
    tasks = [asyncio.create_task(engine.run()) for engine in engines]
    tasks.append(asyncio.create_task(RawWorker(stores, "t", _handler).run()))
    runs: list[str] = []
    for _ in range(5):
        runs += [await start(stores, DEFINITION) for _ in range(15)]
        await asyncio.sleep(chance.uniform(0.01, 0.2))
        active = [place for place in range(2) if engines[place].active]
        for place in active:
            await proxies[place].freeze(chance.uniform(0.1, 1.2))
    await _all_well(stores, runs)
    last, _ = await stores.engine_state.latest(lease.EPOCH)
    assert last is not None
    assert decode(last, EngineEpoch).epoch >= 3, "hardly anybody ever lost the lease"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for bus in buses:
        await bus.close()
    for proxy in proxies:
        await proxy.stop()


async def _all_well(stores: Stores, runs: list[str]) -> None:
    async def all_ended() -> bool:
        found = await stores.runs.get_many(f"run.{run_id}" for run_id in runs)
        return len(found) == len(runs) and all(
            is_terminal(entry.value.status) for entry in found.values()
        )

    await eventually(all_ended, 40)
    for run_id in runs:
        entry = await stores.runs.get(f"run.{run_id}")
        assert entry is not None
        assert entry.value.status == "completed", entry.value.error
        events = await stores.history.read(run_id)
        kinds = Counter((stored.event.type, stored.event.step_id) for stored in events)
        for step_id in ("a", "b"):
            assert kinds[EventType.STEP_COMPLETED, step_id] == 1
        assert kinds[EventType.WORKFLOW_COMPLETED, ""] == 1

    async def freed() -> bool:
        return await stores.engine_state.keys("runs.*") == []

    await eventually(freed)
