"""``wait_for_event``: wait until a matching event comes, or a timeout (``engine.md`` 6.7)."""

from __future__ import annotations

from dagnats.engine.effects import AddWaiter, CancelTimers, DropWaiters
from dagnats.engine.kind import StepError, StepKind
from dagnats.engine.progress import complete_step
from dagnats.engine.turn import Turn
from dagnats.engine.waits import resolve
from dagnats.model.event import EventType
from dagnats.model.paths import PathError
from dagnats.model.records import EventWaiter
from dagnats.model.run import StepState, StepStatus
from dagnats.model.workflow import StepDef, WaitForEventConfig

TIMED_OUT = b'{"timeout":true}'
"""Output of a wait that nothing matched in time (WAIT-5)."""


class WaitStep(StepKind):
    """Completes with the event it waited for."""

    def start(self, turn: Turn, step: StepDef, state: StepState) -> None:
        """Watch for the event from this moment on."""
        config = turn.run.plan.config(step.id, WaitForEventConfig)
        try:
            match = resolve(turn.run, config.match)
        except PathError as error:
            raise StepError(f"wait for {config.event}: {error}") from None
        turn.run.set_status(state, StepStatus.RUNNING)
        state.started_at = turn.stamp
        waiter = EventWaiter(
            run_id=turn.run.id, step_id=step.id, event_type=config.event, match=match
        )
        turn.do(AddWaiter(waiter, turn.now))
        again = state.dispatch if state.dispatch > 1 else 0
        turn.emit(EventType.WAIT_STARTED, step.id, attempt=again)
        event = turn.event_of(EventType.WAIT_TIMEOUT, step.id, attempt=state.dispatch)
        msg_id = f"{turn.run.id}.{step.id}.wait_timeout.{state.dispatch}"
        turn.timer("wait", turn.now + config.timeout, event, msg_id)

    def handle(self, turn: Turn, step: StepDef, state: StepState) -> None:
        """The event has come, or the time is up."""
        del state
        if turn.event.type == EventType.WAIT_MATCHED:
            complete_step(turn, step.id, bytes(turn.event.payload))
        elif turn.event.type == EventType.WAIT_TIMEOUT:
            complete_step(turn, step.id, TIMED_OUT)

    def stop(self, turn: Turn, step: StepDef, state: StepState) -> None:
        """Nobody waits any longer."""
        del state
        turn.do(DropWaiters(turn.run.id, step.id))
        if turn.event.type != EventType.WAIT_TIMEOUT or turn.event.step_id != step.id:
            turn.do(CancelTimers(turn.run.id, step.id))
