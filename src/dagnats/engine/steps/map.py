"""``map``: one task per element of the parent's output, results in order (``engine.md`` 6.3)."""

from __future__ import annotations

from msgspec import Raw, Struct

from dagnats.engine.attempt import is_current
from dagnats.engine.dispatch import Order, current_input, enqueue
from dagnats.engine.effects import CancelTimers
from dagnats.engine.failure import failure_of, retry_delay
from dagnats.engine.kind import StepError, StepKind
from dagnats.engine.progress import complete_step, hold
from dagnats.engine.run import ITEM_WEIGHT
from dagnats.engine.turn import NONCE_OF_STEP, Turn
from dagnats.errors import InvalidError
from dagnats.model.codec import decode, encode
from dagnats.model.event import DispatchPayload, EventType
from dagnats.model.run import MapInstance, StepState, StepStatus
from dagnats.model.task import FailureType
from dagnats.model.times import format_duration, format_time
from dagnats.model.workflow import MapConfig, StepDef

SEPARATOR = ".map."
"""Stands between the id of a map step and the index of an item."""


class Progress(Struct):
    """What a map step would have to work out anew for every item, kept beside the snapshot."""

    items: list[Raw]
    begun: int = 0
    done: int = 0


_OVER = frozenset({StepStatus.COMPLETED, StepStatus.FAILED})


def split_instance(step_id: str) -> tuple[str, int] | None:
    """The map step and the index an instance id names, or ``None``."""
    owner, separator, index = step_id.rpartition(SEPARATOR)
    if not separator or not index.isascii() or not index.isdigit() or len(index) > 6:
        return None
    return owner, int(index)


class MapStep(StepKind):
    """Completes with the array of its items' outputs; fails when an item fails for good."""

    def start(self, turn: Turn, step: StepDef, state: StepState) -> None:
        """Take the array apart and dispatch as many items as may run at once."""
        config = turn.run.plan.config(step.id, MapConfig)
        items = _items(turn, step, state, config)
        turn.run.set_status(state, StepStatus.RUNNING)
        state.dispatch_nonce = turn.env.nonce(turn.run.id, step.id, state.dispatch)
        state.started_at = turn.stamp
        hold(turn, ITEM_WEIGHT * len(items))
        earlier = max((item.dispatch for item in state.map_instances), default=0)
        state.map_instances = [MapInstance(earlier=earlier) for _ in items]
        turn.run.memo[step.id] = Progress(items)
        turn.emit(EventType.MAP_STARTED, step.id, attempt=state.dispatch)
        if not items:
            complete_step(turn, step.id, b"[]")
        for _ in range(min(config.max_concurrency or len(items), len(items))):
            _next(turn, step, state)

    def handle(self, turn: Turn, step: StepDef, state: StepState) -> None:
        """Take an event of one item."""
        found = split_instance(turn.event.step_id)
        if found is None or found[1] >= len(state.map_instances):
            return
        index = found[1]
        item = state.map_instances[index]
        # One that backs off has had its word.
        live = item.status not in _OVER and not item.wake_at
        if not (live and is_current(turn.event, item.dispatch)) and not _retry_due(turn, item):
            return
        _ITEM_EVENTS.get(EventType(turn.event.type), _ignore)(turn, step, state, index)

    def stop(self, turn: Turn, step: StepDef, state: StepState) -> None:
        """Give back the slots and timers of items that have not ended."""
        for index, item in enumerate(state.map_instances):
            if item.attempts and item.status not in _OVER:
                _release(turn, step, item, index)
        turn.run.memo.pop(step.id, None)


def _items(turn: Turn, step: StepDef, state: StepState, config: MapConfig) -> list[Raw]:
    given = bytes(current_input(turn, step, state)) or b"null"
    try:
        items = decode(given, list[Raw])
    except InvalidError:
        kind = "nothing" if given == b"null" else f"{given[:40].decode(errors='replace')}"
        raise StepError(f"map input is not an array: {kind}") from None
    if len(items) > config.max_items:
        raise StepError(f"map input has {len(items)} items (max {config.max_items})")
    return items


def _dispatch(turn: Turn, step: StepDef, state: StepState, index: int, item: Raw) -> None:
    instance = state.map_instances[index]
    instance.attempts += 1
    instance.status = StepStatus.QUEUED.value
    instance.wake_at = ""
    enqueue(turn, _order(turn, step, state, index, item))


def _order(turn: Turn, step: StepDef, state: StepState, index: int, item: Raw) -> Order:
    step_id = f"{step.id}{SEPARATOR}{index}"
    number = state.map_instances[index].dispatch
    cause = "queued" if number == 1 else f"retry_backoff.{number - 1}"
    return Order(
        step=step,
        step_id=step_id,
        dispatch=number,
        input=item,
        nonce=_nonce(turn, step, state, step_id, number),
        msg_id=f"{turn.run.id}.{step_id}.{cause}",
        instance=True,
    )


def _nonce(turn: Turn, step: StepDef, state: StepState, step_id: str, number: int) -> str:
    of_step = turn.env.nonce(turn.run.id, step.id, state.dispatch)[:NONCE_OF_STEP]
    return of_step + turn.env.nonce(turn.run.id, step_id, number, size=16)


def _progress(turn: Turn, step: StepDef, state: StepState) -> Progress:
    known = turn.run.memo.get(step.id)
    if isinstance(known, Progress):
        return known
    items = decode(bytes(current_input(turn, step, state)), list[Raw])
    begun = sum(item.attempts > 0 for item in state.map_instances)
    done = sum(item.status == StepStatus.COMPLETED for item in state.map_instances)
    made = turn.run.memo[step.id] = Progress(items, begun, done)
    return made


def _next(turn: Turn, step: StepDef, state: StepState) -> None:
    """Dispatch the next item that has not begun, if one is left."""
    progress = _progress(turn, step, state)
    if progress.begun < len(progress.items):
        index, progress.begun = progress.begun, progress.begun + 1
        _dispatch(turn, step, state, index, progress.items[index])


def _release(turn: Turn, step: StepDef, item: MapInstance, index: int) -> None:
    step_id = f"{step.id}{SEPARATOR}{index}"
    if step.max_task_concurrency:
        turn.wake(turn.env.flow.release(step.task, turn.run.id, step_id), "slot")
    if step.timeout or step.queue_timeout or item.wake_at:
        turn.do(CancelTimers(turn.run.id, step_id))


# --- events of one item ----------------------------------------------------------------------


def _ignore(turn: Turn, step: StepDef, state: StepState, index: int) -> None:
    del turn, step, state, index


def _retry_due(turn: Turn, item: MapInstance) -> bool:
    return (
        turn.event.type == EventType.STEP_DISPATCH
        and bool(item.wake_at)
        and turn.event.attempt_number == item.dispatch + 1
    )


def _started(turn: Turn, step: StepDef, state: StepState, index: int) -> None:
    item = state.map_instances[index]
    item.status = StepStatus.RUNNING.value
    if step.timeout > 0:
        event = turn.event_of(EventType.STEP_TIMEOUT, turn.event.step_id, attempt=item.dispatch)
        msg_id = f"{turn.run.id}.{turn.event.step_id}.step_timeout.{item.dispatch}"
        turn.timer("timeout", turn.now + step.timeout, event, msg_id)


def _completed(turn: Turn, step: StepDef, state: StepState, index: int) -> None:
    progress, item = _progress(turn, step, state), state.map_instances[index]
    output = bytes(turn.event.payload) or b"null"
    hold(turn, len(output))
    _release(turn, step, item, index)
    item.status, item.error, item.wake_at = StepStatus.COMPLETED.value, "", ""
    item.output = Raw(output)
    progress.done += 1
    if progress.done == len(state.map_instances):
        outputs = [instance.output for instance in state.map_instances]
        complete_step(turn, step.id, encode(outputs))
    elif turn.run.plan.config(step.id, MapConfig).max_concurrency:
        _next(turn, step, state)


def _failed(turn: Turn, step: StepDef, state: StepState, index: int) -> None:
    failure = failure_of(turn.event)
    _item_failed(turn, step, state, index, failure.error, failure.failure_type, failure.delay)


def _timed_out(turn: Turn, step: StepDef, state: StepState, index: int) -> None:
    gate = decode(bytes(turn.event.payload) or b"{}", DispatchPayload).gate
    if gate == "queue" and state.map_instances[index].status != StepStatus.QUEUED:
        return
    what, limit = ("queue", step.queue_timeout) if gate == "queue" else ("step", step.timeout)
    reason = f"{what} timeout exceeded ({format_duration(limit)})"
    _item_failed(turn, step, state, index, reason, FailureType.RETRIABLE, 0)


def _item_failed(
    turn: Turn,
    step: StepDef,
    state: StepState,
    index: int,
    error: str,
    failure: str,
    retry_after: int,
) -> None:
    item, step_id = state.map_instances[index], f"{step.id}{SEPARATOR}{index}"
    _release(turn, step, item, index)
    item.error = error
    delay = retry_delay(turn, step, item.attempts, failure, retry_after, step_id)
    if delay is None:
        item.status = StepStatus.FAILED.value
        raise StepError(f"map instance {index} failed: {error}")
    item.status = StepStatus.RUNNING.value
    item.wake_at = format_time(turn.now + delay)
    event = turn.event_of(EventType.STEP_DISPATCH, step_id, attempt=item.dispatch + 1)
    msg_id = f"{turn.run.id}.{step_id}.retry.{item.dispatch}"
    turn.timer("retry", turn.now + delay, event, msg_id)


def _redispatch(turn: Turn, step: StepDef, state: StepState, index: int) -> None:
    item = _progress(turn, step, state).items[index]
    if _retry_due(turn, state.map_instances[index]):
        _dispatch(turn, step, state, index, item)
        return
    payload = decode(bytes(turn.event.payload) or b"{}", DispatchPayload)
    if state.map_instances[index].status == StepStatus.QUEUED and payload.gate:
        enqueue(turn, _order(turn, step, state, index, item), after=payload.gate)


_ITEM_EVENTS = {
    EventType.STEP_STARTED: _started,
    EventType.STEP_COMPLETED: _completed,
    EventType.STEP_FAILED: _failed,
    EventType.STEP_TIMEOUT: _timed_out,
    EventType.STEP_DISPATCH: _redispatch,
}
