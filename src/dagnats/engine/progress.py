"""How a run moves on: steps end, and let others begin, until nothing is left to do."""

from __future__ import annotations

from dagnats.engine import recovery
from dagnats.engine.attempt import begin, release, skip_step
from dagnats.engine.effects import BindWorker
from dagnats.engine.ending import end
from dagnats.engine.failure import fail_step
from dagnats.engine.kind import StepError
from dagnats.engine.run import encoded
from dagnats.engine.turn import Turn
from dagnats.model.conditions import evaluate_skip
from dagnats.model.run import RunStatus, StepStatus
from dagnats.model.workflow import StepDef


def advance(turn: Turn) -> None:
    """Begin every step that can begin; end the run when nothing is left to do."""
    while True:
        if turn.failed:
            step_id, error = turn.failed.pop(0)
            fail_step(turn, step_id, error.reason, error.failure)
        elif _may_begin(turn):
            _begin_or_skip(turn, turn.run.next_ready())
        else:
            break
    if _forward(turn) and not turn.run.active and not turn.run.ready:
        _finish(turn)


def _forward(turn: Turn) -> bool:
    snapshot = turn.run.snapshot
    return snapshot.status == RunStatus.RUNNING and not snapshot.saga_step


def _may_begin(turn: Turn) -> bool:
    run = turn.run
    bounds = run.plan.definition.concurrency
    limit = bounds.max_steps if bounds else 0
    return bool(run.ready) and _forward(turn) and not (limit and run.active >= limit)


def _begin_or_skip(turn: Turn, step_id: str) -> None:
    if turn.run.state(step_id).status != StepStatus.PENDING:
        return
    if _skips(turn, turn.run.plan.steps[step_id]):
        skip_step(turn, step_id)
    else:
        begin(turn, step_id)


def _skips(turn: Turn, step: StepDef) -> bool:
    condition = step.skip_if
    if condition is None:
        return False
    return evaluate_skip(condition, turn.run.state(condition.step_id).output)


def _finish(turn: Turn) -> None:
    run = turn.run
    if not run.open:
        end(turn, RunStatus.COMPLETED)
        return
    # Only a definition that validation would refuse, or a step cancelled by hand, leads here.
    stuck = next(iter(run.waiting))
    reason = f'step "{stuck}" waits for a step that can never finish'
    end(turn, RunStatus.FAILED, reason, stuck)


def hold(turn: Turn, size: int) -> None:
    """Count ``size`` more bytes of the snapshot.

    Raises:
        StepError: the run cannot hold them; what could not be stored could not go on either.
    """
    limit, weight = turn.env.max_bytes, turn.run.weight + size
    if weight > limit:
        raise StepError(f"the run's outputs of {weight} bytes exceed its limit of {limit} bytes")
    turn.run.weight = weight


def complete_step(turn: Turn, step_id: str, output: bytes) -> None:
    """A step has succeeded with ``output`` (JSON, or nothing).

    Raises:
        StepError: the output is more than the run can hold.
    """
    hold(turn, encoded(len(output)))
    run = turn.run
    state, step = run.state(step_id), run.plan.steps[step_id]
    release(turn, step, state)
    run.set_status(state, StepStatus.COMPLETED)
    state.output = output
    state.error = state.failure = state.wake_at = ""
    state.finished_at = turn.stamp
    state.worker_id = turn.event.worker_id or state.worker_id
    _stick(turn)
    if step.compensate:
        run.snapshot.completion_order.append(step_id)
    if step_id in run.plan.aux:
        recovery.aux_completed(turn, step_id)
    else:
        run.close(step_id)


def _stick(turn: Turn) -> None:
    snapshot, worker = turn.run.snapshot, turn.event.worker_id
    if turn.run.plan.definition.sticky and worker and not snapshot.sticky_worker:
        snapshot.sticky_worker = worker
        turn.do(BindWorker(snapshot.run_id, worker))
