"""The one way a run ends, whatever the reason: once, completely, and with everybody told."""

from __future__ import annotations

from msgspec import Raw

from dagnats.engine import spawned
from dagnats.engine.attempt import release
from dagnats.engine.effects import (
    BindWorker,
    BuryTask,
    CancelTimers,
    DropWaiters,
    Emit,
    RecallTasks,
)
from dagnats.engine.inputs import run_outputs, step_input
from dagnats.engine.turn import NONCE_OF_STEP, Turn, message_id
from dagnats.model.codec import ABSENT, raw
from dagnats.model.event import ChildPayload, EndPayload, EventType
from dagnats.model.run import ACTIVE_STEP, DONE_STEP, RunStatus, StepStatus
from dagnats.model.task import TaskPayload
from dagnats.model.workflow import TASK_TYPES

DEADLINE = "__deadline"
"""Stands for a step id in the timer of the run's own deadline."""

_TERMINAL_EVENT = {
    RunStatus.COMPLETED: EventType.WORKFLOW_COMPLETED,
    RunStatus.CANCELLED: EventType.WORKFLOW_CANCELLED,
}


def end(turn: Turn, status: RunStatus, error: str = "", step_id: str = "") -> None:
    """End the run: record it, free what it holds, stop what it started, tell who waits.

    Args:
        turn: the turn that ends it.
        status: a terminal status.
        error: why, when it did not complete.
        step_id: the step that failed, if one did.
    """
    snapshot = turn.run.snapshot
    if status in (RunStatus.FAILED, RunStatus.COMPENSATE_FAILED):
        bury(turn, step_id, error)
    stop_active(turn, pending=status == RunStatus.CANCELLED)
    snapshot.status = status.value
    snapshot.completed_at = turn.stamp
    snapshot.error, snapshot.failed_step = error, step_id
    _free(turn)
    if status != RunStatus.COMPLETED:
        spawned.cancel(turn)
    _announce(turn, status)
    _tell_parent(turn, status)


def stop_active(turn: Turn, *, pending: bool = False) -> None:
    """Cancel every step that is under way (and with ``pending`` those that have not begun)."""
    run = turn.run
    nonces: list[str] = []
    for step_id, state in run.snapshot.steps.items():
        if state.status in ACTIVE_STEP:
            step = run.plan.steps[step_id]
            if step.type in TASK_TYPES and state.dispatch_nonce:
                nonces.append(state.dispatch_nonce[:NONCE_OF_STEP])
            release(turn, step, state)
        elif not (pending and state.status == StepStatus.PENDING):
            continue
        run.set_status(state, StepStatus.CANCELLED)
        state.finished_at, state.wake_at = turn.stamp, ""
    run.ready.clear()
    if nonces:
        turn.do(RecallTasks(run.id, tuple(nonces)))


def _free(turn: Turn) -> None:
    snapshot, flow = turn.run.snapshot, turn.env.flow
    definition = turn.run.plan.definition
    if snapshot.deadline:
        turn.do(CancelTimers(snapshot.run_id, DEADLINE))
    if definition.cancel_on:
        turn.do(DropWaiters(snapshot.run_id))
    if snapshot.sticky_worker:
        turn.do(BindWorker(snapshot.run_id))
    flow.drop_held(snapshot.workflow_id, snapshot.run_id)
    limited = definition.concurrency is not None and definition.concurrency.max_runs > 0
    if snapshot.singleton_key or limited:
        flow.leave(snapshot.workflow_id, snapshot.run_id, turn.seq)
    if snapshot.singleton_key:
        flow.unlock(snapshot.singleton_key, snapshot.run_id)
    for promoted in flow.release_run(snapshot.workflow_id, snapshot.run_id):
        event = turn.event_of(EventType.WORKFLOW_ADMITTED, run_id=promoted)
        turn.do(Emit(event, f"{message_id(event)}.{turn.seq}"))


def _announce(turn: Turn, status: RunStatus) -> None:
    if turn.event.type == EventType.WORKFLOW_CANCELLED and status == RunStatus.CANCELLED:
        return  # The request is the event.
    snapshot = turn.run.snapshot
    type_ = _TERMINAL_EVENT.get(status, EventType.WORKFLOW_FAILED)
    payload = ABSENT
    if status != RunStatus.COMPLETED:
        payload = raw(
            EndPayload(status=status.value, error=snapshot.error, step_id=snapshot.failed_step)
        )
    # A reopened run may end again; its second end must not look like a duplicate of the first.
    again = f".{turn.seq}" if snapshot.reopened else ""
    turn.emit(type_, payload=payload, msg_id=f"{snapshot.run_id}.{type_.value}{again}")


def _tell_parent(turn: Turn, status: RunStatus) -> None:
    snapshot = turn.run.snapshot
    if not snapshot.parent_run_id:
        return
    done = status == RunStatus.COMPLETED
    payload = ChildPayload(
        child_run_id=snapshot.run_id,
        error="" if done else snapshot.error or status.value,
        parent_step_id=snapshot.parent_step_id,
        output=run_outputs(turn.run) if done else ABSENT,
    )
    event = turn.event_of(
        EventType.CHILD_COMPLETED if done else EventType.CHILD_FAILED,
        snapshot.parent_step_id,
        run_id=snapshot.parent_run_id,
        payload=raw(payload),
    )
    turn.do(Emit(event, f"{message_id(event)}.{snapshot.run_id}"))


def bury(turn: Turn, step_id: str, error: str = "") -> None:
    """Write the dead letter of a failed step; of the first unfinished one if none is named."""
    run = turn.run
    step_id = step_id if step_id in run.plan.steps else _blocked(turn)
    step, state = run.plan.steps.get(step_id), run.snapshot.steps.get(step_id)
    if step is None or state is None:
        _bury_unstarted(turn, error)
        return
    payload = TaskPayload(
        task_id=f"{run.id}.{step_id}",
        run_id=run.id,
        step_id=step_id,
        attempt=state.attempts,
        input=_known_input(turn, step_id),
        workflow_name=run.snapshot.workflow_id,
    )
    turn.do(
        BuryTask(
            task=step.task or step.type,
            payload=payload,
            error=error or state.error,
            attempts=state.attempts,
            group=step.worker_group,
            msg_id=f"dlq:{run.id}:{step_id}:{state.dispatch}",
        )
    )


def _blocked(turn: Turn) -> str:
    states = turn.run.snapshot.steps
    active = (step_id for step_id, state in states.items() if state.status in ACTIVE_STEP)
    unfinished = (step_id for step_id, state in states.items() if state.status not in DONE_STEP)
    return next(active, "") or next(unfinished, "")


def _known_input(turn: Turn, step_id: str) -> Raw:
    kept = turn.run.state(step_id).input
    known = kept if bytes(kept) else step_input(turn.run, step_id)
    return known if bytes(known) else Raw(b"null")


def _bury_unstarted(turn: Turn, error: str) -> None:
    """A run that could not even start has no step; its dead letter stands for the workflow."""
    snapshot = turn.run.snapshot
    payload = TaskPayload(
        task_id=f"{snapshot.run_id}.workflow",
        run_id=snapshot.run_id,
        step_id="workflow",
        input=snapshot.input if bytes(snapshot.input) else Raw(b"null"),
        workflow_name=snapshot.workflow_id,
    )
    turn.do(
        BuryTask(
            task="workflow",
            payload=payload,
            error=error,
            attempts=0,
            group="",
            msg_id=f"dlq:{snapshot.run_id}:workflow:0",
        )
    )
