"""A run as it was: its history folded again by the machine that made it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from dagnats.engine.flow import Flow, SlotWait
from dagnats.engine.machine import Machine
from dagnats.engine.run import Run
from dagnats.engine.turn import Env
from dagnats.errors import InvalidError
from dagnats.model.event import Event, EventType
from dagnats.model.run import WorkflowRun
from dagnats.model.workflow import WorkflowDef


class Recorded(Protocol):
    """An event with its place in the log and its time there (ns since 1970)."""

    @property
    def seq(self) -> int:
        """Its sequence."""
        ...

    @property
    def timestamp_ns(self) -> int:
        """When it was recorded."""
        ...

    @property
    def event(self) -> Event:
        """What happened."""
        ...


class _PastFlow(Flow):
    """Limits as they turned out: what was admitted at once, and what had to wait, is in the log."""

    def __init__(self, waited: int) -> None:
        super().__init__()
        self._waited = waited

    def admit(self, workflow: str, limit: int, run_id: str, effective: int) -> bool:
        """Refuse as often as the log shows that the run was admitted later."""
        del workflow, limit, run_id, effective
        if self._waited:
            self._waited -= 1
            return False
        return True

    def acquire(self, task: str, wanted: SlotWait) -> bool:
        """Slots do not show in a run's state."""
        del task, wanted
        return True


def fold(definition: WorkflowDef, events: Iterable[Recorded]) -> WorkflowRun:
    """The state of a run after its first events.

    Args:
        definition: the definition the run is pinned to.
        events: the beginning of its history, in order.

    Raises:
        InvalidError: the history does not begin with a start.
    """
    log = list(events)
    waited = sum(item.event.type == EventType.WORKFLOW_ADMITTED for item in log)
    env = Env(flow=_PastFlow(waited), definition={definition.name: definition}.get)
    machine = Machine(env)
    run: Run | None = None
    for item in log:
        outcome = machine.apply(run, item.event, item.seq, item.timestamp_ns, item.timestamp_ns)
        if outcome.run is not None:
            run = outcome.run
            run.snapshot.applied_seq = item.seq
    if run is None:
        raise InvalidError("the history does not begin with workflow.started")
    return run.snapshot
