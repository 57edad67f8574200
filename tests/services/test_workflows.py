from __future__ import annotations

import json
from pathlib import Path

import pytest

from dagnats.errors import ConflictError, InvalidError, NotFoundError, RefusedError
from dagnats.model.trigger import CronTrigger, TriggerDef, WebhookTrigger
from dagnats.runtime.engine import Engine
from dagnats.services.run_watch import wait_run
from dagnats.services.runs import start_run
from dagnats.services.session import Session
from dagnats.services.triggers import list_triggers
from dagnats.services.workflow_files import read_file, register
from dagnats.services.workflows import (
    delete_workflow,
    get_revision,
    get_workflow,
    list_workflows,
    register_definition,
    revision_of,
    revisions,
)
from dagnats.worker.worker import Worker
from tests.services.conftest import definition_of, step


def cron(trigger_id: str, workflow: str = "") -> TriggerDef:
    every = CronTrigger(expression="0 9 * * 1-5", timezone="UTC")
    return TriggerDef(id=trigger_id, workflow_id=workflow, enabled=True, cron=every)


async def test_registering_creates_then_updates(session: Session) -> None:
    first = await register_definition(session, definition_of("w", step("a"), step("b", "a")))
    assert (first.action, first.steps, first.warnings) == ("created", 2, ["t"])
    second = await register_definition(session, definition_of("w", step("a")))
    assert second.action == "updated"
    assert [len(one.steps) for one in await list_workflows(session)] == [1]
    past = await revisions(session, "w")
    assert [(one.steps, one.current) for one in past] == [(1, True), (2, False)]
    old = await get_revision(session, "w", past[1].hash)
    assert [one.id for one in old.steps] == ["a", "b"]
    assert revision_of(old) == past[1].hash


async def test_a_task_with_a_live_worker_gives_no_warning(
    session: Session, engine: Engine, worker: Worker
) -> None:
    done = await register_definition(
        session, definition_of("w", step("a"), step("b", task="lint.run"), step("c", task="bad"))
    )
    assert done.warnings == ["lint.run"]


async def test_a_run_keeps_the_definition_it_began_with(
    session: Session, engine: Engine, worker: Worker, workflow
) -> None:
    await workflow("w", step("a"), step("b", "a"))
    started = await start_run(session, "w", b"{}")
    await register_definition(session, definition_of("w", step("z", task="nobody")))
    run = await wait_run(session, started.run_id, 20)
    assert (run.status, sorted(run.steps)) == ("completed", ["a", "b"])
    assert await get_revision(session, "w", run.revision)


async def test_nothing_is_written_when_anything_is_wrong(session: Session) -> None:
    good, bad = definition_of("w", step("a")), definition_of("w", step("a", "nope"))
    with pytest.raises(InvalidError, match='depends on non-existent step "nope"'):
        await register_definition(session, bad)
    with pytest.raises(InvalidError, match='does not match parent workflow "w"'):
        await register_definition(session, good, [cron("t1"), cron("t2", "other")])
    wrong = TriggerDef(id="t3", enabled=True, cron=CronTrigger(expression="nonsense"))
    with pytest.raises(InvalidError, match="invalid trigger"):
        await register_definition(session, good, [wrong])
    assert await list_workflows(session) == []
    assert await list_triggers(session) == []


async def test_triggers_come_with_their_workflow(session: Session) -> None:
    hook = TriggerDef(id="hook", enabled=True, webhook=WebhookTrigger(path="/hooks/w"))
    done = await register_definition(session, definition_of("w", step("a")), [cron("c"), hook])
    assert done.triggers == ["c", "hook"]
    assert {one.workflow_id for one in await list_triggers(session)} == {"w"}
    other = TriggerDef(id="other", enabled=True, webhook=WebhookTrigger(path="/hooks/w"))
    with pytest.raises(ConflictError, match='already registered by trigger "hook"'):
        await register_definition(session, definition_of("v", step("a")), [other])
    assert [one.name for one in await list_workflows(session)] == ["w"]


async def test_a_workflow_file(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "workflow.json"
    trigger = {"id": "nightly", "enabled": True, "cron": {"expression": "@daily"}}
    document = {"name": "w", "steps": [{"id": "a", "task": "t"}], "timeout": "30m"}
    path.write_text(json.dumps({**document, "triggers": [trigger]}))
    done = await register(session, read_file(str(path)))
    assert (done.action, done.triggers) == ("created", ["nightly"])
    assert (await get_workflow(session, "w")).timeout == 30 * 60 * 10**9


async def test_deleting(session: Session) -> None:
    await register_definition(session, definition_of("w", step("a")), [cron("c")])
    with pytest.raises(RefusedError, match=r"trigger\(s\) referencing it: c"):
        await delete_workflow(session, "w")
    await session.stores.triggers.delete("c")
    assert (await delete_workflow(session, "w")).action == "deleted"
    with pytest.raises(NotFoundError, match='workflow "w" not found'):
        await delete_workflow(session, "w")
    assert [one.current for one in await revisions(session, "w")] == [False]


@pytest.mark.parametrize("name", ["", "nope", "a b", "*", ">", "x" * 5000, "\x1b[31m"])
async def test_names_that_name_nothing(session: Session, name: str) -> None:
    with pytest.raises(NotFoundError):
        await get_workflow(session, name)
    with pytest.raises(NotFoundError):
        await revisions(session, name)
