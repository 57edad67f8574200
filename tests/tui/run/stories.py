"""Runs told in memory by the real machine: deterministic histories for the console's tests."""

from __future__ import annotations

from typing import Any

from dagnats.model.event import Event, EventType
from dagnats.services.run_history import RunHistory
from dagnats.services.run_query import RunView
from dagnats.wire.readers import StoredEvent
from tests.engine.world import World


def step(step_id: str, *parents: str, **more: Any) -> dict[str, Any]:
    """The document of a step."""
    return {"id": step_id, "task": "t", "depends_on": list(parents), "type": "normal", **more}


def flow(name: str, *steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The document of a workflow."""
    return {"name": name, "version": "1", "steps": list(steps), **more}


class _Log(list[Event]):
    """A log that notes when each event was written."""

    def __init__(self, world: Story) -> None:
        super().__init__()
        self._world = world

    def append(self, event: Event) -> None:
        super().append(event)
        self._world.times.append(self._world.now)


class Story(World):
    """A world whose log can be read back as the store would give it."""

    def __init__(self, *definitions: dict[str, Any]) -> None:
        super().__init__(*definitions)
        self.times: list[int] = []
        self.log = _Log(self)

    def stored(self, run_id: str = "r1") -> list[StoredEvent]:
        return [
            StoredEvent(seq, at, event)
            for seq, (at, event) in enumerate(zip(self.times, self.log, strict=True), 1)
            if event.run_id == run_id
        ]

    def history(self, run_id: str = "r1") -> RunHistory:
        history = RunHistory(run_id)
        for stored in self.stored(run_id):
            history.add(stored)
        return history

    def view(self, run_id: str = "r1") -> RunView:
        run = self.run(run_id)
        return RunView(run, self.defs[run.workflow_id])

    def work(
        self, seconds: float = 1.0, output: Any = ..., *, of: str = "", worker: str = "w-1"
    ) -> None:
        """A worker takes a task, and has it done after some seconds."""
        task = self.begin(of, worker)
        self.sleep(seconds)
        self.report(task, EventType.STEP_COMPLETED, output, worker_id=worker)

    def begin(self, of: str = "", worker: str = "w-1") -> Any:
        """A worker takes the next task, or the next of a step."""
        found = next(task for task in self.tasks if of in ("", task.payload.step_id))
        self.tasks.remove(found)
        self.report(found.payload, EventType.STEP_STARTED, worker_id=worker)
        return found.payload

    def break_down(
        self,
        seconds: float = 1.0,
        error: str = "boom",
        kind: str = "retriable",
        *,
        of: str = "",
        traceback: str = "",
    ) -> Any:
        """A worker takes a task, and fails it after some seconds."""
        task = self.begin(of)
        self.sleep(seconds)
        payload = {"error": error, "failure_type": kind, "traceback": traceback}
        self.report(task, EventType.STEP_FAILED, payload, worker_id="w-1")
        return task
