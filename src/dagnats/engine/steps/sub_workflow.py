"""``sub_workflow``: start another workflow, and wait for it unless it is detached."""

from __future__ import annotations

import hashlib

from dagnats.engine.dispatch import current_input
from dagnats.engine.effects import Emit
from dagnats.engine.kind import StepError, StepKind
from dagnats.engine.progress import complete_step
from dagnats.engine.turn import Turn, message_id
from dagnats.errors import InvalidError
from dagnats.model.codec import decode, encode, raw
from dagnats.model.event import ChildPayload, EventType, SpawnPayload, StartPayload
from dagnats.model.run import StepState, StepStatus
from dagnats.model.task import FailureType
from dagnats.model.workflow import StepDef, SubWorkflowConfig, WorkflowDef

_CHILD_EVENTS = (EventType.CHILD_COMPLETED, EventType.CHILD_FAILED)


class SubWorkflowStep(StepKind):
    """Completes with the outputs of the child, and fails with its error."""

    def start(self, turn: Turn, step: StepDef, state: StepState) -> None:
        """Start the child, pinned to the definition registered now."""
        config = turn.run.plan.config(step.id, SubWorkflowConfig)
        definition = turn.env.definition(config.workflow)
        if definition is None:
            raise StepError(f'child workflow "{config.workflow}" not found')
        depth = 0 if config.detach else turn.run.snapshot.depth + 1
        if depth >= turn.env.max_depth:
            raise StepError(f"max nesting depth {turn.env.max_depth} exceeded")
        turn.run.set_status(state, StepStatus.RUNNING)
        state.started_at = turn.stamp
        state.child_run_id = child_id(turn.run.id, step.id, state.dispatch)
        _spawn(turn, step, state, config, definition)
        if config.detach:
            complete_step(turn, step.id, encode({"child_run_id": state.child_run_id}))

    def handle(self, turn: Turn, step: StepDef, state: StepState) -> None:
        """The child has ended."""
        if turn.event.type not in _CHILD_EVENTS:
            return
        try:
            child = decode(bytes(turn.event.payload) or b"{}", ChildPayload)
        except InvalidError:
            return
        if child.child_run_id != state.child_run_id:
            return
        if turn.event.type == EventType.CHILD_COMPLETED:
            complete_step(turn, step.id, bytes(child.output))
        else:
            reason = f"child workflow failed: {child.error}"
            raise StepError(reason, FailureType.RETRIABLE)

    def stop(self, turn: Turn, step: StepDef, state: StepState) -> None:
        """Cancel an attached child that has not ended by itself."""
        ended = turn.event.type in _CHILD_EVENTS and turn.event.step_id == step.id
        detached = turn.run.plan.config(step.id, SubWorkflowConfig).detach
        if state.child_run_id and not ended and not detached:
            event = turn.event_of(EventType.WORKFLOW_CANCELLED, run_id=state.child_run_id)
            turn.do(Emit(event, message_id(event)))


def child_id(run_id: str, step_id: str, dispatch: int) -> str:
    """The id of the child of one attempt: the same whenever the attempt is replayed."""
    return hashlib.sha256(f"{run_id}\0{step_id}\0{dispatch}".encode()).hexdigest()[:32]


def _spawn(
    turn: Turn,
    step: StepDef,
    state: StepState,
    config: SubWorkflowConfig,
    definition: WorkflowDef,
) -> None:
    snapshot = turn.run.snapshot
    given = current_input(turn, step, state)
    spawn = SpawnPayload(
        child_run_id=state.child_run_id,
        child_workflow=config.workflow,
        detach=config.detach,
        input=given,
        parent_step_id=step.id,
    )
    again = state.dispatch if state.dispatch > 1 else 0
    turn.emit(EventType.WORKFLOW_SPAWN, step.id, payload=raw(spawn), attempt=again)
    start = StartPayload(
        workflow_def=raw(definition),
        input=given,
        parent_run_id=snapshot.run_id,
        parent_step_id=step.id,
        root_run_id=snapshot.root_run_id or snapshot.run_id,
        depth=0 if config.detach else snapshot.depth + 1,
        detached=config.detach,
    )
    event = turn.event_of(EventType.WORKFLOW_STARTED, run_id=state.child_run_id, payload=raw(start))
    turn.do(Emit(event, message_id(event)))
