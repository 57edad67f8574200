"""The control plane, used by real handlers and abused by a plain client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dagnats import TaskContext, Worker
from dagnats.errors import RunEndedError, UsageError
from dagnats.model.codec import encode, raw
from dagnats.model.run import WorkflowRun
from dagnats.runtime.engine import Engine
from dagnats.server.embedded import EmbeddedServer
from dagnats.server.micro import MicroRoom
from dagnats.server.rooms import Context
from dagnats.server.settings import Settings
from dagnats.services.session import Session
from dagnats.wire.publisher import Outgoing
from dagnats.wire.stores import Stores
from dagnats.worker import ControlPlaneError, SyncTaskContext
from tests.engine.world import flow, step
from tests.runtime.test_engine import ended, start

CHILD = {"name": "child", "version": "1", "steps": [{"id": "c", "task": "leaf", "type": "normal"}]}
POLICY = {"control_plane": {"grant": ["boss"], "promote": ["common"]}}
WISH = ["control-plane"]


class House:
    """An engine, the API, and a worker whose handler is given by the test."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self.handler: Any = None
        self.failed: list[BaseException] = []

    async def run(self, name: str = "boss", wish: list[str] = WISH) -> WorkflowRun:
        """One run of a workflow whose only step calls the handler."""
        definition = flow(step("a", task="boss", required_capabilities=wish), name=name)
        return await ended(self.stores, await start(self.stores, definition))

    async def put(self, definition: dict[str, Any]) -> None:
        """Register a definition."""
        subject = f"$KV.workflow_defs.{definition['name']}"
        await self.stores.publisher.publish(Outgoing(subject, encode(raw(definition))))


@pytest.fixture
async def house(
    stores: Stores, nats_server: EmbeddedServer, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[House]:
    made = House(stores)
    await stores.engine_control.put("policy", json.dumps(POLICY).encode())
    limits: dict[str, int] = getattr(request, "param", {})
    room = MicroRoom(
        Context(Settings(data_dir=tmp_path, **limits), Session(stores.bus, stores), ("x", 1))
    )
    await room.start()
    worker = Worker(nats_server.url)

    @worker.task("boss")
    async def boss(ctx: TaskContext) -> Any:
        try:
            return await made.handler(ctx)
        except (ControlPlaneError, UsageError, RunEndedError) as error:
            made.failed.append(error)
            raise

    @worker.task("leaf")
    async def leaf(ctx: TaskContext) -> Any:
        if ctx.input == "bad":
            raise ValueError("no")
        return {"got": ctx.input}

    @worker.task("endless")
    async def endless(ctx: TaskContext) -> None:
        await ctx.sleep(3600)

    tasks = [asyncio.create_task(Engine(stores).run()), asyncio.create_task(worker.serve())]
    yield made
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await room.stop()


async def test_a_handler_registers_starts_and_awaits_a_child(house: House) -> None:
    async def handler(ctx: TaskContext) -> Any:
        name = await ctx.control.register(CHILD)
        child = await ctx.control.spawn(name, {"n": 1}, key="one")
        assert await ctx.control.spawn(name, {"n": 1}, key="one") == child
        output = await ctx.control.result(child, timeout=20)
        budget = await ctx.control.budget()
        return [name, child, output, budget.registered_defs, budget.max_active_runs]

    house.handler = handler
    run = await house.run()
    assert run.status == "completed", run.error
    name, child, output, defs, most = json.loads(run.steps["a"].output)
    assert name == f"agent.{run.run_id}.child"
    assert (output, defs, most) == ({"got": {"n": 1}}, 1, 100)
    found = await house.stores.runs.get(f"run.{child}")
    assert found is not None
    assert found.value.parent_run_id == found.value.root_run_id == run.run_id
    assert found.value.depth == 1
    kinds = [e.event.type for e in await house.stores.history.read(run.run_id)]
    assert kinds.count("workflow.spawn") == 1
    assert kinds.count("workflow.child.completed") == 1
    rows = [row.value async for row in house.stores.audit.scan()]
    assert {row.action for row in rows} >= {"runtime.register", "runtime.spawn"}
    assert {row.actor for row in rows if row.action.startswith("runtime")} == {
        f"runtime:{run.run_id}"
    }


async def test_a_failing_child_is_the_handlers_business(house: House) -> None:
    """CP-8: neither does it end the parent, nor is anything retried behind its back."""
    await house.put(CHILD)

    async def handler(ctx: TaskContext) -> Any:
        child = await ctx.control.spawn("child", "bad")
        with pytest.raises(RunEndedError, match="no"):
            await ctx.control.result(child, timeout=20)
        return "went on"

    house.handler = handler
    run = await house.run()
    assert (run.status, run.spawned) == ("completed", [])


async def test_children_at_work_are_cancelled_with_their_parent(house: House) -> None:
    await house.put(flow(step("c", task="endless"), name="long"))
    children: list[str] = []

    async def handler(ctx: TaskContext) -> Any:
        children.append(await ctx.control.spawn("long"))
        children.append(await ctx.control.spawn("long", detach=True))
        raise ValueError("enough")

    house.handler = handler
    assert (await house.run()).status == "failed"
    assert (await ended(house.stores, children[0])).status == "cancelled"
    loose = await house.stores.runs.get(f"run.{children[1]}")
    assert loose is not None
    assert (loose.value.status, loose.value.parent_run_id) == ("running", "")


@pytest.mark.parametrize("house", [{"max_active_runs_per_root": 3}], indirect=True)
async def test_quotas_hold_when_all_ask_at_once(house: House) -> None:
    await house.put(flow(step("c", task="endless"), name="long"))

    async def handler(ctx: TaskContext) -> Any:
        asked = [ctx.control.spawn("long") for _ in range(6)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        kinds = [one.kind for one in found if isinstance(one, ControlPlaneError)]
        budget = await ctx.control.budget()
        return [kinds, budget.active_runs]

    house.handler = handler
    kinds, active = json.loads((await house.run()).steps["a"].output)
    assert set(kinds) == {"quota_exceeded"}
    assert active <= 3
    assert len(kinds) >= 4


@pytest.mark.parametrize(
    "house", [{"max_defs_per_root": 2, "max_registers_per_minute_per_root": 4}], indirect=True
)
async def test_definitions_and_registrations_are_counted(house: House) -> None:
    async def handler(ctx: TaskContext) -> Any:
        kinds: list[str] = []
        for name in ("a", "b", "c", "a", "b"):
            try:
                kinds.append(await ctx.control.register({**CHILD, "name": name}))
            except ControlPlaneError as error:
                kinds.append(error.kind)
        return kinds

    house.handler = handler
    run = await house.run()
    own = f"agent.{run.run_id}."
    assert json.loads(run.steps["a"].output) == [
        *(own + "a", own + "b", "quota_exceeded", own + "a", "rate_limited")
    ]


@pytest.mark.parametrize(
    ("ask", "kind"),
    [
        (lambda c: c.register({**CHILD, "name": "a.b"}), "namespace"),
        (lambda c: c.register({**CHILD, "name": "a:b"}), "namespace"),
        (lambda c: c.register({**CHILD, "name": ""}), "namespace"),
        (lambda c: c.register({**CHILD, "steps": []}), "invalid_def"),
        (lambda c: c.register({**CHILD, "steps": [{"id": "a", "type": 7}]}), "invalid_def"),
        (lambda c: c.register(CHILD, promote=True), "denied"),
        (lambda c: c.spawn("nothing"), "unresolvable_name"),
        (lambda c: c.spawn(""), "unresolvable_name"),
        (lambda c: c.spawn("agent.another.child"), "unresolvable_name"),
    ],
)
async def test_refusals_have_a_kind(house: House, ask: Any, kind: str) -> None:
    async def handler(ctx: TaskContext) -> Any:
        with pytest.raises(ControlPlaneError) as caught:
            await ask(ctx.control)
        return caught.value.kind

    house.handler = handler
    assert json.loads((await house.run()).steps["a"].output) == kind


async def test_what_may_be_promoted_stays_for_everybody(house: House) -> None:
    async def handler(ctx: TaskContext) -> Any:
        return await ctx.control.register({**CHILD, "name": "common"}, promote=True)

    house.handler = handler
    assert json.loads((await house.run()).steps["a"].output) == "promoted.common"
    assert "promoted.common" in await house.stores.definitions.keys()


@pytest.mark.parametrize(("name", "wish"), [("other", WISH), ("boss", [])])
async def test_without_a_grant_or_a_wish_there_is_none(
    house: House, name: str, wish: list[str]
) -> None:
    proof: dict[str, str] = {}

    async def handler(ctx: TaskContext) -> Any:
        nonce = ctx._payload.dispatch_nonce
        proof.update(owner_run_id=ctx.run_id, owner_step_id=ctx.step_id, nonce=nonce)
        answer = await house.stores.bus.request("api.runtimes.budget", json.dumps(proof).encode())
        with pytest.raises(UsageError, match="may not use the control plane"):
            _ = ctx.control
        return json.loads(answer)

    house.handler = handler
    run = await house.run(name, wish)
    assert json.loads(run.steps["a"].output)["kind"] == "denied"


async def test_only_a_step_at_work_can_prove_itself(house: House) -> None:
    async def handler(ctx: TaskContext) -> Any:
        return ctx._payload.dispatch_nonce

    house.handler = handler
    run = await house.run()
    nonce = json.loads(run.steps["a"].output)
    for proof in (
        {},
        {"owner_run_id": run.run_id, "owner_step_id": "a", "nonce": nonce},
        {"owner_run_id": run.run_id, "owner_step_id": "b", "nonce": "x"},
        {"owner_run_id": "no such run", "owner_step_id": "a", "nonce": "x"},
        [],
    ):
        answer = await house.stores.bus.request("api.runtimes.budget", json.dumps(proof).encode())
        told = json.loads(answer)
        assert told["kind"] == ("namespace" if isinstance(proof, dict) else "transport")


async def test_plain_handlers_have_it_as_well(house: House, nats_server: EmbeddedServer) -> None:
    await house.put(CHILD)
    worker = Worker(nats_server.url)

    @worker.task("plain")
    def plain(ctx: SyncTaskContext) -> Any:
        child = ctx.control.spawn("child", 5)
        return [ctx.control.result(child, timeout=20), ctx.control.budget().max_registered_defs]

    serving = asyncio.create_task(worker.serve())
    definition = flow(step("a", task="plain", required_capabilities=WISH), name="boss")
    run = await ended(house.stores, await start(house.stores, definition))
    assert json.loads(run.steps["a"].output) == [{"got": 5}, 500]
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
