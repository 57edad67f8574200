"""Effects of the machine as messages for streams and buckets."""

from __future__ import annotations

from dagnats.engine import effects as fx
from dagnats.model.codec import encode
from dagnats.model.event import Event
from dagnats.runtime.oversize import (
    HEADER_ROOM,
    answer_refused,
    fitting,
    task_refused,
    without_input,
)
from dagnats.telemetry.context import TRACEPARENT
from dagnats.wire import subjects
from dagnats.wire.publisher import Outgoing
from dagnats.wire.stores import Stores


def event_message(event: Event, msg_id: str) -> Outgoing:
    """An event for its run's history."""
    return Outgoing(subjects.history(event.run_id), encode(event), msg_id)


def stored(effect: fx.Effect, stores: Stores) -> list[Outgoing]:
    """The messages an effect needs acknowledged before its event may be."""
    limit = stores.bus.max_payload
    match effect:
        case fx.Emit():
            return [fitting(effect.event, effect.msg_id, limit)]
        case fx.Dispatch():
            return [_task(effect, limit)]
        case fx.BuryTask():
            return [_dead_letter(effect, limit)]
        case fx.OpenApproval():
            key = f"{effect.token.run_id}.{effect.token.step_id}"
            return [stores.approvals.message(key, effect.token)]
        case fx.CloseApproval():
            return [stores.approvals.erasure(f"{effect.run_id}.{effect.step_id}")]
        case fx.BindWorker():
            if effect.worker_id:
                return [stores.sticky.message(effect.run_id, effect.worker_id)]
            return [stores.sticky.erasure(effect.run_id)]
        case _:
            return []


def told(effect: fx.Effect, limit: int) -> tuple[str, bytes] | None:
    """The core message an effect asks for: whoever listens now may hear it."""
    match effect:
        case fx.OpenApproval() if len(effect.request) <= limit:
            return effect.subject, effect.request
        case fx.Respond():
            answer = bytes(effect.response)
            if len(answer) > limit:
                answer = answer_refused(len(answer), limit)
            return subjects.http_response(effect.run_id), answer
        case fx.RecallTasks():
            # One that does not fit is left out: the results are ignored, the work is in vain.
            body = " ".join(effect.nonces).encode()
            return (subjects.cancelled(effect.run_id), body) if len(body) <= limit else None
        case _:
            return None


def _task(effect: fx.Dispatch, limit: int) -> Outgoing:
    payload, data = effect.payload, encode(effect.payload)
    if len(data) > limit - HEADER_ROOM:
        return task_refused(effect, len(data), limit)
    if effect.worker:
        subject = subjects.sticky(effect.task, effect.worker, payload.run_id)
    else:
        subject = subjects.task(effect.task, payload.run_id, effect.group)
    headers = {TRACEPARENT: payload.traceparent} if payload.traceparent else {}
    return Outgoing(subject, data, effect.msg_id, headers)


def _dead_letter(effect: fx.BuryTask, limit: int) -> Outgoing:
    """``wire.md`` 10.1."""
    data = encode(effect.payload)
    if len(data) > limit - HEADER_ROOM:
        return _dead_letter(without_input(effect, len(data), limit), limit)
    payload = effect.payload
    attempts = str(effect.attempts)
    headers = {
        "Dagnats-Dlq-Run-Id": payload.run_id,
        "Dagnats-Dlq-Step-Id": payload.step_id,
        "Dagnats-Dlq-Task": effect.task,
        # Header values end at a line break, and must stay small beside the body.
        "Dagnats-Dlq-Error": " ".join(effect.error.split())[:4096]
        .encode("ascii", "replace")
        .decode(),
        "Dagnats-Dlq-Attempts": attempts,
        "Dagnats-Dlq-Delivery-Count": attempts,
        "Dagnats-Dlq-Consumer": "TASK_QUEUES",
        "Dagnats-Dlq-Task-Subject": subjects.task(effect.task, payload.run_id, effect.group),
    }
    subject = subjects.dead(effect.task, payload.run_id, payload.step_id)
    return Outgoing(subject, data, effect.msg_id, headers)


def poison_letter(data: bytes, seq: int, delivered: int, error: str, limit: int) -> Outgoing:
    """The dead letter of an event that cannot be processed (``wire.md`` 10.2)."""
    if len(data) > limit - HEADER_ROOM:
        data, error = b"", f"{error} (event {seq} of {len(data)} bytes left out)"
    headers = {
        "Dagnats-Dlq-Error": " ".join(error.split())[:4096].encode("ascii", "replace").decode(),
        "Dagnats-Dlq-Delivery-Count": str(delivered),
        "Dagnats-Dlq-Consumer": "WORKFLOW_HISTORY",
    }
    subject = subjects.dead_history("unmarshal-failed", "unknown")
    return Outgoing(subject, data, f"dlq:history:{seq}", headers)
