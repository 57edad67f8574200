"""The state machine: one event at a time is applied to one run."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from dagnats.engine import operator, spawned
from dagnats.engine.attempt import begin, is_current
from dagnats.engine.dispatch import LOOP, STICKY, enqueue, order_of
from dagnats.engine.effects import BindWorker, Effect
from dagnats.engine.ending import DEADLINE, end
from dagnats.engine.failure import fail_step, failure_of
from dagnats.engine.kind import StepError
from dagnats.engine.plans import Plans
from dagnats.engine.progress import advance, complete_step
from dagnats.engine.run import Run
from dagnats.engine.starting import enter, new_run
from dagnats.engine.steps import KINDS
from dagnats.engine.steps.loop import iterate
from dagnats.engine.steps.map import split_instance
from dagnats.engine.turn import Env, Turn
from dagnats.errors import InvalidError
from dagnats.model.codec import decode
from dagnats.model.event import DispatchPayload, EndPayload, Event, EventType
from dagnats.model.run import ACTIVE_STEP, RunStatus, StepState, StepStatus
from dagnats.model.task import FailureType
from dagnats.model.times import format_duration
from dagnats.model.workflow import StepDef, StepType


class Outcome(Struct):
    """What came of an event: the run it made or changed (``None``: nothing), and the effects."""

    run: Run | None
    effects: list[Effect]


class Machine:
    """Applies events to runs.

    Args:
        env: what the machine knows beyond the run.

    Attributes:
        plans: definitions it has met.
    """

    def __init__(self, env: Env) -> None:
        self.env = env
        self.plans = Plans()

    def apply(self, run: Run | None, event: Event, seq: int, now: int, wall: int) -> Outcome:
        """Apply one event.

        Args:
            run: the run the event belongs to, ``None`` if there is none yet. Changed in place.
            event: what happened.
            seq: its sequence in the history stream.
            now: when it was recorded there, ns since 1970.
            wall: the engine's clock, ns since 1970.

        Returns:
            The run and the effects. Events nobody can use (unknown run, ended run, unknown type,
            late result) change nothing.
        """
        if run is None:
            return self._start(event, seq, now, wall)
        if run.terminal and event.type != EventType.WORKFLOW_REOPENED:
            return Outcome(None, [])
        handler = _HANDLERS.get(event.type)
        if handler is None:
            return Outcome(None, [])
        turn = Turn(run, event, seq, now, wall, self.env, KINDS)
        handler(turn)
        advance(turn)
        return Outcome(run, turn.effects)

    def _start(self, event: Event, seq: int, now: int, wall: int) -> Outcome:
        if event.type != EventType.WORKFLOW_STARTED:
            return Outcome(None, [])
        run, problem = new_run(event, now, self.env, self.plans)
        turn = Turn(run, event, seq, now, wall, self.env, KINDS)
        if problem:
            end(turn, RunStatus.FAILED, problem)
        else:
            enter(turn)
            advance(turn)
        return Outcome(run, turn.effects)


# --- handlers: each takes one type of event for a live run ------------------------------------


def _cancelled(turn: Turn) -> None:
    reason = ""
    if bytes(turn.event.payload):
        try:
            reason = decode(bytes(turn.event.payload), EndPayload).error
        except InvalidError:
            reason = ""  # A cancel_on match carries the event that matched, of any shape.
    end(turn, RunStatus.CANCELLED, reason or "cancelled")


def _admitted(turn: Turn) -> None:
    if turn.run.snapshot.status == RunStatus.PENDING:
        operator.let_in(turn)


def _deadline(turn: Turn) -> None:
    if turn.event.step_id == DEADLINE and turn.run.snapshot.deadline:
        timeout = format_duration(turn.run.plan.definition.timeout)
        end(turn, RunStatus.FAILED, f"workflow timeout exceeded ({timeout})")


def _overflow(turn: Turn) -> None:
    end(turn, RunStatus.FAILED, decode(bytes(turn.event.payload), EndPayload).error)


def _of_step(
    handler: Callable[[Turn, StepDef, StepState], None], *, current: bool = True
) -> Callable[[Turn], None]:
    """A handler of events for an active step; items of map steps go to their step's kind."""

    def handle(turn: Turn) -> None:
        run, step_id = turn.run, turn.event.step_id
        step = run.step(step_id)
        if step is None:
            _to_map(turn)
            return
        state = run.state(step_id)
        if state.status not in ACTIVE_STEP:
            return
        if current and not is_current(turn.event, state.dispatch):
            return
        try:
            handler(turn, step, state)
        except StepError as error:
            turn.failed.append((step_id, error))

    return handle


def _to_map(turn: Turn) -> None:
    found = split_instance(turn.event.step_id)
    step = turn.run.step(found[0]) if found else None
    if step is None or step.type != StepType.MAP:
        return
    state = turn.run.state(step.id)
    if state.status != StepStatus.RUNNING:
        return
    try:
        KINDS[step.type].handle(turn, step, state)
    except StepError as error:
        turn.failed.append((step.id, error))


def _started(turn: Turn, step: StepDef, state: StepState) -> None:
    if state.wake_at or state.started_at:
        return
    turn.run.set_status(state, StepStatus.RUNNING)
    state.started_at = turn.stamp
    state.worker_id = turn.event.worker_id
    if step.timeout > 0:
        event = turn.event_of(EventType.STEP_TIMEOUT, step.id, attempt=state.dispatch)
        msg_id = f"{turn.run.id}.{step.id}.step_timeout.{state.dispatch}"
        turn.timer("timeout", turn.now + step.timeout, event, msg_id)


def _completed(turn: Turn, step: StepDef, state: StepState) -> None:
    if state.wake_at and step.type != StepType.SLEEP:
        return  # The attempt has failed already; this is its late second word.
    output = KINDS[step.type].completed(turn, step, state, bytes(turn.event.payload))
    complete_step(turn, step.id, output)


def _failed(turn: Turn, step: StepDef, state: StepState) -> None:
    if state.wake_at:
        return
    failure = failure_of(turn.event)
    fail_step(turn, step.id, failure.error, failure.failure_type, failure.delay)


def _timed_out(turn: Turn, step: StepDef, state: StepState) -> None:
    if state.wake_at:
        return
    queued = decode(bytes(turn.event.payload) or b"{}", DispatchPayload).gate == "queue"
    if queued and state.status != StepStatus.QUEUED:
        return
    limit = format_duration(step.queue_timeout if queued else step.timeout)
    what = "queue timeout" if queued else "step timeout"
    fail_step(turn, step.id, f"{what} exceeded ({limit})", FailureType.RETRIABLE)


def _dispatch(turn: Turn, step: StepDef, state: StepState) -> None:
    gate = decode(bytes(turn.event.payload) or b"{}", DispatchPayload).gate
    number = turn.event.attempt_number
    if number == state.dispatch + 1 and state.wake_at:
        if gate == LOOP:
            iterate(turn, step, state)
        else:
            begin(turn, step.id, retry=True)
    elif number == state.dispatch and state.status == StepStatus.QUEUED:
        if gate == STICKY:
            _leave_worker(turn, step, state)
        elif gate:
            enqueue(turn, order_of(turn, step, state), after=gate)


def _leave_worker(turn: Turn, step: StepDef, state: StepState) -> None:
    """The sticky worker did not take the task in time: from now on any worker may."""
    turn.run.snapshot.sticky_worker = ""
    turn.do(BindWorker(turn.run.id))
    state.dispatch += 1
    enqueue(turn, order_of(turn, step, state))


def _by_kind(turn: Turn, step: StepDef, state: StepState) -> None:
    KINDS[step.type].handle(turn, step, state)


def _child(turn: Turn) -> None:
    if not spawned.has_ended(turn):
        _of_step(_by_kind, current=False)(turn)


_HANDLERS: dict[str, Callable[[Turn], None]] = {
    EventType.WORKFLOW_CANCELLED: _cancelled,
    EventType.WORKFLOW_ADMITTED: _admitted,
    EventType.WORKFLOW_TIMEOUT: _deadline,
    EventType.WORKFLOW_OVERFLOW: _overflow,
    EventType.WORKFLOW_REOPENED: operator.reopen,
    EventType.STEP_OVERRIDE: operator.override,
    EventType.STEP_STARTED: _of_step(_started),
    EventType.STEP_COMPLETED: _of_step(_completed),
    EventType.STEP_FAILED: _of_step(_failed),
    EventType.STEP_TIMEOUT: _of_step(_timed_out),
    EventType.STEP_DISPATCH: _of_step(_dispatch, current=False),
    EventType.STEP_CONTINUE: _of_step(_by_kind, current=False),
    EventType.SLEEP_COMPLETED: _of_step(_by_kind),
    EventType.WAIT_MATCHED: _of_step(_by_kind, current=False),
    EventType.WAIT_TIMEOUT: _of_step(_by_kind),
    EventType.APPROVAL_GRANTED: _of_step(_by_kind, current=False),
    EventType.APPROVAL_REJECTED: _of_step(_by_kind, current=False),
    EventType.APPROVAL_EXPIRED: _of_step(_by_kind),
    EventType.CHILD_COMPLETED: _child,
    EventType.CHILD_FAILED: _child,
    EventType.WORKFLOW_SPAWN: spawned.note,
}
"""Types that are not here are records for readers, or come from a newer peer."""
