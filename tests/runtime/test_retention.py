"""What is old goes, what vanished frees what it held, what lives stays."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from dagnats.model.run import RunStatus, WorkflowRun
from dagnats.model.times import HOUR, SECOND, format_time
from dagnats.model.workflow import WorkflowDef
from dagnats.runtime import housekeeping
from dagnats.runtime.engine import Engine, EngineSettings
from dagnats.runtime.retention import Retention, View
from dagnats.wire.stores import Stores
from tests.conftest import eventually
from tests.engine.world import flow, step
from tests.runtime.test_engine import RawWorker, ended, start


async def _completes(task: dict[str, Any]) -> tuple[str, Any]:
    return "step.completed", task["step_id"]


@pytest.fixture
async def tidy(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    """An engine that keeps house ten times a second."""
    monkeypatch.setattr(housekeeping, "PRUNE_EVERY", 1)
    engine = Engine(stores, EngineSettings(housekeeping=0.1))
    task = asyncio.create_task(engine.run())
    await asyncio.wait_for(engine.ready(), 10)
    yield engine
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _put(stores: Stores, run_id: str, **fields: Any) -> None:
    ended_at = format_time(time.time_ns() - 2 * HOUR)
    known: dict[str, Any] = {"status": "completed", "completed_at": ended_at, "workflow_id": "w"}
    await stores.runs.put(f"run.{run_id}", WorkflowRun(run_id=run_id, **(known | fields)))


def _none(run_id: str) -> bool:
    del run_id
    return False


async def test_what_ended_long_ago_goes_with_all_that_is_its(stores: Stores) -> None:
    await _put(stores, "old")
    await stores.checkpoints.put("old.a", b"c")
    await stores.signals.put("old.s", b"s")
    await stores.idempotency.put("k1", "old")
    await stores.idempotency.put("k2", "other")
    await _put(stores, "live", status="running", completed_at="")
    await _put(stores, "child", root_run_id="live")
    await _put(stores, "held")
    await _put(stores, "young", completed_at=format_time(time.time_ns()))
    found = Retention(stores, View(lambda run_id: run_id == "held", lambda: 0))
    await asyncio.sleep(0.05)
    assert await _aged(found, stores) == 1
    assert set(await stores.runs.keys()) == {"run.live", "run.child", "run.held", "run.young"}
    assert await stores.checkpoints.keys() == []
    assert await stores.signals.keys() == []
    assert await stores.idempotency.keys() == ["k2"]


async def _aged(found: Retention, stores: Stores) -> int:
    """Prune as if every snapshot had been written when its run ended."""
    await stores.bus.nc.flush()
    scan = stores.runs.scan

    async def aged(pattern: str = ">") -> AsyncIterator[Any]:
        from msgspec.structs import replace

        async for entry in scan(pattern):
            yield replace(entry, timestamp_ns=0)

    stores.runs.scan = aged  # type: ignore[method-assign]
    try:
        return await found.prune(HOUR)
    finally:
        stores.runs.scan = scan  # type: ignore[method-assign]


async def test_a_run_that_is_being_reopened_stays(stores: Stores) -> None:
    from dagnats.wire.publisher import Outgoing

    await _put(stores, "failed", status="failed")
    await stores.publisher.publish(Outgoing("history.failed", b"{}"))
    assert await _aged(Retention(stores, View(_none, lambda: 0)), stores) == 0
    assert await stores.runs.keys() == ["run.failed"]


async def test_an_engine_removes_what_is_old_and_runs_on(stores: Stores) -> None:
    settings = EngineSettings(housekeeping=0.1, runs_max_age=SECOND)
    task = asyncio.create_task(Engine(stores, settings).run())
    worker = asyncio.create_task(RawWorker(stores, "t", _completes).run())
    definition = flow(step("a", task="t"))
    first = await start(stores, definition)
    await ended(stores, first)

    async def gone() -> bool:
        return await stores.runs.get(f"run.{first}") is None

    await eventually(gone)
    assert await stores.history.read(first) == []
    assert (await ended(stores, await start(stores, definition))).status == "completed"
    for one in (task, worker):
        one.cancel()
    await asyncio.gather(task, worker, return_exceptions=True)


@pytest.mark.parametrize("how", ["purged", "deleted"])
async def test_runs_that_vanish_free_their_slots_and_locks(
    stores: Stores, tidy: Engine, how: str
) -> None:
    definition = flow(
        step("a", task="nobody"),
        concurrency={"max_runs": 1},
        name="limited",
    )
    first = await start(stores, definition)
    await eventually(_status(stores, first, RunStatus.RUNNING))
    second = await start(stores, definition)
    await eventually(_status(stores, second, RunStatus.PENDING))
    subject = f"$KV.workflow_runs.run.{first}"
    if how == "purged":
        await stores.bus.api("STREAM.PURGE.KV_workflow_runs", {"filter": subject})
    else:
        await stores.runs.delete(f"run.{first}")
    # Whatever touches the run next finds that it is gone; until then it is in memory.
    from dagnats.wire.publisher import Outgoing

    body = b'{"type":"step.started","run_id":"%s","step_id":"a"}' % first.encode()
    await stores.publisher.publish(Outgoing(f"history.{first}", body))
    await eventually(_status(stores, second, RunStatus.RUNNING))
    assert tidy.restarts >= 1


def _status(stores: Stores, run_id: str, status: str) -> Callable[[], Awaitable[bool]]:
    async def has() -> bool:
        entry = await stores.runs.get(f"run.{run_id}")
        return entry is not None and entry.value.status == status

    return has


async def test_definitions_of_runs_go_when_their_run_is_long_gone(stores: Stores) -> None:
    await _put(stores, "done")
    await _put(stores, "live", status="running", completed_at="")
    await _put(stores, "fresh", completed_at=format_time(time.time_ns()))
    for name in ("agent.done.x", "agent.live.x", "agent.fresh.x", "agent.lost.x", "plain"):
        await stores.definitions.put(name, WorkflowDef(name=name))
    assert await Retention(stores, View(_none, lambda: 0)).reap() == 1
    assert "agent.done.x" not in await stores.definitions.keys()
    assert len(await stores.definitions.keys()) == 4
