"""``agent_loop``: a task that may ask for another iteration (``engine.md`` 6.2)."""

from __future__ import annotations

from dagnats.engine.attempt import release
from dagnats.engine.dispatch import LOOP, enqueue, order_of
from dagnats.engine.kind import StepError, StepKind
from dagnats.engine.turn import Turn
from dagnats.model.codec import ABSENT, is_absent, raw
from dagnats.model.event import DispatchPayload, EventType
from dagnats.model.run import StepState, StepStatus
from dagnats.model.times import ZERO_TIME, format_duration, format_time, read_time
from dagnats.model.workflow import AgentLoopConfig, StepDef


class LoopStep(StepKind):
    """Runs its task again and again until it completes, fails, or meets a bound."""

    def start(self, turn: Turn, step: StepDef, state: StepState) -> None:
        """Queue the task of the current iteration."""
        enqueue(turn, order_of(turn, step, state))

    def handle(self, turn: Turn, step: StepDef, state: StepState) -> None:
        """A worker asked for the next iteration (LOOP-1..4)."""
        if turn.event.type != EventType.STEP_CONTINUE or not _is_of_this_iteration(turn, state):
            return
        config = turn.run.plan.config(step.id, AgentLoopConfig)
        state.iterations += 1
        if state.loop_started_at == ZERO_TIME:
            state.loop_started_at = state.started_at or turn.stamp
        _check_bounds(turn, config, state)
        _keep_input(turn, step, state)
        release(turn, step, state)
        if config.loop_delay > 0:
            _sleep(turn, step, state, config.loop_delay)
        else:
            iterate(turn, step, state)


def _is_of_this_iteration(turn: Turn, state: StepState) -> bool:
    """Whether the dispatch in flight asks: once is enough (LOOP-8).

    Workers of other makes send no number (``wire.md`` 6.3); from them it counts once a later
    iteration has been started.
    """
    if state.dispatch <= 1:
        return True
    number = turn.event.attempt_number
    return number == state.dispatch or (not number and state.status == StepStatus.RUNNING)


def iterate(turn: Turn, step: StepDef, state: StepState) -> None:
    """Dispatch the next iteration; it has the whole retry budget to itself."""
    state.dispatch += 1
    state.attempts = 1
    state.wake_at = state.started_at = ""
    turn.run.set_status(state, StepStatus.QUEUED)
    state.queued_at = turn.stamp
    enqueue(turn, order_of(turn, step, state))


def _check_bounds(turn: Turn, config: AgentLoopConfig, state: StepState) -> None:
    if state.iterations >= config.max_iterations:
        raise StepError(f"agent loop exceeded max iterations ({config.max_iterations})")
    began = read_time(state.loop_started_at) or turn.now
    if config.max_duration > 0 and turn.now - began > config.max_duration:
        limit = format_duration(config.max_duration)
        raise StepError(f"agent loop exceeded max duration ({limit})")


def _keep_input(turn: Turn, step: StepDef, state: StepState) -> None:
    """The payload given to Continue is the next input; without one the original repeats."""
    if not is_absent(turn.event.payload):
        state.input = turn.event.payload
    elif step.id not in turn.run.plan.aux:
        state.input = ABSENT


def _sleep(turn: Turn, step: StepDef, state: StepState, delay: int) -> None:
    turn.run.set_status(state, StepStatus.RUNNING)
    state.wake_at = format_time(turn.now + delay)
    event = turn.event_of(
        EventType.STEP_DISPATCH,
        step.id,
        payload=raw(DispatchPayload(gate=LOOP)),
        attempt=state.dispatch + 1,
    )
    msg_id = f"{turn.run.id}.{step.id}.loop.{state.dispatch}"
    turn.timer("loop", turn.now + delay, event, msg_id)
