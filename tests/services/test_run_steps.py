from __future__ import annotations

import asyncio
import json

import pytest

from dagnats.errors import ConflictError, InvalidError, NotFoundError, RefusedError, UsageError
from dagnats.model.times import HOUR
from dagnats.runtime.engine import Engine
from dagnats.services.run_events import run_events, run_outputs
from dagnats.services.run_query import get_run
from dagnats.services.run_steps import approve, override_step, pending_approvals, reject
from dagnats.services.run_watch import wait_run
from dagnats.services.runs import start_run
from dagnats.services.session import Session
from dagnats.worker.worker import Worker
from tests.conftest import eventually
from tests.services.conftest import step


def approval(step_id: str) -> dict:
    config = {"timeout": HOUR, "subject": "approvals.ask"}
    return {"id": step_id, "type": "approval", "config": config}


async def started_run(session: Session, step_id: str, status: str, workflow: str = "w") -> str:
    run_id = (await start_run(session, workflow, b"{}")).run_id

    async def there() -> bool:
        entry = await session.stores.runs.get(f"run.{run_id}")
        return entry is not None and (
            step_id in entry.value.steps and entry.value.steps[step_id].status == status
        )

    await eventually(there)
    return run_id


async def asked(session: Session, run_id: str) -> None:
    async def there() -> bool:
        return await session.stores.approvals.get(f"{run_id}.ask") is not None

    await eventually(there)


async def test_completing_a_stuck_step_by_hand(session: Session, engine: Engine, workflow) -> None:
    await workflow("w", step("a"))
    run_id = await started_run(session, "a", "queued")
    done = await override_step(session, run_id, "a", "complete", "the box is gone", b'{"n":1}')
    assert done.status == "completed"
    run = await wait_run(session, run_id, 10)
    assert run.status == "completed"
    assert (await run_outputs(session, run_id)).outputs == {"a": '{"n":1}'}
    [override] = await run_events(session, run_id, type="step.override")
    said = json.loads(override.data)
    assert (said["actor"], said["reason"]) == ("tester", "the box is gone")


@pytest.mark.parametrize(
    ("action", "status"), [("fail", "failed"), ("skip", "completed"), ("cancel", "failed")]
)
async def test_other_ways_out(
    session: Session, engine: Engine, workflow, action: str, status: str
) -> None:
    await workflow("w", step("a"))
    run_id = await started_run(session, "a", "queued")
    await override_step(session, run_id, "a", action, "enough")
    assert (await wait_run(session, run_id, 10)).status == status


async def test_retrying_dispatches_the_step_anew(
    session: Session, engine: Engine, workflow
) -> None:
    await workflow("w", step("a"))
    run_id = await started_run(session, "a", "queued")
    before = (await get_run(session, run_id)).run.steps["a"].dispatch
    done = await override_step(session, run_id, "a", "retry", "worker was lost")
    assert done.status == "queued"
    assert (await get_run(session, run_id)).run.steps["a"].dispatch > before


async def test_overrides_that_make_no_sense(session: Session, engine: Engine, workflow) -> None:
    await workflow("w", step("a"), step("b", "a"))
    run_id = await started_run(session, "a", "queued")
    with pytest.raises(UsageError, match='unknown action "explode"'):
        await override_step(session, run_id, "a", "explode", "x")
    with pytest.raises(UsageError, match="--reason is required"):
        await override_step(session, run_id, "a", "skip", "  ")
    with pytest.raises(UsageError, match="an output makes no sense with skip"):
        await override_step(session, run_id, "a", "skip", "x", b"{}")
    with pytest.raises(InvalidError, match="output is not JSON"):
        await override_step(session, run_id, "a", "complete", "x", b"{")
    with pytest.raises(NotFoundError, match='has no step "zz"'):
        await override_step(session, run_id, "zz", "skip", "x")
    with pytest.raises(ConflictError, match="not queued or running"):
        await override_step(session, run_id, "b", "retry", "x")
    with pytest.raises(NotFoundError):
        await override_step(session, "f" * 32, "a", "skip", "x")


async def test_approving(session: Session, engine: Engine, workflow) -> None:
    await workflow("w", approval("ask"))
    run_id = await started_run(session, "ask", "running")
    await asked(session, run_id)
    [pending] = await pending_approvals(session)
    assert (pending.run_id, pending.step_id, pending.token) == (run_id, "ask", "********")
    with pytest.raises(InvalidError, match="body is not JSON"):
        await approve(session, run_id, "ask", b"yes")
    decided = await approve(session, run_id, "ask", b'{"by":"ann"}')
    assert decided.status == "approved"
    assert (await wait_run(session, run_id, 10)).status == "completed"
    assert (await run_outputs(session, run_id)).outputs == {"ask": '{"by":"ann"}'}
    with pytest.raises(NotFoundError, match="nothing waits for approval"):
        await approve(session, run_id, "ask")


async def test_rejecting(session: Session, engine: Engine, workflow) -> None:
    await workflow("w", approval("ask"))
    run_id = await started_run(session, "ask", "running")
    await asked(session, run_id)
    assert (await reject(session, run_id, "ask", b'"too risky"')).status == "rejected"
    run = await wait_run(session, run_id, 10)
    assert run.status == "failed"
    assert "too risky" in run.steps["ask"].error


async def test_a_token_is_checked_and_used_once(session: Session, engine: Engine, workflow) -> None:
    await workflow("w", approval("ask"))
    run_id = await started_run(session, "ask", "running")
    await asked(session, run_id)
    entry = await session.stores.approvals.get(f"{run_id}.ask")
    assert entry is not None
    for wrong in ("", "x", entry.value.token[:-1], entry.value.token + "0"):
        with pytest.raises(RefusedError, match="invalid token"):
            await approve(session, run_id, "ask", token=wrong)
    calls = [approve(session, run_id, "ask", token=entry.value.token) for _ in range(5)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(not isinstance(result, BaseException) for result in results) == 1
    assert (await wait_run(session, run_id, 10)).status == "completed"
    granted = await run_events(session, run_id, type="approval.granted")
    assert len(granted) == 1


async def test_results_of_a_worker_after_an_override_change_nothing(
    session: Session, engine: Engine, worker: Worker, workflow
) -> None:
    await workflow("w", step("a"))
    run_id = (await start_run(session, "w", b"{}")).run_id
    assert (await wait_run(session, run_id, 20)).status == "completed"
    with pytest.raises(ConflictError, match="already ended"):
        await override_step(session, run_id, "a", "fail", "too late")
