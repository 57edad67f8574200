"""The life of one attempt of a step: it begins, and it lets go of what it held."""

from __future__ import annotations

from dagnats.engine.effects import CancelTimers
from dagnats.engine.kind import StepError
from dagnats.engine.turn import Turn
from dagnats.model.event import Event
from dagnats.model.run import StepState, StepStatus
from dagnats.model.workflow import StepDef


def is_current(event: Event, dispatch: int) -> bool:
    """Whether a worker's event is about the dispatch in flight.

    The first dispatch sends no number, and a worker may fill in its delivery count instead
    (``wire.md`` 6.2), so any number is good for it; later dispatches must be named exactly.
    """
    return dispatch <= 1 or event.attempt_number == dispatch


def begin(turn: Turn, step_id: str, *, retry: bool = False) -> None:
    """Begin an attempt of a step; ``retry`` counts it as one more try of the same work.

    A step that cannot even begin is noted in ``turn.failed``.
    """
    run = turn.run
    state, step = run.state(step_id), run.plan.steps[step_id]
    state.dispatch += 1
    state.attempts = state.attempts + 1 if retry else 1
    run.set_status(state, StepStatus.QUEUED)
    state.queued_at, state.started_at, state.finished_at = turn.stamp, "", ""
    state.wake_at = ""
    try:
        turn.kinds[step.type].start(turn, step, state)
    except StepError as error:
        turn.failed.append((step_id, error))


def release(turn: Turn, step: StepDef, state: StepState) -> None:
    """The attempt in flight is over: free its slot, its timers, and what its kind holds."""
    if step.max_task_concurrency:
        turn.wake(turn.env.flow.release(step.task, turn.run.id, step.id), "slot")
    if step.timeout or step.queue_timeout or state.wake_at or turn.run.snapshot.sticky_worker:
        turn.do(CancelTimers(turn.run.id, step.id))
    turn.kinds[step.type].stop(turn, step, state)


def skip_step(turn: Turn, step_id: str, reason: str = "") -> None:
    """A step is left out; its children see it as done."""
    state = turn.run.state(step_id)
    turn.run.set_status(state, StepStatus.SKIPPED)
    state.finished_at = turn.stamp
    state.failure = reason
    turn.run.close(step_id)
