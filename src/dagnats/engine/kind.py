"""The interface between the machine and the kinds of steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagnats.model.task import FailureType

if TYPE_CHECKING:
    from dagnats.engine.turn import Turn
    from dagnats.model.run import StepState
    from dagnats.model.workflow import StepDef


class StepError(Exception):
    """A step cannot go on; its failure handling takes over.

    Args:
        reason: one line for the operator.
        failure: whether trying again could help.
    """

    def __init__(self, reason: str, failure: FailureType = FailureType.NON_RETRIABLE) -> None:
        super().__init__(reason)
        self.reason = reason
        self.failure = failure


class StepKind:
    """One kind of step. Any method may raise :class:`StepError`, which fails the step."""

    def start(self, turn: Turn, step: StepDef, state: StepState) -> None:
        """Begin an attempt. ``state`` is queued; its ``dispatch`` and ``attempts`` are counted."""

    def completed(self, turn: Turn, step: StepDef, state: StepState, output: bytes) -> bytes:
        """A worker completed the attempt in flight; what the step's output is."""
        del turn, step, state
        return output

    def handle(self, turn: Turn, step: StepDef, state: StepState) -> None:
        """Take ``turn.event``, which is of a type that only some kinds of steps know."""

    def stop(self, turn: Turn, step: StepDef, state: StepState) -> None:
        """The attempt is over, however it ended: let go of whatever it holds in the world."""
