"""Effects of the machine as messages for streams and buckets."""

from __future__ import annotations

from dagnats.engine import effects as fx
from dagnats.model.codec import encode, raw
from dagnats.model.event import Event, EventType
from dagnats.model.task import FailureType, StepFailedPayload
from dagnats.wire import subjects
from dagnats.wire.publisher import Outgoing
from dagnats.wire.stores import Stores


def event_message(event: Event, msg_id: str) -> Outgoing:
    """An event for its run's history."""
    return Outgoing(subjects.history(event.run_id), encode(event), msg_id)


def stored(effect: fx.Effect, stores: Stores) -> list[Outgoing]:
    """The messages an effect needs acknowledged before its event may be."""
    match effect:
        case fx.Emit():
            return [event_message(effect.event, effect.msg_id)]
        case fx.Dispatch():
            return [_task(effect, stores.bus.max_payload)]
        case fx.BuryTask():
            return [_dead_letter(effect)]
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


def told(effect: fx.Effect) -> tuple[str, bytes] | None:
    """The core message an effect asks for: whoever listens now may hear it."""
    match effect:
        case fx.OpenApproval():
            return effect.subject, effect.request
        case fx.Respond():
            return subjects.http_response(effect.run_id), bytes(effect.response)
        case fx.RecallTasks():
            return subjects.cancelled(effect.run_id), effect.step_id.encode()
        case _:
            return None


def _task(effect: fx.Dispatch, limit: int) -> Outgoing:
    payload, data = effect.payload, encode(effect.payload)
    if len(data) > limit:
        return _too_large(effect, len(data), limit)
    if effect.worker:
        subject = subjects.sticky(effect.task, effect.worker, payload.run_id)
    else:
        subject = subjects.task(effect.task, payload.run_id, effect.group)
    return Outgoing(subject, data, effect.msg_id)


def _too_large(effect: fx.Dispatch, size: int, limit: int) -> Outgoing:
    """A task that no message can carry is a failure of its step, not of the engine."""
    failure = StepFailedPayload(
        error=f"task input of {size} bytes exceeds the server's limit of {limit} bytes",
        failure_type=FailureType.NON_RETRIABLE.value,
    )
    event = Event(
        type=EventType.STEP_FAILED.value,
        run_id=effect.payload.run_id,
        step_id=effect.payload.step_id,
        payload=raw(failure),
        attempt_number=effect.payload.attempt,
    )
    return event_message(event, f"{effect.msg_id}.too_large")


def _dead_letter(effect: fx.BuryTask) -> Outgoing:
    """``wire.md`` 10.1."""
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
    return Outgoing(subject, encode(payload), effect.msg_id, headers)


def poison_letter(data: bytes, seq: int, delivered: int, error: str) -> Outgoing:
    """The dead letter of an event that cannot be processed (``wire.md`` 10.2)."""
    headers = {
        "Dagnats-Dlq-Error": " ".join(error.split())[:4096].encode("ascii", "replace").decode(),
        "Dagnats-Dlq-Delivery-Count": str(delivered),
        "Dagnats-Dlq-Consumer": "WORKFLOW_HISTORY",
    }
    subject = subjects.dead_history("unmarshal-failed", "unknown")
    return Outgoing(subject, data, f"dlq:history:{seq}", headers)
