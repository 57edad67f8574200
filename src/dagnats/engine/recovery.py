"""A step has failed for good: its handler, the compensation of what was done, or the run's end.

The order is that of ``engine.md`` FAIL-20: a failing handler or compensator ends the run, else
``on_failure`` takes over, else compensation, else the run fails.
"""

from __future__ import annotations

from msgspec import Raw

from dagnats.engine.attempt import begin, skip_step
from dagnats.engine.ending import bury, end, stop_active
from dagnats.engine.turn import Turn
from dagnats.model.codec import decode, raw
from dagnats.model.event import CompensationContext, EventType, FailureContext
from dagnats.model.run import RunStatus, StepStatus

BY_RECOVERY = "recovery"
"""``failure`` of a step that was skipped because a step before it was recovered."""


def give_up(turn: Turn, step_id: str) -> None:
    """No try is left for a step."""
    run = turn.run
    state, step = run.state(step_id), run.plan.steps[step_id]
    run.set_status(state, StepStatus.FAILED)
    if step_id in run.plan.aux:
        _aux_failed(turn, step_id)
    elif step.on_failure:
        _handle(turn, step_id)
    elif run.snapshot.completion_order:
        _start_saga(turn, step_id)
    else:
        end(turn, RunStatus.FAILED, state.error, step_id)


def aux_completed(turn: Turn, step_id: str) -> None:
    """A handler or compensator has succeeded."""
    saga = turn.run.snapshot.saga_step
    if saga:
        turn.run.snapshot.completion_order.pop()
        turn.emit(EventType.COMPENSATE_STEP_COMPLETED, step_id, msg_id=_saga_id(turn, step_id))
        compensate_next(turn)
        return
    context = decode(bytes(turn.run.state(step_id).input) or b"{}", FailureContext)
    failed = turn.run.snapshot.steps.get(context.failed_step)
    # Unless somebody has completed or skipped it by hand meanwhile.
    if failed is not None and failed.status == StepStatus.FAILED:
        _recover(turn, context.failed_step)
    _handle_next(turn, step_id)


def _aux_failed(turn: Turn, step_id: str) -> None:
    state = turn.run.state(step_id)
    if turn.run.snapshot.saga_step:
        turn.emit(EventType.COMPENSATE_FAILED, step_id)
    end(turn, RunStatus.COMPENSATE_FAILED, f"compensation failed: {state.error}", step_id)


# --- on_failure ------------------------------------------------------------------------------


def _handle(turn: Turn, failed: str) -> None:
    run = turn.run
    handler = run.plan.steps[failed].on_failure
    state = run.state(handler)
    if state.status in (StepStatus.QUEUED, StepStatus.RUNNING):
        return  # It is busy with another failure, and takes this one next.
    context = FailureContext(failed_step=failed, error=run.state(failed).error)
    state.input = raw(context)
    state.output = b""
    begin(turn, handler)


def _handle_next(turn: Turn, handler: str) -> None:
    run = turn.run
    for step_id, step in run.plan.steps.items():
        if step.on_failure == handler and run.state(step_id).status == StepStatus.FAILED:
            _handle(turn, step_id)
            return


def _recover(turn: Turn, failed: str) -> None:
    """The failed step counts as done; what only it led to is skipped, all along the chain."""
    run = turn.run
    run.set_status(run.state(failed), StepStatus.RECOVERED)
    reached = [failed]
    while reached:
        step_id = reached.pop()
        for child in run.plan.children[step_id]:
            if run.state(child).status == StepStatus.PENDING and _all_cut_off(turn, child):
                skip_step(turn, child, BY_RECOVERY)
                reached.append(child)
    run.close(failed)


def _all_cut_off(turn: Turn, step_id: str) -> bool:
    states = (turn.run.state(parent) for parent in turn.run.plan.parents[step_id])
    return all(
        state.status == StepStatus.RECOVERED
        or (state.status == StepStatus.SKIPPED and state.failure == BY_RECOVERY)
        for state in states
    )


# --- compensation ----------------------------------------------------------------------------


def _start_saga(turn: Turn, failed: str) -> None:
    snapshot = turn.run.snapshot
    snapshot.saga_step = failed
    snapshot.failed_step, snapshot.error = failed, turn.run.state(failed).error
    bury(turn, failed)
    stop_active(turn)
    turn.emit(EventType.COMPENSATE_STARTED, failed)
    compensate_next(turn)


def compensate_next(turn: Turn) -> None:
    """Undo the step that was completed last; the run ends when none is left."""
    run, snapshot = turn.run, turn.run.snapshot
    if not snapshot.completion_order:
        turn.emit(EventType.COMPENSATE_COMPLETED)
        end(turn, RunStatus.COMPENSATED, snapshot.error, snapshot.failed_step)
        return
    original = snapshot.completion_order[-1]  # the last completed is undone first (FAIL-30)
    output = run.state(original).output
    compensator = run.plan.steps[original].compensate
    run.state(compensator).input = raw(
        CompensationContext(
            original_step=original,
            original_output=Raw(output or b"null"),
            trigger_step=snapshot.saga_step,
            trigger_error=run.state(snapshot.saga_step).error,
        )
    )
    begin(turn, compensator)


def _saga_id(turn: Turn, compensator: str) -> str:
    dispatch = turn.run.state(compensator).dispatch
    return f"{turn.run.id}.{compensator}.{EventType.COMPENSATE_STEP_COMPLETED}.{dispatch}"
