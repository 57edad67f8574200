"""The engine on a real server, with a worker that knows nothing but the wire protocol."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from dagnats.engine.fold import fold
from dagnats.model.codec import encode, raw
from dagnats.model.event import Event, EventType, StartPayload
from dagnats.model.run import WorkflowRun, is_terminal
from dagnats.model.times import MILLISECOND, SECOND
from dagnats.runtime.engine import Engine
from dagnats.server.embedded import EmbeddedServer
from dagnats.wire.publisher import Outgoing, PublishError
from dagnats.wire.stores import Stores
from tests.conftest import eventually
from tests.engine.world import flow, step

Handler = Callable[[dict[str, Any]], Awaitable[tuple[str, Any]]]


class RawWorker:
    """A worker as another language would write it from the protocol's description."""

    def __init__(self, stores: Stores, task: str, handler: Handler) -> None:
        self.stores, self.task, self.handler = stores, task, handler
        self.seen: list[dict[str, Any]] = []

    async def run(self) -> None:
        js = self.stores.bus.nc.jetstream()
        config = {
            "durable_name": f"workers-{self.task}",
            "name": f"workers-{self.task}",
            "filter_subject": f"task.{self.task}.>",
            "ack_policy": "explicit",
            "deliver_policy": "all",
            "ack_wait": 2 * SECOND,
            "max_deliver": -1,
        }
        body = {"stream_name": "TASK_QUEUES", "config": config}
        await self.stores.bus.api(f"CONSUMER.DURABLE.CREATE.TASK_QUEUES.workers-{self.task}", body)
        subscription = await js.pull_subscribe_bind(f"workers-{self.task}", "TASK_QUEUES")
        while True:
            try:
                messages = await subscription.fetch(50, timeout=0.5)
            except (TimeoutError, Exception) as error:  # noqa: BLE001 - a reconnect under way
                del error
                await asyncio.sleep(0.05)
                continue
            for message in messages:
                await self._one(message)

    async def _one(self, message: Any) -> None:
        task = json.loads(message.data)
        self.seen.append(task)
        await self._publish(task, "step.started", None)
        kind, payload = await self.handler(task)
        await self._publish(task, kind, payload)
        await message.ack()

    async def _publish(self, task: dict[str, Any], kind: str, payload: Any) -> None:
        event = {
            "type": kind,
            "run_id": task["run_id"],
            "step_id": task["step_id"],
            "timestamp": "2026-03-01T10:00:00Z",
            "worker_id": "raw-1",
        }
        if payload is not None:
            event["payload"] = payload
        msg_id = f"{task['run_id']}.{task['step_id']}.{kind}"
        if task.get("attempt"):
            event["attempt_number"] = task["attempt"]
            msg_id += f".{task['attempt']}"
        while True:
            try:
                body = json.dumps(event).encode()
                await self.stores.publisher.publish(
                    Outgoing(f"history.{task['run_id']}", body, msg_id)
                )
                return
            except PublishError:
                await asyncio.sleep(0.05)


@pytest.fixture
async def engine(stores: Stores) -> AsyncIterator[Engine]:
    engine = Engine(stores)
    task = asyncio.create_task(engine.run())
    await asyncio.wait_for(engine.ready(), 10)
    yield engine
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def start(stores: Stores, definition: dict[str, Any], input: Any = None) -> str:
    run_id = secrets.token_hex(16)
    payload = StartPayload(workflow_def=raw(definition), input=raw(input))
    event = Event(type=EventType.WORKFLOW_STARTED, run_id=run_id, payload=raw(payload))
    message = Outgoing(f"history.{run_id}", encode(event), f"{run_id}.workflow.started")
    while True:
        try:
            await stores.publisher.publish(message)
            return run_id
        except PublishError:
            await asyncio.sleep(0.05)


async def ended(stores: Stores, run_id: str, timeout: float = 20) -> WorkflowRun:
    async def over() -> bool:
        entry = await stores.runs.get(f"run.{run_id}")
        return entry is not None and is_terminal(entry.value.status)

    await eventually(over, timeout)
    entry = await stores.runs.get(f"run.{run_id}")
    assert entry is not None
    return entry.value


async def test_a_raw_worker_runs_our_workflows(stores: Stores, engine: Engine) -> None:
    async def handler(task: dict[str, Any]) -> tuple[str, Any]:
        if task["step_id"] == "b" and not task.get("attempt"):
            return "step.failed", {"error": "once", "failure_type": "retriable"}
        return "step.completed", {"from": task["step_id"], "got": task.get("input")}

    worker = RawWorker(stores, "t", handler)
    working = asyncio.create_task(worker.run())
    retry = {"max_attempts": 1, "initial_delay": 20 * MILLISECOND}
    definition = flow(step("a", task="t"), step("b", "a", task="t", retry=retry))
    run_id = await start(stores, definition, {"x": 1})
    run = await ended(stores, run_id)
    assert run.status == "completed"
    assert json.loads(run.steps["b"].output)["got"] == {"from": "a", "got": {"x": 1}}
    assert run.steps["b"].attempts == 2
    types = [stored.event.type for stored in await stores.history.read(run_id)]
    assert types[0] == "workflow.started"
    assert types[-1] == "workflow.completed"
    assert types.count("step.completed") == 2
    pinned = await stores.revisions.get(f"w.{run.revision}")
    assert pinned is not None
    folded = fold(pinned.value, await stores.history.read(run_id))
    for state in (*folded.steps.values(), *run.steps.values()):
        state.dispatch_nonce = ""
    folded.applied_seq = run.applied_seq
    assert encode(folded) == encode(run)
    working.cancel()


async def test_timers_survive_the_engine(stores: Stores) -> None:
    definition = flow(step("s", type="sleep", task="", config={"duration": 3 * SECOND}))
    first = Engine(stores)
    task = asyncio.create_task(first.run())
    await first.ready()
    run_id = await start(stores, definition)

    async def asleep() -> bool:
        info = await stores.bus.api("STREAM.INFO.SLEEP_TIMERS")
        return info["state"]["messages"] == 1

    await eventually(asleep)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    second = asyncio.create_task(Engine(stores).run())
    assert (await ended(stores, run_id)).status == "completed"
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)


async def test_a_pause_holds_dispatch_and_ends(stores: Stores, engine: Engine) -> None:
    await stores.engine_control.put("pause.w", b"{}")

    async def tasks() -> int:
        info = await stores.bus.api("STREAM.INFO.TASK_QUEUES")
        return int(info["state"]["messages"])

    run_id = await start(stores, flow(step("a", task="t")))

    async def queued() -> bool:
        entry = await stores.runs.get(f"run.{run_id}")
        return entry is not None and entry.value.steps["a"].status == "queued"

    await eventually(queued)
    assert await tasks() == 0
    await stores.engine_control.delete("pause.w")

    async def handed_out() -> bool:
        return await tasks() == 1

    await eventually(handed_out)


async def test_an_event_reaches_the_run_that_waits(stores: Stores, engine: Engine) -> None:
    config = {
        "event": "order.paid",
        "timeout": 60 * SECOND,
        "match": {"left": "id", "op": "eq", "right": "input.id"},
    }
    run_id = await start(
        stores, flow(step("v", type="wait_for_event", task="", config=config)), {"id": 7}
    )

    async def waits() -> bool:
        return any(s.event.type == "step.wait.started" for s in await stores.history.read(run_id))

    await eventually(waits)
    await stores.publisher.publish(Outgoing("event.order.paid", b'{"id":8}'))
    await stores.publisher.publish(Outgoing("event.order.paid", b"not json"))
    await stores.publisher.publish(Outgoing("event.order.paid", b'{"id":7}'))
    run = await ended(stores, run_id)
    assert run.steps["v"].output == b'{"id":7}'


async def test_rubbish_in_the_log_goes_to_the_dead_letters(stores: Stores, engine: Engine) -> None:
    for body in (b"", b"\xff", b"[]", b'{"type":1}'):
        await stores.publisher.publish(Outgoing("history.rubbish", body))
    run_id = await start(stores, flow(step("s", type="sleep", task="", config={"duration": 1})))
    assert (await ended(stores, run_id)).status == "completed"
    info = await stores.bus.api("STREAM.INFO.DEAD_LETTERS")
    assert info["state"]["messages"] == 4


async def test_nothing_is_lost_when_engine_and_server_die_again_and_again(
    stores: Stores, nats_server: EmbeddedServer
) -> None:
    """I1, I2: every run ends, each step's result is recorded once, no task is left over."""

    async def handler(task: dict[str, Any]) -> tuple[str, Any]:
        return "step.completed", {"run": task["run_id"], "step": task["step_id"]}

    worker = RawWorker(stores, "t", handler)
    working = asyncio.create_task(worker.run())
    definition = flow(step("a", task="t"), step("b", "a", task="t"), step("c", "b", task="t"))
    running = asyncio.create_task(Engine(stores).run())
    ids: list[str] = []
    for round_ in range(5):
        ids += [await start(stores, definition) for _ in range(30)]
        if round_ % 2:
            os.kill(nats_server.pid, signal.SIGKILL)
        else:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            running = asyncio.create_task(Engine(stores).run())
    for run_id in ids:
        run = await ended(stores, run_id, 40)
        assert run.status == "completed"
        completed = [
            s.event.step_id
            for s in await stores.history.read(run_id)
            if s.event.type == "step.completed"
        ]
        assert sorted(completed) == ["a", "b", "c"]

    async def drained() -> bool:
        info = await stores.bus.api("STREAM.INFO.TASK_QUEUES")
        return info["state"]["messages"] == 0

    await eventually(drained)
    for task in (running, working):
        task.cancel()
    await asyncio.gather(running, working, return_exceptions=True)
