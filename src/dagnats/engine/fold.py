"""A run as it was: its history folded again by the machine that made it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Protocol

from dagnats.engine.flow import Flow, SlotWait
from dagnats.engine.machine import Machine
from dagnats.engine.run import Run
from dagnats.engine.turn import Env
from dagnats.errors import InvalidError
from dagnats.model.codec import decode, encode
from dagnats.model.event import Event, EventType, SpawnPayload
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
    """Limits as they turned out: what was admitted at once, and what had to wait, is in the log.

    Attributes:
        refused: sequences of the starts and reopenings that had to wait for a run slot.
        seq: the event being applied.
    """

    def __init__(self) -> None:
        super().__init__()
        self.refused: set[int] = set()
        self.seq = 0

    def admit(self, workflow: str, limit: int, run_id: str, effective: int) -> bool:
        """Refuse where the log shows that the run was admitted later."""
        del workflow, limit, run_id, effective
        return self.seq not in self.refused

    def acquire(self, task: str, wanted: SlotWait) -> bool:
        """Slots do not show in a run's state."""
        del task, wanted
        return True


_WAITED = frozenset({EventType.WORKFLOW_WAITING.value, EventType.WORKFLOW_ADMITTED.value})


class Fold:
    """A run that is folded event by event, and can be put back to where it was.

    Args:
        definition: the definition the run is pinned to.
        log: its whole history, or as much of it as is known: what was let in at once, and which
            children could be started, shows in later events. May grow afterwards.
        secret: the engine's, where nonces and the chance in delays must be its own.
    """

    def __init__(
        self, definition: WorkflowDef, log: Iterable[Recorded], secret: bytes = b""
    ) -> None:
        self._definition = definition
        self._flow = _PastFlow()
        self._entered = 0
        self._children: set[str] = set()
        self._machine = Machine(Env(flow=self._flow, definition=self._known, secret=secret))
        self._run: Run | None = None
        for item in log:
            self.learn(item)

    def learn(self, item: Recorded) -> bool:
        """Take note of an event that is in the log, applied or not.

        Returns:
            Whether it sheds another light on events before it: what was saved is void then.
        """
        kind = item.event.type
        first = kind == EventType.WORKFLOW_STARTED and not self._entered
        if first or kind == EventType.WORKFLOW_REOPENED:
            self._entered = item.seq
        elif kind in _WAITED and self._entered not in self._flow.refused:
            self._flow.refused.add(self._entered)
            return True
        elif kind == EventType.WORKFLOW_SPAWN:
            return self._learn_child(item.event)
        return False

    def _learn_child(self, event: Event) -> bool:
        known = len(self._children)
        with contextlib.suppress(InvalidError):
            spawned = decode(bytes(event.payload) or b"{}", SpawnPayload)
            self._children.add(spawned.child_workflow)
        return len(self._children) > known

    def apply(self, item: Recorded) -> None:
        """Apply the next event."""
        self._flow.seq, at = item.seq, item.timestamp_ns
        outcome = self._machine.apply(self._run, item.event, item.seq, at, at)
        if outcome.run is not None:
            self._run = outcome.run
            self._run.snapshot.applied_seq = item.seq

    @property
    def snapshot(self) -> WorkflowRun:
        """The run after the events applied so far; changed in place by the next.

        Raises:
            InvalidError: the history does not begin with a start.
        """
        if self._run is None:
            raise InvalidError("the history does not begin with workflow.started")
        return self._run.snapshot

    def save(self) -> bytes:
        """The state now, for :meth:`restore`."""
        return b"" if self._run is None else encode(self._run.snapshot)

    def restore(self, saved: bytes) -> None:
        """Go back (or on) to a state that was saved."""
        if not saved:
            self._run = None
            return
        snapshot = decode(saved, WorkflowRun)
        _, plan = self._machine.plans.of(self._definition)
        if snapshot.dynamic_steps:
            plan = plan.extended(snapshot.dynamic_steps)
        self._run = Run(snapshot, plan)

    def _known(self, name: str) -> WorkflowDef | None:
        if name == self._definition.name:
            return self._definition
        # What a child does is in its own history; here it matters only that it could start.
        return WorkflowDef(name=name) if name in self._children else None


def fold(
    definition: WorkflowDef,
    events: Iterable[Recorded],
    seq: int | None = None,
    secret: bytes = b"",
) -> WorkflowRun:
    """The state of a run after an event.

    Args:
        definition: the definition the run is pinned to.
        events: its history in order, later events as well: they tell what could be started.
        seq: the last event to apply; ``None``: all.
        secret: see :class:`Fold`.

    Raises:
        InvalidError: the history does not begin with a start.
    """
    log = list(events)
    folded = Fold(definition, log, secret)
    for item in log:
        if seq is None or item.seq <= seq:
            folded.apply(item)
    return folded.snapshot
