"""The doctor on a real server: what is well, what is not, and what a repair makes of it."""

from __future__ import annotations

import pytest

from dagnats.model.codec import encode
from dagnats.model.run import StepStatus
from dagnats.runtime.engine import Engine
from dagnats.services.doctor import records
from dagnats.services.doctor.findings import Cure, Finding, Repair
from dagnats.services.doctor.repair import apply
from dagnats.services.doctor.visit import examine
from dagnats.services.run_watch import wait_run
from dagnats.services.runs import start_run
from dagnats.services.session import Session
from dagnats.services.status import SERVER_KEY, ServerRecord
from tests.conftest import eventually
from tests.engine.world import step


async def errors(session: Session) -> list[Finding]:
    report = await examine(session)
    assert report.healthy == (not any(f.severity == "error" for f in report.findings))
    return [finding for finding in report.findings if finding.severity == "error"]


async def slept(session: Session, workflow) -> str:
    """A run that has ended."""
    await workflow("w", step("s", type="sleep", task="", config={"duration": 1}))
    run_id = (await start_run(session, "w")).run_id
    assert (await wait_run(session, run_id, 10)).status == "completed"
    return run_id


async def test_what_is_well(session: Session, engine: Engine, workflow) -> None:
    await slept(session, workflow)
    report = await examine(session)
    assert report.healthy
    assert [check.name for check in report.checks][-1] == "runs"
    assert report.checks[-1].looked_at == "1 runs"
    durability = [finding for finding in report.findings if finding.subject == "durability"]
    assert [finding.severity for finding in durability] in (["warning"], ["note"])


async def test_what_serve_wrote_down_about_durability_is_believed(
    session: Session, engine: Engine
) -> None:
    for sync, said in (("always", []), ("2m", ["acknowledged writes are on disk only after 2m"])):
        await session.stores.engine_state.put(SERVER_KEY, encode(ServerRecord(sync=sync)))
        found = (await examine(session)).findings
        assert [finding.problem for finding in found if finding.subject == "durability"] == said


async def test_a_snapshot_that_is_wrong_is_named_and_made_anew(
    session: Session, engine: Engine, workflow
) -> None:
    run_id = await slept(session, workflow)
    right = (await session.stores.runs.get(f"run.{run_id}")).value
    wrong = (await session.stores.runs.get(f"run.{run_id}")).value
    wrong.steps["s"].output = b'"made up"'
    await session.stores.runs.put(f"run.{run_id}", wrong)
    (found,) = await errors(session)
    assert (found.check, found.subject) == ("runs", run_id)
    assert 'step "s": output' in found.problem
    assert "made up" in found.problem
    assert found.repair == Repair(Cure.SNAPSHOT, run_id)
    await apply(session, found.repair)
    assert await errors(session) == []
    assert encode((await session.stores.runs.get(f"run.{run_id}")).value) == encode(right)


async def test_a_snapshot_from_the_future(session: Session, engine: Engine, workflow) -> None:
    run_id = await slept(session, workflow)
    run = (await session.stores.runs.get(f"run.{run_id}")).value
    run.applied_seq += 1000
    await session.stores.runs.put(f"run.{run_id}", run)
    (found,) = await errors(session)
    assert f"knows event {run.applied_seq}" in found.problem
    assert found.repair is None


async def test_a_live_run_whose_beginning_is_gone(
    session: Session, engine: Engine, workflow
) -> None:
    await workflow("w", step("a"))
    run_id = (await start_run(session, "w")).run_id

    async def queued() -> bool:
        entry = await session.stores.runs.get(f"run.{run_id}")
        return entry is not None and entry.value.steps["a"].status == StepStatus.QUEUED

    await eventually(queued)
    assert await errors(session) == []
    await session.bus.api("STREAM.PURGE.WORKFLOW_HISTORY", {"filter": f"history.{run_id}"})
    (found,) = await errors(session)
    assert "beginning of its history is gone" in found.problem


async def test_a_lost_task_is_found_and_sent_again(
    session: Session, engine: Engine, workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "PATIENCE", 0)
    await workflow("w", step("a", task="nobody.serves"))
    run_id = (await start_run(session, "w")).run_id
    subject = f"task.nobody.serves.{run_id}"

    async def tasks() -> int:
        state = await session.bus.api("STREAM.INFO.TASK_QUEUES", {"subjects_filter": subject})
        return len(state["state"].get("subjects") or {})

    async def sent() -> bool:
        return await tasks() == 1

    await eventually(sent)
    assert await errors(session) == []
    await session.bus.api("STREAM.PURGE.TASK_QUEUES", {"filter": subject})
    (found,) = await errors(session)
    assert found.problem == 'step "a" is under way, but its task is in no queue'
    await apply(session, found.repair)
    await eventually(sent)
    assert await errors(session) == []


async def test_what_is_missing_is_made(session: Session, engine: Engine) -> None:
    await session.bus.api("STREAM.DELETE.KV_checkpoints")
    await session.bus.api("CONSUMER.DELETE.SLEEP_TIMERS.debounce-timer")
    found = await errors(session)
    assert [finding.subject for finding in found] == [
        "KV_checkpoints",
        "SLEEP_TIMERS/debounce-timer",
    ]
    await apply(session, found[0].repair)
    assert await errors(session) == []
