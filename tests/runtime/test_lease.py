"""One engine is active; those that lost the lease do no harm."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from msgspec.structs import replace

from dagnats.engine.effects import AddWaiter
from dagnats.errors import ConflictError
from dagnats.model.codec import decode
from dagnats.model.records import EngineEpoch, EngineMember, EventWaiter
from dagnats.model.run import WorkflowRun
from dagnats.model.times import MILLISECOND, SECOND
from dagnats.runtime import lease as leases
from dagnats.runtime.engine import Engine
from dagnats.runtime.identity import is_gone, this_engine
from dagnats.runtime.lease import EPOCH, LEASE, Fence, Lease, LeaseLostError
from dagnats.runtime.waiters import Waiters
from dagnats.server.embedded import EmbeddedServer
from dagnats.wire.connection import ConnectOptions, connect
from dagnats.wire.publisher import Outgoing, PublishError
from dagnats.wire.stores import Stores
from tests.conftest import eventually
from tests.engine.world import flow, step
from tests.runtime.test_engine import RawWorker, ended, start


def _ignored(holder: EngineMember) -> None:
    del holder


def _lease(stores: Stores, **known: Any) -> Lease:
    return Lease(stores, replace(this_engine(), **known), _ignored)


@pytest.fixture
async def more(nats_server: EmbeddedServer) -> AsyncIterator[Any]:
    """Makes further connections."""
    async with AsyncExitStack() as stack:

        async def make() -> Stores:
            bus = await connect(ConnectOptions(url=nats_server.url))
            stack.push_async_callback(bus.close)
            return Stores(bus)

        yield make


async def test_a_lease_is_taken_kept_and_handed_over(stores: Stores) -> None:
    first, second = _lease(stores), _lease(stores)
    assert await first.acquire() == 1
    waiting = asyncio.create_task(second.acquire())
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await first.release()
    assert await asyncio.wait_for(waiting, 3) == 2
    marks = await stores.bus.api("STREAM.INFO.SLEEP_TIMERS")
    assert marks["state"]["messages"] == 0, "who says goodbye needs no fence"
    with pytest.raises(LeaseLostError):
        await first._renew()


async def test_a_holder_that_stands_still_is_replaced_and_fenced_off(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "PATIENCE_S", 0.6)
    monkeypatch.setattr(leases, "HOLD_S", 0.3)
    first, second = _lease(stores), _lease(stores)
    fence = Fence(await first.acquire())
    timer = Outgoing("sleep.at.r.k.s", b"{}")
    state = stores.engine_state.message("tasks.x", b"{}")
    await stores.publisher.publish_all(fence.sealed([timer, state]))
    assert await asyncio.wait_for(second.acquire(), 5) == 2
    for late in fence.sealed([timer, state]):
        with pytest.raises(PublishError, match="wrong last sequence"):
            await stores.publisher.publish(late)
    await asyncio.sleep(0.3)
    with pytest.raises(LeaseLostError):
        await first.check()
    await stores.publisher.publish_all(Fence(2).sealed([timer, state]))


async def test_a_process_that_is_gone_is_replaced_at_once(stores: Stores) -> None:
    child = await asyncio.create_subprocess_exec("true")
    await child.wait()
    dead = replace(this_engine(), pid=child.pid, process="1")
    assert is_gone(dead)
    assert not is_gone(this_engine())
    assert not is_gone(replace(dead, machine="another"))
    await Lease(stores, dead, _ignored).acquire()
    assert await asyncio.wait_for(_lease(stores).acquire(), 2) == 2


async def test_a_holder_goes_on_after_a_lost_acknowledgement(stores: Stores) -> None:
    lease = _lease(stores)
    await lease.acquire()
    member, _ = await stores.leases.latest(LEASE)
    assert member is not None
    await stores.leases.put(LEASE, member)  # Our write arrived, and we never heard of it.
    await lease._renew()
    await stores.bus.api("STREAM.PURGE.KV_leases")
    await lease._renew()
    await lease.check()


async def test_only_the_last_epochs_are_remembered(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "KEPT_EPOCHS", 2)
    for _ in range(5):
        child = replace(this_engine(), pid=2**22 + 1, process="1")
        await Lease(stores, child, _ignored).acquire()
    info = await stores.bus.api("STREAM.INFO.SLEEP_TIMERS", {"subjects_filter": "sleep.>"})
    assert set(info["state"]["subjects"]) == {"sleep.fenced.3", "sleep.fenced.4"}
    entry = await stores.engine_state.get(EPOCH)
    assert entry is not None
    assert decode(entry.value, EngineEpoch).epoch == 5


async def test_two_engines_share_nothing_and_lose_nothing(stores: Stores, more: Any) -> None:
    async def handler(task: dict[str, Any]) -> tuple[str, Any]:
        return "step.completed", task["step_id"]

    worker = asyncio.create_task(RawWorker(stores, "t", handler).run())
    engines = [Engine(await more()), Engine(await more())]
    tasks = [asyncio.create_task(engine.run()) for engine in engines]
    await asyncio.gather(*(engine.settled() for engine in engines))
    assert sorted(engine.active for engine in engines) == [False, True]
    definition = flow(step("a", task="t"), step("b", "a", task="t"))
    runs = [await start(stores, definition) for _ in range(20)]
    active = engines[0] if engines[0].active else engines[1]
    place = engines.index(active)
    tasks[place].cancel()
    await asyncio.gather(tasks[place], return_exceptions=True)
    await asyncio.wait_for(engines[1 - place].ready(), 5)
    runs += [await start(stores, definition) for _ in range(20)]
    for run_id in runs:
        assert (await ended(stores, run_id)).status == "completed"
    for task in (tasks[1 - place], worker):
        task.cancel()
    await asyncio.gather(*tasks, worker, return_exceptions=True)


async def test_a_deposed_engine_writes_no_snapshot(stores: Stores) -> None:
    """Each write names the revision it replaces, so a second writer is noticed."""
    engine = Engine(stores)
    task = asyncio.create_task(engine.run())
    await engine.ready()
    run_id = await start(stores, flow(step("a", task="nobody"), step("b", task="nobody")))

    async def stored() -> bool:
        return await stores.runs.get(f"run.{run_id}") is not None

    await eventually(stored)
    snapshot, revision = await stores.runs.latest(f"run.{run_id}")
    assert snapshot is not None
    await stores.runs.update(f"run.{run_id}", snapshot, revision)
    before = engine.restarts
    await _signal_step(stores, run_id, "a")

    async def completed() -> bool:
        entry = await stores.runs.get(f"run.{run_id}")
        return entry is not None and entry.value.steps["a"].status == "completed"

    await eventually(completed)
    assert engine.restarts == before + 1, "refused, read anew, done again"
    with pytest.raises(ConflictError):
        await stores.runs.update(f"run.{run_id}", WorkflowRun(run_id=run_id), revision)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _signal_step(stores: Stores, run_id: str, step_id: str) -> None:
    body = b'{"type":"step.completed","run_id":"%s","step_id":"%s","payload":1}'
    data = body % (run_id.encode(), step_id.encode())
    await stores.publisher.publish(Outgoing(f"history.{run_id}", data))


async def test_a_new_timer_survives_the_cancelling_of_the_old_one(stores: Stores) -> None:
    """A step timeout is cancelled and a late retry set in one batch: the retry must stay."""
    engine = Engine(stores)
    task = asyncio.create_task(engine.run())
    await engine.ready()
    failed = asyncio.Event()

    async def handler(task: dict[str, Any]) -> tuple[str, Any]:
        if not task.get("attempt"):
            await asyncio.sleep(0.3)  # Long enough for the timeout to be written.
            failed.set()
            return "step.failed", {"error": "once", "failure_type": "retriable"}
        return "step.completed", 1

    worker = asyncio.create_task(RawWorker(stores, "t", handler).run())
    retry = {"max_attempts": 1, "initial_delay": 2500 * MILLISECOND}
    definition = flow(step("a", task="t", retry=retry, timeout=30 * SECOND))
    run_id = await start(stores, definition)
    assert (await ended(stores, run_id, 10)).status == "completed"
    for one in (task, worker):
        one.cancel()
    await asyncio.gather(task, worker, return_exceptions=True)


async def test_an_engine_that_was_fenced_off_by_one_that_died_goes_on_under_a_new_number(
    stores: Stores,
) -> None:
    """Found by simulation: it took its old number again, and was refused for ever."""
    lease = _lease(stores)
    first = await lease.acquire()
    await leases._fence_off(stores, first)  # Another did this, and no more.
    second = await lease.acquire()
    assert second > first
    state = stores.engine_state.message("tasks.x", b"{}")
    await stores.publisher.publish_all(Fence(second).sealed([state]))


async def test_a_snapshot_that_nobody_can_read_is_made_anew(stores: Stores) -> None:
    """F14: what is broken in the cache is in the log."""
    engine = Engine(stores)
    task = asyncio.create_task(engine.run())
    await engine.ready()
    run_id = await start(stores, flow(step("a", task="nobody"), step("b", task="nobody")))
    await _signal_step(stores, run_id, "a")

    async def completed(step_id: str) -> bool:
        snapshot, _ = await stores.runs.latest(f"run.{run_id}")
        return snapshot is not None and snapshot.steps[step_id].status == "completed"

    await eventually(lambda: completed("a"))
    await stores.publisher.publish(Outgoing(f"$KV.workflow_runs.run.{run_id}", b"{broken"))
    await _signal_step(stores, run_id, "b")
    await eventually(lambda: completed("b"))
    assert (await ended(stores, run_id)).status == "completed"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_wait_remembers_across_engines_when_it_began(stores: Stores) -> None:
    """What the next engine is given again must not meet a wait that began later."""
    waiter = EventWaiter(run_id="r", step_id="s", event_type="e")
    await stores.publisher.publish(Waiters(stores).add(AddWaiter(waiter, 1000)))
    await stores.publisher.publish(Outgoing("$KV.event_waiters.fenced.1", b"{}"))
    later = Waiters(stores)
    await later.load()
    assert later.matched("e", b"{}", 1, 999) == []
    assert len(later.matched("e", b"{}", 2, 1000)) == 1
