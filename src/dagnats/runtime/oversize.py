"""What no message of the server can carry becomes a failure that says so, never a hang."""

from __future__ import annotations

from base64 import b64encode

from msgspec import Raw
from msgspec.structs import replace

from dagnats.engine import effects as fx
from dagnats.model.codec import ABSENT, decode, encode, raw
from dagnats.model.event import ChildPayload, EndPayload, Event, EventType, StartPayload
from dagnats.model.run import WorkflowRun
from dagnats.model.task import FailureType, StepFailedPayload
from dagnats.wire import subjects
from dagnats.wire.publisher import Outgoing

HEADER_ROOM = 8 * 1024
"""Bytes kept free for headers and subject: ``max_payload`` counts headers too."""


def fitting(event: Event, msg_id: str, limit: int) -> Outgoing:
    """An event for its run's history, or the failure to which it leads if it is too large.

    Args:
        event: what happened.
        msg_id: its message id.
        limit: the server's ``max_payload`` in bytes.
    """
    data = encode(event)
    if len(data) > limit - HEADER_ROOM:
        event = _instead(event, f"{event.type} of {_too_large(len(data), limit)}")
        data = encode(event)
    return Outgoing(subjects.history(event.run_id), data, msg_id)


def task_refused(effect: fx.Dispatch, size: int, limit: int) -> Outgoing:
    """The failure of a step whose task is too large."""
    payload = effect.payload
    event = _step_failed(
        payload.run_id, payload.step_id, payload.attempt, f"task input of {_too_large(size, limit)}"
    )
    return fitting(event, f"{effect.msg_id}.too_large", limit)


def without_input(effect: fx.BuryTask, size: int, limit: int) -> fx.BuryTask:
    """A dead letter that can be stored; a replay takes the input from the run."""
    error = f"{effect.error} (input left out: {_too_large(size, limit)})"
    return replace(effect, payload=replace(effect.payload, input=Raw(b"null")), error=error)


def answer_refused(size: int, limit: int) -> bytes:
    """The answer to an HTTP caller instead of one that is too large."""
    body = f"answer of {_too_large(size, limit)}\n".encode()
    answer = {"status": 500, "content_type": "text/plain", "body": b64encode(body).decode()}
    return encode(answer)


def overflow(snapshot: WorkflowRun, size: int, limit: int) -> Event:
    """The end of a run that is too large to be kept, for what the machine does not count."""
    error = f"the run's snapshot of {_too_large(size, limit)}"
    return Event(
        type=EventType.WORKFLOW_OVERFLOW.value,
        run_id=snapshot.run_id,
        payload=raw(EndPayload(error=error)),
    )


def without_outputs(snapshot: WorkflowRun) -> WorkflowRun:
    """A copy that can be stored. The outputs are in the history."""
    steps = {
        step_id: replace(state, output=b"", input=ABSENT, map_instances=[])
        for step_id, state in snapshot.steps.items()
    }
    return replace(snapshot, steps=steps)


def _too_large(size: int, limit: int) -> str:
    return f"{size} bytes exceeds the server's limit of {limit} bytes"


def _instead(event: Event, error: str) -> Event:
    match event.type:
        case EventType.CHILD_COMPLETED:
            done = decode(bytes(event.payload), ChildPayload)
            failed = replace(done, output=ABSENT, error=error)
            return replace(event, type=EventType.CHILD_FAILED.value, payload=raw(failed))
        case EventType.WORKFLOW_STARTED:
            return _child_refused(event, error)
        case EventType.WAIT_MATCHED | EventType.SLEEP_COMPLETED | EventType.STEP_COMPLETED:
            return _step_failed(event.run_id, event.step_id, event.attempt_number, error)
        case _:
            return replace(event, payload=ABSENT)  # A record for readers, or a request.


def _child_refused(event: Event, error: str) -> Event:
    start = decode(bytes(event.payload), StartPayload)
    if not start.parent_run_id:
        return replace(event, payload=ABSENT)  # Ends at once: nothing says what to run.
    failed = ChildPayload(
        child_run_id=event.run_id, error=error, parent_step_id=start.parent_step_id
    )
    return Event(
        type=EventType.CHILD_FAILED.value,
        run_id=start.parent_run_id,
        step_id=start.parent_step_id,
        payload=raw(failed),
    )


def _step_failed(run_id: str, step_id: str, attempt: int, error: str) -> Event:
    failure = StepFailedPayload(error=error, failure_type=FailureType.NON_RETRIABLE.value)
    return Event(
        type=EventType.STEP_FAILED.value,
        run_id=run_id,
        step_id=step_id,
        payload=raw(failure),
        attempt_number=attempt,
    )
