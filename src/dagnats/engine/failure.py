"""A step has failed: try again, or give up (``engine.md`` 7)."""

from __future__ import annotations

from msgspec import Struct

from dagnats.engine import recovery
from dagnats.engine.attempt import release
from dagnats.engine.turn import Turn
from dagnats.errors import InvalidError
from dagnats.model.codec import decode
from dagnats.model.event import Event, EventType
from dagnats.model.retry import delay_ns
from dagnats.model.run import StepState, StepStatus
from dagnats.model.task import FailureType, StepFailedPayload
from dagnats.model.times import HOUR, MILLISECOND, format_time
from dagnats.model.workflow import StepDef

RETRY_AFTER_MIN = 100 * MILLISECOND
RETRY_AFTER_MAX = HOUR
"""Bounds on a delay that a worker asks for (FAIL-5)."""


class Failure(Struct):
    """A worker's failure, read leniently: ``delay`` is what it asked for, in ns."""

    error: str
    failure_type: str
    delay: int


def failure_of(event: Event) -> Failure:
    """What a ``step.failed`` event says (``wire.md`` 6.3): any payload is a failure of a kind."""
    data = bytes(event.payload)
    try:
        payload = decode(data, StepFailedPayload) if data else StepFailedPayload()
    except InvalidError:
        payload = StepFailedPayload()
    error = payload.error or _bare_text(data)
    kind = payload.failure_type or FailureType.RETRIABLE.value
    return Failure(error, kind, payload.retry_after_ms * MILLISECOND)


def _bare_text(data: bytes) -> str:
    try:
        return decode(data, str)
    except InvalidError:
        return data.decode(errors="replace")


def fail_step(turn: Turn, step_id: str, error: str, failure: str, retry_after: int = 0) -> None:
    """An attempt has failed with ``error``; ``retry_after`` (ns) is what a worker asked for."""
    run = turn.run
    state, step = run.state(step_id), run.plan.steps[step_id]
    release(turn, step, state)
    state.error, state.failure = error, failure
    state.finished_at = turn.stamp
    delay = retry_delay(turn, step, state.attempts, failure, retry_after, step_id)
    if delay is None:
        recovery.give_up(turn, step_id)
    else:
        _back_off(turn, step, state, delay)


def retry_delay(
    turn: Turn, step: StepDef, attempts: int, failure: str, retry_after: int, step_id: str
) -> int | None:
    """How long to wait before the next try (ns); ``None`` when there is none.

    ``max_attempts`` counts retries: a step with n executes at most n + 1 times (FAIL-3).
    """
    policy = turn.run.plan.retry_policy(step)
    if policy is None or failure == FailureType.NON_RETRIABLE or attempts > policy.max_attempts:
        return None
    if failure == FailureType.RETRY_AFTER:
        return min(max(retry_after, RETRY_AFTER_MIN), RETRY_AFTER_MAX)
    digits = turn.env.nonce(turn.run.id, step_id, attempts, size=8)
    return delay_ns(policy, attempts, int(digits, 16) / 0xFFFFFFFF)


def _back_off(turn: Turn, step: StepDef, state: StepState, delay: int) -> None:
    turn.run.set_status(state, StepStatus.RUNNING)
    due = turn.now + delay
    state.wake_at = format_time(due)
    event = turn.event_of(EventType.STEP_DISPATCH, step.id, attempt=state.dispatch + 1)
    msg_id = f"{turn.run.id}.{step.id}.retry.{state.dispatch}"
    turn.timer("retry", due, event, msg_id)
