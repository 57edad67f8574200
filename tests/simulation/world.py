"""The simulated deployment: real engines on a server in memory, workers, users, and fate."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from typing import Any

from dagnats.model.codec import ABSENT, decode, encode, raw
from dagnats.model.event import Event, EventType, ReopenPayload, StartPayload
from dagnats.model.run import RunStatus, WorkflowRun, is_terminal
from dagnats.model.times import format_time
from dagnats.model.validate import normalise
from dagnats.model.workflow import WorkflowDef
from dagnats.runtime.engine import Engine, EngineSettings
from dagnats.wire.stores import Stores
from dagnats.wire.topology import ENGINE, provision

from .loop import BEGIN_S, VirtualLoop, play, virtual
from .network import Client, Faults, bus_of
from .scenario import LENGTH_S, Act, Scenario
from .server import EMPTY, Server, Stored, Stream
from .workers import NAMES, Workers

CALM_S = 240.0
"""Within this time after the last fault every run must have ended."""

_CONFIGS: list[dict[str, Any]] = []
_CONSUMERS: list[tuple[str, dict[str, Any]]] = []


class Process:
    """One engine process, born again whenever it dies."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        self.born = 0
        self.deaths = 0
        self.client: Client | None = None
        self.engine: Engine | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to work."""
        self.born += 1
        world = self.world
        name = f"engine{self.number}-{self.born}"
        client = self.client = Client(world.loop, world.server, world.faults, name)
        if world.scenario.fuse and not world.calm:
            client.fuse = 1 + int(world.rng.expovariate(1 / world.scenario.fuse))
        client.died = self.died
        self.engine = Engine(Stores(bus_of(client)), EngineSettings(flush=0.05))
        self._task = world.loop.create_task(self.engine.run())

    def died(self) -> None:
        """Killed: after a while another one takes its place."""
        self.deaths += 1
        assert self._task is not None
        assert self.client is not None
        self.client.kill()
        self._task.cancel()
        self.world.loop.call_later(self.world.rng.uniform(0.05, 1.5), self.start)

    def watch(self) -> str:
        """What it failed of, if it has ended by itself."""
        task = self._task
        if task is None or not task.done() or task.cancelled():
            return ""
        return repr(task.exception())


class World:
    """One scenario being played."""

    def __init__(self, loop: VirtualLoop, scenario: Scenario) -> None:
        self.loop = loop
        self.scenario = scenario
        self.rng = random.Random(scenario.seed ^ 0x5EED)
        self.faults = Faults(random.Random(scenario.seed ^ 0xFA11), scenario.slow, scenario.deaf)
        self.server = Server(loop, lambda: self.rng.uniform(0, 0.25))
        self.counts: Counter[str] = Counter()
        self.calm = False
        self.starts: dict[str, dict[str, Any]] = {}
        self.definitions = {
            each["name"]: normalise(decode(encode(each), WorkflowDef))
            for each in scenario.workflows
        }
        self.steps = {
            each["name"]: {step["id"]: step for step in each["steps"]}
            for each in scenario.workflows
        }
        for config in _CONFIGS:
            self.server.create(config)
        for stream, body in _CONSUMERS:
            self.server._consumer_call("CREATE", [stream, body["config"]["name"]], body)
        self.workers = Workers(
            self.server, random.Random(scenario.seed ^ 0x3A7), scenario.habits, self.steps
        )
        self.server.watchers.append(self._asked)
        self.processes = [Process(self, number) for number in range(scenario.engines)]

    # --- playing ------------------------------------------------------------------------------

    async def play(self) -> None:
        """From the first start to the end of every run."""
        for name, definition in self.definitions.items():
            self.server.publish(f"$KV.workflow_defs.{name}", encode(definition), EMPTY)
        for process in self.processes:
            process.start()
        begin = self.loop.now
        for act in self.scenario.acts:
            self.loop.call_at(begin + act.at, self._do, act)
        await asyncio.sleep(LENGTH_S + 1)
        self._calm_down()
        await self._all_ended()
        await asyncio.sleep(2.0)  # The last snapshots are written, the last timers taken back.

    def _calm_down(self) -> None:
        """Nothing goes wrong any more."""
        self.calm = True
        self.faults.slow = self.faults.deaf = 0.0
        self.workers.away.clear()
        self.workers.habits = type(self.workers.habits)(0.1, 0, 0, 0, 0, 0)
        for process in self.processes:
            if process.client is not None:
                process.client.fuse = None
                process.client.join()
        for key in ("pause", *(f"pause.{name}" for name in self.definitions)):
            self._control(key, b"")

    async def _all_ended(self) -> None:
        deadline = self.loop.now + CALM_S
        while self.loop.now < deadline:
            if self._caught_up() and all(self.ended(run_id) for run_id in self.run_ids()):
                return
            await asyncio.sleep(0.25)

    def _caught_up(self) -> bool:
        history = self.server.streams["WORKFLOW_HISTORY"]
        return history.consumers[ENGINE].floor >= history.last

    def run_ids(self) -> set[str]:
        """Every run that was asked for, or that another run has started."""
        history = self.server.streams["WORKFLOW_HISTORY"]
        started = {
            stored.subject.partition(".")[2]
            for stored in history.messages.values()
            if b'"type":"workflow.started"' in stored.data[:60]
        }
        return started | set(self.starts)

    def snapshot(self, run_id: str) -> WorkflowRun | None:
        """A run as it is stored."""
        stored = self.server.streams["KV_workflow_runs"].last_of(f"$KV.workflow_runs.run.{run_id}")
        return decode(stored.data, WorkflowRun) if stored is not None else None

    def ended(self, run_id: str) -> bool:
        """Whether a run has ended, as far as is stored."""
        subject = f"$KV.workflow_runs.run.{run_id}"
        stored = self.server.streams["KV_workflow_runs"].last_of(subject)
        if stored is None:
            return False
        return is_terminal(json.loads(stored.data).get("status", ""))

    # --- users and operators ------------------------------------------------------------------

    def _do(self, act: Act) -> None:
        self.counts[f"act {act.do}"] += 1
        getattr(self, f"_act_{act.do}")(**act.what)

    def _append(self, event: Event, msg_id: str = "") -> None:
        event.timestamp = format_time(self.loop.time_ns())
        headers = {"Nats-Msg-Id": msg_id} if msg_id else EMPTY
        self.server.publish(f"history.{event.run_id}", encode(event), headers)

    def _act_start(self, run: str, workflow: str, input: Any, shape: str) -> None:
        self.starts[run] = {"workflow": workflow}
        definition = self.definitions[workflow]
        given = ABSENT if input is None else raw(input)
        payload = raw(StartPayload(workflow_def=raw(definition), input=given))
        if shape == "trigger":
            payload = raw(
                {"trigger": "cron", "source": "t", "workflow_id": workflow, "data": input}
            )
        event = Event(type=EventType.WORKFLOW_STARTED.value, run_id=run, payload=payload)
        self._append(event, f"{run}.{event.type}")
        if shape == "twice":
            self.loop.call_later(0.7, self._append, event, "")

    def _act_event(self, type: str, body: Any) -> None:
        self.server.publish(f"event.{type}", json.dumps(body).encode(), EMPTY)

    def _act_cancel(self, run: str, **_: Any) -> None:
        if run in self.starts:
            event = Event(type=EventType.WORKFLOW_CANCELLED.value, run_id=run)
            self._append(event, f"{run}.{event.type}")

    def _act_override(self, run: str, action: str, pick: float) -> None:
        known = self.snapshot(run)
        if known is None or not known.steps or is_terminal(known.status):
            return
        steps = sorted(known.steps)
        payload = {"action": action, "reason": "sim", "output": {"by": "hand"}}
        if action != "complete":
            del payload["output"]
        self._append(
            Event(
                type=EventType.STEP_OVERRIDE.value,
                run_id=run,
                step_id=steps[int(pick * len(steps))],
                payload=raw(payload),
            )
        )

    def _act_reopen(self, run: str, action: str, pick: float) -> None:
        known = self.snapshot(run)
        if known is None or known.status not in (RunStatus.FAILED, RunStatus.COMPENSATE_FAILED):
            if self.loop.now < BEGIN_S + LENGTH_S:  # It may fail later.
                self.loop.call_later(1.0, self._act_reopen, run, action, pick)
            return
        self.counts["reopened"] += 1
        payload = ReopenPayload(dead_letter=1)
        self._append(
            Event(
                type=EventType.WORKFLOW_REOPENED.value,
                run_id=run,
                step_id=known.failed_step,
                payload=raw(payload),
            )
        )

    def _act_rerun(self, run: str, **_: Any) -> None:
        known = self.snapshot(run)
        if known is None or f"{run}again" in self.starts or not known.steps:
            return
        definition = self.definitions.get(known.workflow_id)
        if definition is None:
            return
        done = {
            step: raw(json.loads(state.output))
            for step, state in known.steps.items()
            if state.status == "completed"
            and state.output
            and step in self.steps[known.workflow_id]
        }
        start = StartPayload(
            workflow_def=raw(definition), input=known.input, reuse=done, origin_run_id=run
        )
        self.starts[f"{run}again"] = {"workflow": known.workflow_id}
        self.counts["reruns"] += 1
        event = Event(
            type=EventType.WORKFLOW_STARTED.value, run_id=f"{run}again", payload=raw(start)
        )
        self._append(event, f"{run}again.{event.type}")

    def _act_pause(self, key: str) -> None:
        self._control(key, b"1")

    def _act_resume(self, key: str) -> None:
        self._control(key, b"")

    def _control(self, key: str, value: bytes) -> None:
        headers = EMPTY if value else {"KV-Operation": "DEL"}
        self.server.publish(f"$KV.engine_control.{key}", value, headers)

    def _act_redefine(self, workflow: str, gone: bool) -> None:
        subject = f"$KV.workflow_defs.{workflow}"
        if gone:
            self.server.publish(subject, b"", {"KV-Operation": "DEL"})
        else:
            other = {"name": workflow, "version": "2", "steps": [{"id": "new", "task": "t.a"}]}
            self.server.publish(
                subject, encode(normalise(decode(encode(other), WorkflowDef))), EMPTY
            )

    def _asked(self, stream: Stream, stored: Stored) -> None:
        """Somebody looks at approvals, and mostly answers."""
        if stream.name != "WORKFLOW_HISTORY" or b'"approval.requested"' not in stored.data[:60]:
            return
        event = decode(stored.data, Event)
        if self.rng.random() < 0.75:
            kind = self.rng.choice(
                (
                    EventType.APPROVAL_GRANTED,
                    EventType.APPROVAL_GRANTED,
                    EventType.APPROVAL_REJECTED,
                )
            )
            answer = Event(type=kind.value, run_id=event.run_id, step_id=event.step_id)
            self.loop.call_later(self.rng.uniform(0.001, 2.0), self._append, answer)

    # --- fate ---------------------------------------------------------------------------------

    def _process(self, who: int) -> Process:
        return self.processes[who % len(self.processes)]

    def _act_cut(self, who: int, long: float) -> None:
        client = self._process(who).client
        if client is not None:
            client.cut()
            self.loop.call_later(long, client.join)

    def _act_server(self, long: float, **_: Any) -> None:
        """The server restarts: every connection is lost, what is stored stays."""
        for process in self.processes:
            if process.client is not None:
                process.client.cut()
                self.loop.call_later(min(long, 2.0), process.client.join)

    def _act_freeze(self, who: int, long: float) -> None:
        """A process stands still, and does not know it."""
        client = self._process(who).client
        if client is not None:
            client.freeze(long)

    def _act_away(self, who: int, long: float) -> None:
        name = NAMES[who % 2]
        self.workers.away.add(name)
        self.loop.call_later(long, self.workers.away.discard, name)


async def _provisioned(loop: VirtualLoop) -> None:
    """Learn from the real provisioning which streams and consumers there are."""
    server = Server(loop, lambda: 0.0)
    created: list[dict[str, Any]] = []
    make = server.create

    def create(config: dict[str, Any]) -> Stream:
        created.append(config)
        return make(config)

    server.create = create  # type: ignore[method-assign]
    client = Client(loop, server, Faults(random.Random(0), 0.0), "provision")
    await provision(bus_of(client))
    _CONFIGS.extend(created)
    _CONSUMERS.extend(
        (stream.name, {"config": consumer.config})
        for stream in server.streams.values()
        for consumer in stream.consumers.values()
    )


def play_scenario(scenario: Scenario) -> World:
    """Play a scenario to its end; the world as it is then."""
    if not _CONFIGS:
        with virtual(0) as loop:
            play(loop, _provisioned(loop))
    with virtual(scenario.seed) as loop:
        from .invariants import Judge

        world = World(loop, scenario)
        judge = world.judge = Judge(world)
        try:
            play(loop, world.play())
        finally:
            judge.failures += loop.failures
        judge.verdict()
    return world
