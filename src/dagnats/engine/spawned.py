"""Children that a handler started through the control plane: known, reported, cancelled.

They lead a life of their own beside the step that started them: their end is an event of the
parent's history, and changes nothing there (CP-8 is how it must not be).
"""

from __future__ import annotations

from dagnats.engine.effects import Emit
from dagnats.engine.turn import Turn, message_id
from dagnats.errors import InvalidError
from dagnats.model.codec import decode
from dagnats.model.event import ChildPayload, EventType, SpawnPayload
from dagnats.model.workflow import StepType


def note(turn: Turn) -> None:
    """A handler has started a child; what ``sub_workflow`` steps start they know themselves."""
    step = turn.run.step(turn.event.step_id)
    if step is None or step.type == StepType.SUB_WORKFLOW:
        return
    try:
        spawn = decode(bytes(turn.event.payload), SpawnPayload)
    except InvalidError:
        return
    known = turn.run.snapshot.spawned
    if not spawn.detach and spawn.child_run_id not in known:
        turn.run.snapshot.spawned = [*known, spawn.child_run_id]


def has_ended(turn: Turn) -> bool:
    """Whether the event tells of the end of such a child, which is then forgotten."""
    try:
        child = decode(bytes(turn.event.payload) or b"{}", ChildPayload).child_run_id
    except InvalidError:
        return False
    known = turn.run.snapshot.spawned
    if child not in known:
        return False
    turn.run.snapshot.spawned = [run_id for run_id in known if run_id != child]
    return True


def cancel(turn: Turn) -> None:
    """The parent has ended other than completed: nobody waits for its children any more."""
    children, turn.run.snapshot.spawned = turn.run.snapshot.spawned, []
    for run_id in children:
        event = turn.event_of(EventType.WORKFLOW_CANCELLED, run_id=run_id)
        turn.do(Emit(event, message_id(event)))
