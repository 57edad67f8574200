"""From a step that may start to a task in a queue, past every gate that can hold it.

The order is pause, slot, rate: a token is taken last, so that the rate bounds real starts.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Raw, Struct

from dagnats.engine.effects import Dispatch
from dagnats.engine.flow import SlotWait
from dagnats.engine.inputs import step_input
from dagnats.engine.kind import StepError
from dagnats.engine.turn import Turn
from dagnats.model.codec import parse_json, raw
from dagnats.model.event import DispatchPayload, EventType
from dagnats.model.gotext import go_text
from dagnats.model.paths import PathError, lookup
from dagnats.model.run import StepState
from dagnats.model.task import TaskPayload
from dagnats.model.times import SECOND
from dagnats.model.workflow import KeyedRateLimit, RateLimit, StepDef, StepType

PAUSE, SLOT, RATE, STICKY, LOOP = "pause", "slot", "rate", "sticky", "loop"
STICKY_FALLBACK = 5 * SECOND
"""How long a soft-sticky task waits for its worker before any worker may have it (FLOW-71)."""

CONTROL_PLANE = "control-plane"
_QUEUED_EVENT = frozenset({StepType.NORMAL, StepType.AGENT_LOOP})


class Order(Struct):
    """A task to be handed out: of a step, or of one item of a map step."""

    step: StepDef
    step_id: str
    dispatch: int
    input: Raw
    nonce: str
    iteration: int = 0
    msg_id: str = ""
    instance: bool = False


def order_of(turn: Turn, step: StepDef, state: StepState) -> Order:
    """The order for the current dispatch of an ordinary task step."""
    run_id = turn.run.id
    state.dispatch_nonce = turn.env.nonce(run_id, step.id, state.dispatch)
    return Order(
        step=step,
        step_id=step.id,
        dispatch=state.dispatch,
        input=current_input(turn, step, state),
        nonce=state.dispatch_nonce,
        iteration=state.iterations,
        msg_id=f"{run_id}.{step.id}.{_cause(state)}",
    )


def current_input(turn: Turn, step: StepDef, state: StepState) -> Raw:
    """The input kept for this dispatch, else the one the dependencies determine."""
    return state.input if bytes(state.input) else step_input(turn.run, step.id)


def _cause(state: StepState) -> str:
    if state.dispatch == 1:
        return "queued"
    if state.iterations and state.attempts == 1:
        return f"continue.{state.iterations}.{state.dispatch}"
    return f"retry_backoff.{state.dispatch - 1}"


def enqueue(turn: Turn, order: Order, after: str = "") -> None:
    """Take the order through the gates behind ``after``; what a gate holds comes back as an event.

    Raises:
        StepError: the rate limit's key cannot be found in the input.
    """
    bucket = _bucket(order)  # First: what is wrong with it shows whatever holds the task.
    workflow = turn.run.snapshot.workflow_id
    wait = SlotWait(turn.run.id, order.step_id, order.dispatch, order.step.max_task_concurrency)
    if after == "" and turn.env.flow.is_paused(workflow):
        turn.env.flow.hold(workflow, wait)
        return
    if after in ("", PAUSE) and wait.limit and not turn.env.flow.acquire(order.step.task, wait):
        return
    if after in ("", PAUSE, SLOT) and bucket is not None and _rate_holds(turn, order, bucket):
        return
    _publish(turn, order)


class _Bucket(NamedTuple):
    key: str
    limit: RateLimit | KeyedRateLimit
    units: int


def _bucket(order: Order) -> _Bucket | None:
    """Which tokens a task needs, and how many."""
    step = order.step
    if step.keyed_rate_limit is not None:
        key = f"{step.task}.{_rate_key(order, step.keyed_rate_limit.key)}"
        return _Bucket(key, step.keyed_rate_limit, max(1, step.keyed_rate_limit.units))
    return _Bucket(f"{step.task}._global", step.rate_limit, 1) if step.rate_limit else None


def _rate_holds(turn: Turn, order: Order, bucket: _Bucket) -> bool:
    due = turn.env.flow.reserve(bucket.key, bucket.limit, bucket.units, turn.wall)
    if due <= turn.wall:
        return False
    event = turn.event_of(
        EventType.STEP_DISPATCH,
        order.step_id,
        payload=raw(DispatchPayload(gate=RATE)),
        attempt=order.dispatch,
    )
    turn.timer("rate", due, event, f"{turn.run.id}.{order.step_id}.rate.{order.dispatch}")
    return True


def _rate_key(order: Order, path: str) -> str:
    try:
        return go_text(lookup(parse_json(bytes(order.input) or b"null"), path))
    except PathError as error:
        raise StepError(f"rate limit key: {error}") from None


def _publish(turn: Turn, order: Order) -> None:
    run, step = turn.run, order.step
    snapshot = run.snapshot
    if order.dispatch == 1 and step.type in _QUEUED_EVENT and not order.instance:
        turn.emit(EventType.STEP_QUEUED, order.step_id, attempt=1)
    payload = TaskPayload(
        task_id=f"{run.id}.{order.step_id}",
        run_id=run.id,
        step_id=order.step_id,
        iteration=order.iteration,
        attempt=order.dispatch if order.dispatch > 1 else 0,
        input=order.input,
        metadata=step.metadata,
        required_capabilities=_capabilities(turn, order),
        dispatch_nonce=order.nonce,
        workflow_name=snapshot.workflow_id,
        traceparent=snapshot.trace_parent,
    )
    worker = "" if order.instance or step.worker_group else snapshot.sticky_worker
    msg_id = f"{order.msg_id}.sticky" if worker else order.msg_id
    turn.do(Dispatch(payload, step.task, msg_id, group=step.worker_group, worker=worker))
    if worker and run.plan.definition.sticky == "soft":
        _arm_fallback(turn, order)
    if step.queue_timeout:
        _arm_queue_timeout(turn, order)


def _capabilities(turn: Turn, order: Order) -> list[str]:
    wanted = order.step.required_capabilities
    if CONTROL_PLANE not in wanted:
        return wanted
    if not order.instance and turn.env.granted(turn.run.snapshot.workflow_id):
        return wanted
    return [name for name in wanted if name != CONTROL_PLANE]


def _arm_fallback(turn: Turn, order: Order) -> None:
    event = turn.event_of(
        EventType.STEP_DISPATCH,
        order.step_id,
        payload=raw(DispatchPayload(gate=STICKY)),
        attempt=order.dispatch,
    )
    msg_id = f"{turn.run.id}.{order.step_id}.sticky.{order.dispatch}"
    turn.timer("sticky", turn.now + STICKY_FALLBACK, event, msg_id)


def _arm_queue_timeout(turn: Turn, order: Order) -> None:
    event = turn.event_of(
        EventType.STEP_TIMEOUT,
        order.step_id,
        payload=raw(DispatchPayload(gate="queue")),
        attempt=order.dispatch,
    )
    msg_id = f"{turn.run.id}.{order.step_id}.queue_timeout.{order.dispatch}"
    turn.timer("queue", turn.now + order.step.queue_timeout, event, msg_id)
