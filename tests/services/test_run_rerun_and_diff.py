from __future__ import annotations

import pytest

from dagnats.errors import ConflictError, InvalidError, NotFoundError, UsageError
from dagnats.model.times import SECOND
from dagnats.runtime.engine import Engine
from dagnats.services.run_diff import diff_runs
from dagnats.services.run_events import run_at, run_events
from dagnats.services.run_rerun import plan_rerun, rerun_from
from dagnats.services.run_watch import wait_run
from dagnats.services.runs import start_run
from dagnats.services.session import Session
from dagnats.worker.worker import Worker
from tests.services.conftest import put_run, step

EPOCH = 1_780_000_000 * SECOND


@pytest.fixture
async def ended(session: Session, engine: Engine, worker: Worker, workflow) -> str:
    await workflow("w", step("a"), step("side"), step("b", "a"), step("c", "b", "side"))
    run_id = (await start_run(session, "w", b'{"env":{"name":"prod"},"n":1}')).run_id
    assert (await wait_run(session, run_id, 20)).status == "completed"
    return run_id


async def test_rerunning_from_a_step_takes_the_outputs_of_the_others(
    session: Session, ended: str
) -> None:
    plan = await plan_rerun(session, ended, "b")
    assert (sorted(plan.reuse), sorted(plan.execute)) == (["a", "side"], ["b", "c"])
    assert plan.changes == []
    done = await rerun_from(session, plan)
    run = await wait_run(session, done.new_run_id, 20)
    assert (run.status, run.origin_run_id) == ("completed", ended)
    worked = await run_events(session, done.new_run_id, type="step.completed")
    assert sorted(event.step_id for event in worked) == ["b", "c"]
    difference = await diff_runs(session, ended, done.new_run_id)
    assert [one.path for one in difference.differences if "output" in one.path] == []


async def test_the_input_can_be_changed_in_places(session: Session, ended: str) -> None:
    plan = await plan_rerun(session, ended, "a", sets=("env.name=staging", "n=2", "new.deep=true"))
    assert [(one.path, one.old, one.new) for one in plan.changes] == [
        ("env.name", "prod", "staging"),
        ("n", 1, 2),
        ("new", None, {"deep": True}),
    ]
    assert bytes(plan.input) == b'{"env":{"name":"staging"},"n":2,"new":{"deep":true}}'
    with pytest.raises(InvalidError, match='no object to hold "x"'):
        await plan_rerun(session, ended, "a", sets=("n.x=1",))
    with pytest.raises(InvalidError, match="expected path=value"):
        await plan_rerun(session, ended, "a", sets=("nonsense",))
    with pytest.raises(UsageError, match="exclude each other"):
        await plan_rerun(session, ended, "a", b"{}", ("n=1",))


async def test_reruns_that_make_no_sense(session: Session, ended: str) -> None:
    with pytest.raises(NotFoundError, match='has no step "zz"'):
        await plan_rerun(session, ended, "zz")
    await put_run(session, "e" * 32, EPOCH, status="running")
    with pytest.raises(ConflictError, match="has not ended"):
        await plan_rerun(session, "e" * 32, "a")
    await put_run(session, "d" * 32, EPOCH, status="failed", workflow_id="deleted")
    with pytest.raises(NotFoundError, match='definition of workflow "deleted" is gone'):
        await plan_rerun(session, "d" * 32, "a")


async def test_a_run_does_not_differ_from_itself(session: Session, ended: str) -> None:
    found = await diff_runs(session, ended, ended)
    assert found.same
    assert set(found.timings) == {"a", "side", "b", "c"}
    assert all(text for pair in found.timings.values() for text in pair)


async def test_what_differs_is_named_by_path(session: Session, ended: str, workflow) -> None:
    await workflow("w", step("a"), step("b", "a", retries=2))
    other = (await start_run(session, "w", b'{"n":2}')).run_id
    await wait_run(session, other, 20)
    found = await diff_runs(session, ended, other)
    paths = {one.path for one in found.differences}
    assert not found.same
    assert {"run.input.n", "definition.steps.b.retries", "definition.steps.c"} <= paths
    assert any(path.startswith("steps.c") for path in paths)


async def test_a_run_can_be_seen_as_it_was(session: Session, ended: str) -> None:
    events = await run_events(session, ended)
    begun = await run_at(session, ended, events[0].seq)
    assert begun.status == "running"
    first = next(event for event in events if event.type == "step.completed")
    then = await run_at(session, ended, first.seq)
    assert then.steps[first.step_id].status == "completed"
    assert sum(state.status == "completed" for state in then.steps.values()) == 1
    now = await run_at(session, ended, events[-1].seq)
    assert now.status == "completed"
    with pytest.raises(NotFoundError, match="history of run"):
        await run_at(session, "f" * 32, 5)
