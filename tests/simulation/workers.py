"""Workers that work, fail, hang, die, answer late and answer twice."""

from __future__ import annotations

import random
from typing import Any

import msgspec

from dagnats.model.codec import ABSENT, decode, encode, raw
from dagnats.model.event import Event, EventType
from dagnats.model.task import TaskPayload
from dagnats.model.times import format_time

from .flows import KEYS
from .server import EMPTY, Server, Stored, Stream

ACK_WAIT_S = 4.0
NAMES = ("worker-1", "worker-2")


class Habits(msgspec.Struct):
    """Shares of executions in which something goes wrong."""

    fails: float = 0.2
    dies: float = 0.05
    forgets: float = 0.05
    """Dies between its result and the acknowledgement."""
    hangs: float = 0.04
    doubles: float = 0.05
    """Sends its result again, some time later, under no message id."""
    mute: float = 0.02
    """Does not say that it has started."""


class Workers:
    """All workers there are.

    Args:
        server: where tasks come from.
        rng: decides what goes wrong.
        habits: how often.
        steps: the definitions' steps by workflow and id.
    """

    def __init__(
        self, server: Server, rng: random.Random, habits: Habits, steps: dict[str, dict[str, Any]]
    ) -> None:
        self.server = server
        self.rng = rng
        self.habits = habits
        self.steps = steps
        self.executions = 0
        self.late = 0
        self.redelivered = 0
        self.away: set[str] = set()
        self.held: dict[int, TaskPayload] = {}
        self.recalled: set[int] = set()
        server.watchers.append(self._stored)
        server.subscribe("dagnats.cancelled.*", self._recalled)

    def _recalled(self, subject: str, _: str, data: bytes, __: dict[str, str]) -> None:
        """Give up what the engine takes back, as the worker of this package does; mostly."""
        run_id, nonces = subject.rpartition(".")[2], tuple(data.decode().split())
        for key, task in self.held.items():
            mine = task.run_id == run_id and task.dispatch_nonce.startswith(nonces)
            if mine and self.rng.random() < 0.7:
                self.recalled.add(key)

    def _stored(self, stream: Stream, stored: Stored) -> None:
        if stream.name in ("TASK_QUEUES", "STICKY_TASKS"):
            delay = self.rng.uniform(0.0001, 0.01)
            self.server.loop.call_later(delay, self._take, stream, stored, 1)

    def _take(self, stream: Stream, stored: Stored, times: int) -> None:
        if stored.seq not in stream.messages:
            return
        worker = NAMES[stored.seq % 2]
        if stream.name == "STICKY_TASKS":
            worker = stored.subject.split(".")[-2]
        if worker in self.away:
            self.server.loop.call_later(1.0, self._take, stream, stored, times)
            return
        self.redelivered += times > 1
        task = decode(stored.data, TaskPayload)
        if self.rng.random() < self.habits.dies:
            self._again(stream, stored, times)
            return
        self.executions += 1
        if self.rng.random() >= self.habits.mute:
            self._tell(task, EventType.STEP_STARTED, worker, stored, times)
        self._work(stream, stored, task, worker, times)

    def _again(self, stream: Stream, stored: Stored, times: int) -> None:
        self.server.loop.call_later(ACK_WAIT_S, self._take, stream, stored, times + 1)

    def _work(
        self, stream: Stream, stored: Stored, task: TaskPayload, worker: str, times: int
    ) -> None:
        loop, rng = self.server.loop, self.rng
        took = rng.choice((0.0005, 0.002, 0.02, 0.2, 0.8)) * rng.uniform(0.5, 1.5)
        if rng.random() < self.habits.hangs:
            took = rng.uniform(3, 15)
        if took > ACK_WAIT_S:
            self._again(stream, stored, times)
        self.held[self.executions] = task
        loop.call_later(took, self._finish, stream, stored, self.executions, worker, times)

    def _finish(self, stream: Stream, stored: Stored, key: int, worker: str, times: int) -> None:
        task = self.held.pop(key)
        if key in self.recalled:
            stream.remove(stored.seq)
            return
        if stored.seq not in stream.messages:
            self.late += 1  # Another one has done it meanwhile; this result comes too late.
        kind, payload = self._outcome(task)
        self._tell(task, kind, worker, stored, times, payload)
        if self.rng.random() < self.habits.doubles:
            delay = self.rng.uniform(0.001, 6)
            self.server.loop.call_later(
                delay, self._tell, task, kind, worker, stored, times, payload, True
            )
        if self.rng.random() < self.habits.forgets:
            self._again(stream, stored, times)
        else:
            stream.remove(stored.seq)

    # --- what comes of it ---------------------------------------------------------------------

    def _outcome(self, task: TaskPayload) -> tuple[EventType, Any]:
        step = self._step(task)
        if self.rng.random() < self.habits.fails:
            return EventType.STEP_FAILED, self._failure()
        if step.get("type") == "agent_loop" and self.rng.random() < 0.6:
            again = {"attempt": task.attempt or 1, "k": 1}
            return EventType.STEP_CONTINUE, self.rng.choice((again, ...))
        return EventType.STEP_COMPLETED, self._output(task, step)

    def _failure(self) -> dict[str, Any]:
        kind = self.rng.choice(("retriable", "retriable", "non_retriable", "retry_after"))
        return {"error": "no luck", "failure_type": kind, "retry_after_ms": 200}

    def _step(self, task: TaskPayload) -> dict[str, Any]:
        steps = self.steps.get(task.workflow_name, {})
        return steps.get(task.step_id.partition(".map.")[0], {})

    def _output(self, task: TaskPayload, step: dict[str, Any]) -> Any:
        rng, attempt = self.rng, task.attempt or 1
        if step.get("type") == "planner":
            return self._plan()
        if self._feeds_map(task, step):
            return rng.choice(([], [1], [1, 2, 3], [1, 2, 3, 4], {"no": "array"}))
        if rng.random() < 0.05:
            return ...
        return {"attempt": attempt, "stop": rng.random() < 0.4, "k": rng.randrange(KEYS)}

    def _feeds_map(self, task: TaskPayload, step: dict[str, Any]) -> bool:
        others = self.steps.get(task.workflow_name, {}).values()
        return any(
            other["type"] == "map" and step.get("id") in other.get("depends_on", ())
            for other in others
            if "type" in other
        )

    def _plan(self) -> dict[str, Any]:
        rng = self.rng
        steps: list[dict[str, Any]] = []
        for index in range(rng.choice((0, 1, 2, 3))):
            after = [steps[-1]["id"]] if steps and rng.random() < 0.5 else []
            steps.append({"id": f"p{index}", "task": "t.a", "depends_on": after})
        if steps and rng.random() < 0.1:
            steps[0]["task"] = ""
        return {"steps": steps}

    def _tell(
        self,
        task: TaskPayload,
        kind: EventType,
        worker: str,
        stored: Stored,
        times: int,
        payload: Any = ...,
        bare: bool = False,
    ) -> None:
        number = task.attempt or (1 if kind == EventType.STEP_STARTED else 0)
        if not task.attempt and times == 1 and self.rng.random() < 0.1:
            number = 1  # Workers of other makes send their delivery count.
        event = Event(
            type=kind.value,
            run_id=task.run_id,
            step_id=task.step_id,
            timestamp=format_time(self.server.loop.time_ns()),
            payload=ABSENT if payload is ... else raw(payload),
            worker_id=worker,
            attempt_number=number,
        )
        msg_id = f"{task.run_id}.{task.step_id}.{kind}"
        if kind == EventType.STEP_CONTINUE:
            msg_id = f"{task.run_id}.{task.step_id}.continue.{task.iteration}.{stored.ts}"
        elif number:
            msg_id += f".{number}"
        headers = EMPTY if bare else {"Nats-Msg-Id": msg_id}
        self.server.publish(f"history.{task.run_id}", encode(event), headers)
