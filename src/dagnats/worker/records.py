"""The events a worker writes into a run's history (``wire.md`` 3.3, 5.1, 6.3)."""

from __future__ import annotations

import time

from msgspec import Raw

from dagnats.model.codec import encode
from dagnats.model.event import Event, EventType
from dagnats.model.task import TaskPayload
from dagnats.model.times import format_time
from dagnats.telemetry.context import TRACEPARENT
from dagnats.wire import msgids, subjects
from dagnats.wire.publisher import Outgoing


def event_message(
    kind: EventType,
    payload: TaskPayload,
    body: Raw,
    *,
    worker_id: str,
    queued_ns: int,
    delivered: int = 1,
) -> Outgoing:
    """An event about a task, ready to be published.

    Args:
        kind: what happened.
        payload: the task.
        body: the event's payload.
        worker_id: who says so.
        queued_ns: when the task was queued, in ns since 1970.
        delivered: how often the task was handed out: the history shows an attempt that a worker
            began and another had to begin again.
    """
    # step.started names its attempt always; results name it from the second dispatch on. The
    # number is the engine's, never the delivery count: a redelivery is not another attempt.
    number = payload.attempt or (1 if kind == EventType.STEP_STARTED else 0)
    event = Event(
        type=kind,
        run_id=payload.run_id,
        step_id=payload.step_id,
        timestamp=format_time(time.time_ns()),
        payload=body,
        trace_parent=payload.traceparent,
        trace_state=payload.tracestate,
        worker_id=worker_id,
        attempt_number=number,
    )
    headers = {TRACEPARENT: payload.traceparent} if payload.traceparent else {}
    msg_id = _msg_id(kind, payload, number, queued_ns)
    if kind == EventType.STEP_STARTED and delivered > 1:
        msg_id += f".again.{delivered}"
    return Outgoing(subjects.history(payload.run_id), encode(event), msg_id, headers)


def _msg_id(kind: EventType, payload: TaskPayload, number: int, queued_ns: int) -> str:
    run, step = payload.run_id, payload.step_id
    if kind == EventType.STEP_CONTINUE:
        # Iterations of other engines carry no attempt. The time the task was queued tells them
        # apart and is the same when the task is delivered again.
        return msgids.worker_continue(run, step, payload.iteration, queued_ns)
    return msgids.event(run, kind, step, number)
