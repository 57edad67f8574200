"""What an operator does to a run by hand: replay a dead letter, override a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from dagnats.engine import recovery
from dagnats.engine.attempt import begin, release, skip_step
from dagnats.engine.kind import StepError
from dagnats.engine.progress import complete_step
from dagnats.engine.starting import admit
from dagnats.engine.turn import Turn
from dagnats.errors import InvalidError
from dagnats.model.codec import decode, is_absent
from dagnats.model.event import OverridePayload, ReopenPayload
from dagnats.model.run import ACTIVE_STEP, DONE_STEP, RunStatus, StepState, StepStatus

P = TypeVar("P")

REOPENABLE = frozenset({RunStatus.FAILED, RunStatus.COMPENSATE_FAILED})


def reopen(turn: Turn) -> None:
    """A dead letter was replayed: a failed run goes on at the step that failed.

    What the failure stopped starts over; what was completed stays.
    """
    run, snapshot, step_id = turn.run, turn.run.snapshot, turn.event.step_id
    if snapshot.status not in REOPENABLE or not snapshot.steps:
        return
    payload = _payload(turn, ReopenPayload) or ReopenPayload()
    undone = snapshot.saga_step
    for each, state in snapshot.steps.items():
        stopped = state.status in (StepStatus.CANCELLED, StepStatus.FAILED)
        if stopped and (not undone or each in run.plan.aux):
            _reset(state)
    if step_id in snapshot.steps and not is_absent(payload.input):
        snapshot.steps[step_id].input = payload.input
    snapshot.completed_at = snapshot.deadline = ""
    snapshot.failed_step = undone
    snapshot.error = run.state(undone).error if undone else ""
    snapshot.reopened += 1
    snapshot.status = RunStatus.PENDING.value
    run.derive()
    let_in(turn)


def let_in(turn: Turn) -> None:
    """Give a waiting run its slot, if there is one. What was being undone goes on being undone."""
    admit(turn)
    snapshot = turn.run.snapshot
    if snapshot.saga_step and snapshot.status == RunStatus.RUNNING:
        recovery.compensate_next(turn)


def _reset(state: StepState) -> None:
    """A step that starts over keeps its dispatch number, so that late results stay late."""
    state.status = StepStatus.PENDING.value
    state.attempts = state.iterations = 0
    state.error = state.failure = state.wake_at = state.child_run_id = ""
    state.started_at = state.finished_at = state.queued_at = ""
    state.map_instances = [item.anew() for item in state.map_instances]


def override(turn: Turn) -> None:
    """An operator completes, fails, skips, retries or cancels a step of a live run."""
    payload, step_id = _payload(turn, OverridePayload), turn.event.step_id
    if payload is None or turn.run.step(step_id) is None:
        return
    action, status = _ACTIONS.get(payload.action), turn.run.state(step_id).status
    if action is not None and status not in DONE_STEP and _has_a_say(turn, step_id):
        action(turn, step_id, payload)


def _has_a_say(turn: Turn, step_id: str) -> bool:
    """Handlers and compensators have a place in the run while they are under way, others until
    what they did is being undone.
    """
    if step_id in turn.run.plan.aux:
        return turn.run.state(step_id).status in ACTIVE_STEP
    return not turn.run.snapshot.saga_step


def _complete(turn: Turn, step_id: str, payload: OverridePayload) -> None:
    try:
        complete_step(turn, step_id, bytes(payload.output))
    except StepError as error:
        turn.failed.append((step_id, error))


def _fail(turn: Turn, step_id: str, payload: OverridePayload) -> None:
    _stop(turn, step_id)
    state = turn.run.state(step_id)
    state.error = f"failed by {payload.actor or 'operator'}: {payload.reason}"
    state.failure, state.finished_at = "override", turn.stamp
    recovery.give_up(turn, step_id)


def _skip(turn: Turn, step_id: str, payload: OverridePayload) -> None:
    del payload
    _stop(turn, step_id)
    skip_step(turn, step_id)
    if step_id in turn.run.plan.aux:
        recovery.aux_completed(turn, step_id)  # As if it had been done: what waits for it goes on.


def _retry(turn: Turn, step_id: str, payload: OverridePayload) -> None:
    del payload
    state = turn.run.state(step_id)
    if state.status in ACTIVE_STEP:
        _stop(turn, step_id)
        begin(turn, step_id)


def _cancel(turn: Turn, step_id: str, payload: OverridePayload) -> None:
    _stop(turn, step_id)
    state = turn.run.state(step_id)
    state.error = f"cancelled by {payload.actor or 'operator'}: {payload.reason}"
    state.failure, state.finished_at = "cancelled", turn.stamp
    recovery.give_up(turn, step_id)


def _stop(turn: Turn, step_id: str) -> None:
    state = turn.run.state(step_id)
    if state.status in ACTIVE_STEP:
        release(turn, turn.run.plan.steps[step_id], state)


_ACTIONS: dict[str, Callable[[Turn, str, OverridePayload], None]] = {
    "complete": _complete,
    "fail": _fail,
    "skip": _skip,
    "retry": _retry,
    "cancel": _cancel,
}


def _payload(turn: Turn, kind: type[P]) -> P | None:
    try:
        return decode(bytes(turn.event.payload) or b"{}", kind)
    except InvalidError:
        return None
