from __future__ import annotations

import asyncio

import pytest

from dagnats.errors import NotFoundError
from dagnats.model.times import HOUR, MINUTE, SECOND, format_time
from dagnats.runtime.engine import Engine
from dagnats.services.control import pause, paused, resume
from dagnats.services.run_query import get_run
from dagnats.services.run_watch import wait_run
from dagnats.services.run_why import Reason, why
from dagnats.services.runs import cancel_run, start_run
from dagnats.services.session import Session
from dagnats.worker.worker import Worker
from tests.conftest import eventually
from tests.services.conftest import put_run, step
from tests.services.test_run_steps import approval, asked, started_run

EPOCH = 1_780_000_000 * SECOND


async def only(session: Session, run_id: str) -> Reason:
    [reason] = await why(session, run_id)
    return reason


async def test_no_worker_serves_the_task(session: Session, engine: Engine, workflow) -> None:
    await workflow("w", step("a", task="img.resize"))
    run_id = await started_run(session, "a", "queued")
    reason = await only(session, run_id)
    assert reason.claim == 'step "a" is queued and no worker serves task "img.resize"'
    assert "no worker ever served it; 1 tasks wait" in reason.evidence


async def test_no_engine_is_running(session: Session, workflow) -> None:
    await workflow("w")
    await put_run(session, "a" * 32, EPOCH, status="running")
    reasons = await why(session, "a" * 32)
    assert reasons[0].claim == "no engine is running"
    assert reasons[0].command == "dagnats serve"


async def test_paused(session: Session, engine: Engine, worker: Worker, workflow) -> None:
    await workflow("w", step("a"))
    assert (await pause(session)).paused
    state = await pause(session, "w")
    assert (state.paused, state.workflows) == (True, ["w"])
    run_id = (await start_run(session, "w", b"{}")).run_id

    async def taken_up() -> bool:
        return await session.stores.runs.get(f"run.{run_id}") is not None

    await eventually(taken_up)
    claims = [reason.claim for reason in await why(session, run_id)]
    assert claims[:2] == ["dispatch is paused", 'dispatch of workflow "w" is paused']
    await asyncio.sleep(0.2)
    assert (await get_run(session, run_id)).run.status == "running"
    await resume(session)
    await resume(session, "w")
    assert await paused(session) == await resume(session)
    assert (await wait_run(session, run_id, 20)).status == "completed"
    with pytest.raises(NotFoundError):
        await pause(session, "nope")


async def test_all_run_slots_are_taken(session: Session, engine: Engine, workflow) -> None:
    await workflow("w", step("a"), concurrency={"max_runs": 1})
    first = await started_run(session, "a", "queued")
    second = (await start_run(session, "w", b"{}")).run_id

    async def waits() -> bool:
        entry = await session.stores.runs.get(f"run.{second}")
        return entry is not None and entry.value.status == "pending"

    await eventually(waits)

    async def explained() -> bool:
        return first in (await only(session, second)).evidence

    await eventually(explained)
    reason = await only(session, second)
    assert reason.claim == 'all 1 run slots of workflow "w" are taken'
    assert "number 1 of 1 waiting" in reason.evidence
    assert reason.command == f"dagnats run why {first}"


async def test_sleeping_waiting_asking(session: Session, engine: Engine, workflow) -> None:
    await workflow("sleepy", {"id": "nap", "type": "sleep", "config": {"duration": HOUR}})
    run_id = await started_run(session, "nap", "running", "sleepy")
    assert "wakes in 59m59" in (await only(session, run_id)).claim
    config = {
        "event": "order.paid",
        "match": {"left": "id", "op": "==", "right": "input.id"},
        "timeout": HOUR,
    }
    await workflow("waiting", {"id": "wait", "type": "wait_for_event", "config": config})
    run_id = (await start_run(session, "waiting", b'{"id":7}')).run_id

    async def registered() -> bool:
        return any("order.paid" in reason.claim for reason in await why(session, run_id))

    await asyncio.sleep(0.1)
    await eventually(registered)
    reason = await only(session, run_id)
    assert reason.claim == 'step "wait" waits for event "order.paid"'
    assert "when id == 7" in reason.evidence
    await workflow("asking", approval("ask"))
    run_id = await started_run(session, "ask", "running", "asking")
    await asked(session, run_id)
    assert (await only(session, run_id)).command == f"dagnats run approve {run_id} ask"


async def test_the_chain_goes_down_into_child_runs(
    session: Session, engine: Engine, workflow
) -> None:
    await workflow("inner", step("deep", task="lost"))
    await workflow("outer", {"id": "call", "type": "sub_workflow", "config": {"workflow": "inner"}})
    run_id = await started_run(session, "call", "running", "outer")

    async def explained() -> bool:
        return len(await why(session, run_id)) == 2

    await eventually(explained)
    first, second = await why(session, run_id)
    assert first.claim == 'step "call" waits for its child run'
    assert second.claim == 'step "deep" is queued and no worker serves task "lost"'


async def test_scheduled_and_ended(session: Session, engine: Engine, workflow) -> None:
    await workflow("w")
    at = format_time(session.now() + MINUTE)
    run_id = (await start_run(session, "w", b"{}", at)).run_id
    assert at in (await only(session, run_id)).evidence
    run_id = (await start_run(session, "w", b"{}")).run_id
    await eventually(lambda: _exists(session, run_id))
    await cancel_run(session, run_id)
    assert (await only(session, run_id)).claim == "the run has ended: cancelled"
    await put_run(session, "b" * 32, EPOCH, completed_at=format_time(EPOCH))
    assert (await only(session, "b" * 32)).claim == "the run has completed"
    with pytest.raises(NotFoundError):
        await why(session, "f" * 32)


async def _exists(session: Session, run_id: str) -> bool:
    return await session.stores.runs.get(f"run.{run_id}") is not None
