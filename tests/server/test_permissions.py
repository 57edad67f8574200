"""The permissions of ``docs/nats/permissions.conf`` are enough for each role, and no more."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dagnats import TaskContext, Worker
from dagnats.errors import DagnatsError
from dagnats.runtime.engine import Engine
from dagnats.server.binary import find_binary
from dagnats.server.embedded import free_port
from dagnats.services.contexts import ConnectSettings
from dagnats.services.dlq import list_dead
from dagnats.services.logs import LogQuery, tail_logs
from dagnats.services.run_events import run_events
from dagnats.services.run_query import RunQuery, list_runs
from dagnats.services.run_watch import wait_run
from dagnats.services.runs import cancel_run, start_run
from dagnats.services.session import Session, open_session
from dagnats.services.status import get_status
from dagnats.services.workers import list_workers
from dagnats.services.workflows import register_definition
from dagnats.wire.connection import ConnectOptions, connect
from dagnats.wire.publisher import Outgoing
from dagnats.wire.stores import Stores
from dagnats.wire.topology import provision
from tests.conftest import eventually
from tests.services.conftest import definition_of, step

TEMPLATE = Path(__file__).parents[2] / "docs" / "nats" / "permissions.conf"
ROLES = ("engine", "worker", "viewer")


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """A nats-server with the template; every role's password is its name."""
    port = free_port()
    config = tmp_path / "nats.conf"
    config.write_text(
        f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{tmp_path}/store" }}\n'
        f'max_payload: 8MB\ninclude "./permissions.conf"\n'
    )
    (tmp_path / "permissions.conf").write_text(TEMPLATE.read_text())
    passwords = {f"DAGNATS_{role.upper()}_PASSWORD": role for role in ROLES}
    with (tmp_path / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            str(find_binary()), "-c", str(config), env={**os.environ, **passwords}, stderr=log
        )
    address = f"nats://127.0.0.1:{port}"

    async def up() -> bool:
        try:
            await (await connect(_login("engine", address))).close()
        except DagnatsError:
            return False
        return True

    try:
        await eventually(up)
        yield address
    finally:
        process.terminate()
        await process.wait()


def _login(role: str, url: str) -> ConnectOptions:
    return ConnectOptions(url=url, user=role, password=role)


@pytest.fixture
async def operator(url: str) -> AsyncIterator[Session]:
    """An engine at work, and the engine's own login."""
    bus = await connect(_login("engine", url))
    await provision(bus)
    engine = Engine(Stores(bus))
    task = asyncio.create_task(engine.run())
    await asyncio.wait_for(engine.ready(), 10)
    yield Session(bus, actor="tester")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await bus.close()


async def _one_run(url: str, operator: Session) -> str:
    worker = Worker(_login("worker", url))

    @worker.task("t")
    async def handler(ctx: TaskContext) -> dict[str, str]:
        await ctx.checkpoint({"half": True})
        return {"step": ctx.step_id}

    await register_definition(operator, definition_of("w", step("a"), step("b", "a")))
    async with worker:
        run_id = (await start_run(operator, "w", b"{}")).run_id
        run = await wait_run(operator, run_id, 15)
        assert run.status == "completed", run.error

        async def listed() -> bool:
            return len(await list_workers(operator)) == 1

        await eventually(listed)
    return run_id


async def test_a_worker_can_work_and_a_viewer_can_look(url: str, operator: Session) -> None:
    run_id = await _one_run(url, operator)
    settings = ConnectSettings(server=url, user="viewer", password="viewer")
    async with open_session(settings) as viewer:
        assert [run.run_id for run in (await list_runs(viewer, RunQuery())).runs] == [run_id]
        assert (await run_events(viewer, run_id))[-1].type == "workflow.completed"
        assert (await get_status(viewer)).runs["completed"] == 1
        assert (await list_dead(viewer)).entries == []
        await tail_logs(viewer, LogQuery(), 5)


async def test_a_viewer_changes_nothing(url: str, operator: Session) -> None:
    await register_definition(operator, definition_of("w", step("a")))
    run_id = (await start_run(operator, "w", b"{}")).run_id
    bus = await connect(_login("viewer", url))
    viewer = Session(bus, actor="viewer")
    for change in (
        lambda: cancel_run(viewer, run_id),
        lambda: start_run(viewer, "w"),
        lambda: register_definition(viewer, definition_of("x", step("a"))),
        lambda: bus.publisher.publish(Outgoing(f"history.{run_id}", b"{}")),
        lambda: bus.api("STREAM.PURGE.WORKFLOW_HISTORY", {}, wait=0.5),
        lambda: bus.api("STREAM.DELETE.KV_workflow_runs", {}, wait=0.5),
        lambda: bus.api("STREAM.MSG.GET.KV_triggers", {"seq": 1}, wait=0.5),
        lambda: bus.request("$JS.API.DIRECT.GET.KV_triggers.$KV.triggers.t", wait=0.5),
    ):
        with pytest.raises(DagnatsError):
            async with asyncio.timeout(8):
                await change()
    await bus.close()
    assert len(await run_events(operator, run_id)) >= 1
    assert (await operator.stores.definitions.get("x")) is None


async def test_a_worker_cannot_steer(url: str, operator: Session) -> None:
    bus = await connect(_login("worker", url))
    for subject in (
        "event.x",
        "task.t.r",
        "dead.t.r.s",
        "$KV.workflow_defs.w",
        "$KV.leases.engine",
    ):
        with pytest.raises(DagnatsError):
            await asyncio.wait_for(bus.publisher.publish(Outgoing(subject, b"{}")), 8)
    with pytest.raises(DagnatsError):
        await bus.api("STREAM.DELETE.TASK_QUEUES", {}, wait=0.5)
    await bus.close()
