"""The past of one run: its events in memory, and the run as it was after any of them."""

from __future__ import annotations

from msgspec import Struct

from dagnats.engine.fold import Fold, Recorded
from dagnats.errors import NotFoundError
from dagnats.model.event import Event, EventType
from dagnats.model.run import WorkflowRun
from dagnats.model.times import read_time
from dagnats.services.run_events import RunEvent, definition_at_start, event_of
from dagnats.services.session import Session

MAX_EVENTS = 50_000
"""Events of one run kept in memory; what comes after them is followed, not kept."""

SPACING = 64
"""Events between two saved states at first. Applying one takes some 20 µs, so any moment is a
millisecond or two away."""

MAX_SAVED, MAX_SAVED_BYTES = 64, 32 << 20
"""Saved states kept, and bytes of them: when there are more, every second is dropped."""


class _Timed(Struct, frozen=True):
    """An event at its own time."""

    seq: int
    timestamp_ns: int
    event: Event


class RunHistory:
    """Events of a run, and the run as it was after any number of them.

    Args:
        run_id: the full id.
        own_times: go by the times that the events carry, not by when they were recorded: in a
            recording that is played back everything was recorded just now.

    Attributes:
        events: what happened, in order, fit to be shown.
        times: when each was recorded, ns since 1970: the clock by which the engine works.
        beyond: how many events came after the last that is kept.
    """

    def __init__(self, run_id: str, *, own_times: bool = False) -> None:
        self.run_id = run_id
        self._own_times = own_times
        self.events: list[RunEvent] = []
        self.times: list[int] = []
        self.beyond = 0
        self._log: list[Recorded] = []
        self._fold: Fold | None = None
        self._at = 0
        self._spacing = SPACING
        self._saved: dict[int, bytes] = {0: b""}

    def add(self, stored: Recorded) -> RunEvent:
        """Take in the next event."""
        event = event_of(stored)
        if self._own_times:
            stored = _Timed(stored.seq, read_time(event.timestamp) or 0, stored.event)
        if len(self._log) >= MAX_EVENTS:
            self.beyond += 1
            return event
        self._log.append(stored)
        self.events.append(event)
        self.times.append(stored.timestamp_ns)
        if self._fold is not None and self._fold.learn(stored):
            self._forget()
        return event

    async def begin(self, session: Session) -> None:
        """Make the past visible: find the definition that the run began with.

        Raises:
            NotFoundError: the history does not reach back to the start of the run.
            InvalidError: the start cannot be read, or no definition is known.
        """
        if not self._log or self._log[0].event.type != EventType.WORKFLOW_STARTED:
            raise NotFoundError(f'the beginning of run "{self.run_id[:64]}" is gone')
        definition = await definition_at_start(session, self._log[0].event)
        self._fold = Fold(definition, self._log)
        self._forget()

    @property
    def begun(self) -> bool:
        """Whether :meth:`at` can answer."""
        return self._fold is not None

    def at(self, count: int) -> WorkflowRun:
        """The run after its first ``count`` events. It is yours until the next call.

        Raises:
            InvalidError: no event, or none that starts a run, is among them.
        """
        assert self._fold is not None, "begin() first"
        count = min(count, len(self._log))
        near = max(place for place in self._saved if place <= count)
        if not near <= self._at <= count:
            self._fold.restore(self._saved[near])
            self._at = near
        for item in self._log[self._at : count]:
            self._fold.apply(item)
            self._at += 1
            if self._at % self._spacing == 0:
                self._save()
        return self._fold.snapshot

    def _save(self) -> None:
        assert self._fold is not None
        self._saved.setdefault(self._at, self._fold.save())
        size = sum(len(state) for state in self._saved.values())
        if len(self._saved) > MAX_SAVED or size > MAX_SAVED_BYTES:
            self._spacing *= 2
            kept = self._saved.items()
            self._saved = {place: state for place, state in kept if place % self._spacing == 0}

    def _forget(self) -> None:
        assert self._fold is not None
        self._saved, self._at = {0: b""}, 0
        self._fold.restore(b"")
