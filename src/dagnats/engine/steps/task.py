"""``normal`` and ``agent``: one task, executed by a worker."""

from __future__ import annotations

from dagnats.engine.dispatch import enqueue, order_of
from dagnats.engine.kind import StepKind
from dagnats.engine.turn import Turn
from dagnats.model.run import StepState
from dagnats.model.workflow import StepDef


class TaskStep(StepKind):
    """Hands a task to a worker and takes what comes back."""

    def start(self, turn: Turn, step: StepDef, state: StepState) -> None:
        """Queue the task."""
        enqueue(turn, order_of(turn, step, state))
