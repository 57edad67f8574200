"""A run in memory: the snapshot, its plan, and what follows from both."""

from __future__ import annotations

import heapq

from dagnats.engine.plan import Plan
from dagnats.model.run import (
    ACTIVE_STEP,
    DONE_STEP,
    StepState,
    StepStatus,
    WorkflowRun,
    is_terminal,
)
from dagnats.model.workflow import StepDef

STEP_WEIGHT = 1000
ITEM_WEIGHT = 250
"""Bytes that the state of a step, and of an item of a map step, takes at most but for its data."""


class Run:
    """A live run. Everything but the snapshot is derived, so that one step costs O(1).

    Attributes:
        waiting: per pending step, how many of its parents are not done yet.
        open: how many ordinary steps are not done.
        active: how many steps are queued or running.
        ready: ordinary steps whose parents are done and that have not begun: a heap of their
            places in the definition, so that a restart does not change who is next.
        weight: about how many bytes the snapshot takes on the wire.
        memo: what a kind of step keeps for itself; it must be able to work it out anew.
    """

    __slots__ = ("active", "memo", "open", "plan", "ready", "snapshot", "waiting", "weight")

    def __init__(self, snapshot: WorkflowRun, plan: Plan) -> None:
        self.snapshot = snapshot
        self.plan = plan
        self.waiting: dict[str, int] = {}
        self.memo: dict[str, object] = {}
        self.ready: list[int] = []
        self.open = 0
        self.active = 0
        self.weight = 0
        self.derive()

    def derive(self) -> None:
        """Work out the counters anew from snapshot and plan."""
        known, plan = self.snapshot.steps, self.plan
        # In the order of the definition, as they were before they were stored under sorted keys.
        states = {step_id: known.get(step_id) or StepState() for step_id in plan.steps}
        self.snapshot.steps = states = states | known
        done = {step_id for step_id, state in states.items() if state.status in DONE_STEP}
        ordinary = [step_id for step_id in plan.steps if step_id not in plan.aux]
        self.waiting = {
            step_id: sum(parent not in done for parent in plan.parents[step_id])
            for step_id in ordinary
            if step_id not in done
        }
        self.open = len(self.waiting)
        self.active = sum(state.status in ACTIVE_STEP for state in states.values())
        self.weight = len(bytes(self.snapshot.input)) + sum(map(_weight, states.values()))
        self.ready = [
            plan.places[step_id]
            for step_id, count in self.waiting.items()
            if count == 0 and states[step_id].status == StepStatus.PENDING
        ]

    @property
    def id(self) -> str:
        """The run id."""
        return self.snapshot.run_id

    @property
    def terminal(self) -> bool:
        """Whether the run accepts nothing more."""
        return is_terminal(self.snapshot.status)

    def step(self, step_id: str) -> StepDef | None:
        """The definition of a step, or ``None`` for an id the run does not know."""
        return self.plan.steps.get(step_id)

    def state(self, step_id: str) -> StepState:
        """The state of a known step."""
        return self.snapshot.steps[step_id]

    def close(self, step_id: str) -> None:
        """A step is done: its children wait for one parent less."""
        if self.waiting.pop(step_id, None) is not None:
            self.open -= 1
        for child in self.plan.children[step_id]:
            left = self.waiting.get(child)
            if left is None:
                continue
            self.waiting[child] = left - 1
            if left == 1 and self.state(child).status == StepStatus.PENDING:
                heapq.heappush(self.ready, self.plan.places[child])

    def next_ready(self) -> str:
        """Take out the ready step that stands first in the definition."""
        return self.plan.order[heapq.heappop(self.ready)]

    def set_status(self, state: StepState, status: str) -> None:
        """Move a step to ``status``, keeping count of the active ones."""
        self.active += (status in ACTIVE_STEP) - (state.status in ACTIVE_STEP)
        state.status = status


def encoded(size: int) -> int:
    """Bytes that ``size`` bytes of output take in a snapshot, as base64."""
    return (size + 2) // 3 * 4


def _weight(state: StepState) -> int:
    items = sum(ITEM_WEIGHT + len(bytes(item.output)) for item in state.map_instances)
    return STEP_WEIGHT + len(bytes(state.input)) + encoded(len(state.output)) + items
