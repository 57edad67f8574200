"""What a worker tells about the tasks it works on: a span each, counts, and who logs what."""

from __future__ import annotations

import time

from dagnats.model.spans import RUN_ID, STEP_ID
from dagnats.model.task import TaskPayload
from dagnats.telemetry.metrics import METRICS
from dagnats.telemetry.spans import SCOPE, TRACER, Open, Scope
from dagnats.worker.outcome import Failed, Outcome

SERVICE = "worker"

_DURATION = METRICS.histogram("step.duration_ms", "How long handlers took.", ("task",))
_RETRIES = METRICS.counter("step.retries", "Attempts after the first.", ("task",))
_ACTIVE = METRICS.gauge("worker.tasks.active", "Tasks being worked on.", ("task",))
_SKIPPED = METRICS.counter(
    "worker.tasks.cancelled_skipped", "Tasks left alone because their run was cancelled.", ("task",)
)


def count_skipped(task: str) -> None:
    """A task was not worked on: its run was cancelled."""
    _SKIPPED.add(1, task)


class Observed:
    """One task being worked on. Made in the task's own asyncio task, whose log records it marks.

    Args:
        task: the task type.
        payload: the task; while it is traced, its context becomes that of the span.
        worker_id: who works on it.
    """

    __slots__ = ("_began", "_span", "_task")

    def __init__(self, task: str, payload: TaskPayload, worker_id: str) -> None:
        self._task = task
        self._began = time.perf_counter()
        self._span: Open | None = None
        attempt = payload.attempt or 1
        about = {
            RUN_ID: payload.run_id,
            STEP_ID: payload.step_id,
            "task": task,
            "attempt": str(attempt),
            "worker_id": worker_id,
        }
        if TRACER.follows(payload.traceparent):
            names = {"task_name": task, "workflow_name": payload.workflow_name}
            self._span = Open(
                f"executeTask {task}",
                "server",
                payload.traceparent,
                {**about, **names, "attempt": attempt},
                recorded=True,
                service=SERVICE,
            )
            payload.traceparent = self._span.traceparent
        SCOPE.set(Scope(payload.traceparent, about))
        _ACTIVE.add(1, task)
        if attempt > 1:
            _RETRIES.add(1, task)

    def ended(self, outcome: Outcome | None) -> None:
        """The handler has ended; without an outcome it was given up."""
        _ACTIVE.add(-1, self._task)
        _DURATION.observe((time.perf_counter() - self._began) * 1000, self._task)
        if self._span is None:
            return
        if isinstance(outcome, Failed):
            self._span.fail(outcome.failure.error)
        elif outcome is None:
            self._span.fail("given up")
        TRACER.emit(self._span.closed())
