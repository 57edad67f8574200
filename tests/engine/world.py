"""A world in memory round the real machine: a log, a clock, timers, and a queue of tasks."""

from __future__ import annotations

import heapq
from collections import deque
from itertools import count
from typing import Any

from msgspec import Raw

from dagnats.engine import effects as fx
from dagnats.engine.flow import Flow
from dagnats.engine.machine import Machine
from dagnats.engine.run import Run
from dagnats.engine.turn import Env
from dagnats.model.codec import ABSENT, decode, encode, raw
from dagnats.model.event import Event, EventType, StartPayload
from dagnats.model.run import StepState, WorkflowRun
from dagnats.model.task import TaskPayload
from dagnats.model.times import SECOND
from dagnats.model.workflow import WorkflowDef


class World:
    """Applies everything at once; tests drive the workers and the clock."""

    def __init__(self, *definitions: dict[str, Any]) -> None:
        self.defs = {
            definition["name"]: decode(encode(definition), WorkflowDef)
            for definition in definitions
        }
        self.flow = Flow()
        self.machine = Machine(Env(flow=self.flow, definition=self.defs.get, secret=b"test"))
        self.now = 1_700_000_000 * SECOND
        self.seq = count(1)
        self.runs: dict[str, Run] = {}
        self.log: list[Event] = []
        self.ids: set[str] = set()
        self.tasks: deque[fx.Dispatch] = deque()
        self.buried: list[fx.BuryTask] = []
        self.other: list[fx.Effect] = []
        self.timers: list[tuple[int, int, fx.SetTimer]] = []
        self.inbox: deque[Event] = deque()

    def start(self, name: str, input: Any = None, run_id: str = "r1") -> str:
        payload = StartPayload(
            workflow_def=raw(self.defs[name]), input=ABSENT if input is None else raw(input)
        )
        self.send(Event(type=EventType.WORKFLOW_STARTED, run_id=run_id, payload=raw(payload)))
        return run_id

    def send(self, event: Event, msg_id: str = "") -> None:
        if msg_id and msg_id in self.ids:
            return
        self.ids.add(msg_id)
        self.inbox.append(event)
        self._settle()

    def _settle(self) -> None:
        if getattr(self, "_settling", False):
            return
        self._settling = True
        while self.inbox:
            event = self.inbox.popleft()
            self.log.append(event)
            outcome = self.machine.apply(
                self.runs.get(event.run_id), event, next(self.seq), self.now, self.now
            )
            if outcome.run is not None:
                self.runs[event.run_id] = outcome.run
            for effect in outcome.effects:
                self._do(effect)
        self._settling = False

    def _do(self, effect: fx.Effect) -> None:
        match effect:
            case fx.Emit():
                self.send(effect.event, effect.msg_id)
            case fx.Dispatch():
                if effect.msg_id not in self.ids:
                    self.ids.add(effect.msg_id)
                    self.tasks.append(effect)
            case fx.SetTimer():
                heapq.heappush(self.timers, (effect.due, next(self.seq), effect))
            case fx.CancelTimers():
                self.timers = [
                    entry
                    for entry in self.timers
                    if not (
                        entry[2].event.run_id == effect.run_id
                        and entry[2].event.step_id == effect.step_id
                    )
                ]
                heapq.heapify(self.timers)
            case fx.BuryTask():
                self.buried.append(effect)
            case _:
                self.other.append(effect)

    # --- the clock ---

    def sleep(self, seconds: float) -> None:
        until = self.now + int(seconds * SECOND)
        while self.timers and self.timers[0][0] <= until:
            due, _, timer = heapq.heappop(self.timers)
            self.now = max(self.now, due)
            self.send(timer.event, timer.msg_id)
        self.now = until

    # --- workers ---

    def take(self) -> TaskPayload:
        task = self.tasks.popleft().payload
        self.report(task, EventType.STEP_STARTED)
        return task

    def report(self, task: TaskPayload, type_: EventType, payload: Any = ..., **more: Any) -> None:
        body = ABSENT if payload is ... else raw(payload)
        self.send(
            Event(
                type=type_,
                run_id=task.run_id,
                step_id=task.step_id,
                payload=body,
                attempt_number=task.attempt,
                **more,
            )
        )

    def complete(self, output: Any = ...) -> TaskPayload:
        task = self.take()
        self.report(task, EventType.STEP_COMPLETED, output)
        return task

    def fail(self, error: str = "boom", kind: str = "retriable", **more: Any) -> TaskPayload:
        task = self.take()
        payload = {"error": error, "failure_type": kind} | more
        self.report(task, EventType.STEP_FAILED, payload)
        return task

    # --- looking ---

    def run(self, run_id: str = "r1") -> WorkflowRun:
        return self.runs[run_id].snapshot

    def state(self, step_id: str, run_id: str = "r1") -> StepState:
        return self.run(run_id).steps[step_id]

    def status(self, run_id: str = "r1") -> str:
        return str(self.run(run_id).status)

    def statuses(self, run_id: str = "r1") -> dict[str, str]:
        return {name: str(state.status) for name, state in self.run(run_id).steps.items()}

    def types(self, run_id: str = "r1") -> list[str]:
        return [str(event.type) for event in self.log if event.run_id == run_id]


def step(id: str, *after: str, **more: Any) -> dict[str, Any]:
    """A step definition; the task has the step's own name unless given."""
    return {"id": id, "task": id, "depends_on": list(after)} | more


def flow(*steps: dict[str, Any], name: str = "w", **more: Any) -> dict[str, Any]:
    """A workflow definition."""
    return {"name": name, "version": "1", "steps": list(steps)} | more


def text(value: Raw | bytes) -> str:
    """JSON bytes as text."""
    return bytes(value).decode()
