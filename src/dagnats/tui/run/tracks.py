"""When each attempt of each step waited, ran and ended: read from a run's events, one by one.

Every time comes with the number of the event that told it, so that the same tracks show any moment
of the past: what later events told is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from msgspec import Raw, Struct

from dagnats.engine.failure import failure_of
from dagnats.engine.steps.map import split_instance
from dagnats.errors import InvalidError
from dagnats.model.codec import decode
from dagnats.model.event import DispatchPayload, Event, EventType, OverridePayload
from dagnats.model.run import StepState, StepStatus
from dagnats.model.task import StepFailedPayload
from dagnats.model.times import read_time
from dagnats.services.run_events import RunEvent

P = TypeVar("P")

LOOP = "loop"
"""The gate of a dispatch that begins a loop's next iteration."""


class Mark(Struct, frozen=True):
    """A moment (ns since 1970), and the number of the event that told it, from 1."""

    at: int
    told: int = 0


class Attempt(Struct):
    """One execution of a step, or one wait.

    Attributes:
        dispatch: the number the engine gave it.
        queued, started, ended: ``None`` while that has not happened, or nobody told.
        outcome: ``completed``, ``failed``, ``continued`` (a loop goes on), ``timeout``,
            ``cancelled``, ``skipped`` or ``retried``; empty while it goes on.
        error, kind, traceback: of a failure: what it said, its class, where it was raised.
    """

    dispatch: int = 1
    queued: Mark | None = None
    started: Mark | None = None
    ended: Mark | None = None
    outcome: str = ""
    error: str = ""
    kind: str = ""
    traceback: str = ""
    worker: str = ""

    @property
    def begun(self) -> Mark | None:
        """When it was queued, or started if nobody told that it was queued."""
        return self.queued or self.started

    @property
    def ran(self) -> int | None:
        """How long it ran, ns."""
        if self.started is None or self.ended is None:
            return None
        return max(0, self.ended.at - self.started.at)

    @property
    def waited(self) -> int | None:
        """How long it was queued, ns."""
        if self.queued is None or self.started is None:
            return None
        return max(0, self.started.at - self.queued.at)

    def as_of(self, count: int) -> Attempt | None:
        """The attempt as known after ``count`` events; ``None`` when it had not begun."""
        if self.ended is not None and self.ended.told <= count:
            return self
        begun = self.begun
        if begun is None or begun.told > count:
            return None
        started = self.started if self.started and self.started.told <= count else None
        return Attempt(
            dispatch=self.dispatch,
            queued=self.queued,
            started=started,
            worker=self.worker if started else "",
        )


class Track(Struct):
    """The attempts of one step, in order, and the tracks of its items if it is a map."""

    attempts: list[Attempt] = []
    items: dict[int, Track] = {}

    @property
    def last(self) -> Attempt | None:
        """The attempt in flight, or the last there was."""
        return self.attempts[-1] if self.attempts else None

    def as_of(self, count: int | None) -> list[Attempt]:
        """The attempts as known after ``count`` events; ``None``: all."""
        if count is None:
            return self.attempts
        known = (attempt.as_of(count) for attempt in self.attempts)
        return [attempt for attempt in known if attempt is not None]


class Tracks:
    """The tracks of a run's steps; grows with its events.

    Attributes:
        failures: the numbers of the events that tell of a failure.
    """

    def __init__(self) -> None:
        self.steps: dict[str, Track] = {}
        self.failures: list[int] = []
        self.count = 0
        self._open: dict[str, Track] = {}
        self._reopened: Mark | None = None

    def add(self, event: RunEvent, at: int) -> None:
        """Take in the next event, recorded at ``at`` (ns since 1970)."""
        self.count += 1
        mark = Mark(at, self.count)
        kind = event.type
        if kind in _FAILURES:
            self.failures.append(self.count)
        if kind in _RUN_ENDS:
            self._close(mark)
        elif kind == EventType.WORKFLOW_REOPENED:
            self._reopened = mark
        elif event.step_id and (handler := _HANDLERS.get(kind)):
            track = self.track(event.step_id)
            handler(self, track, event, mark)
            self._note(event.step_id, track)

    def track(self, step_id: str) -> Track:
        """The track of a step, or of an item of a map."""
        found = split_instance(step_id)
        if found is not None and found[0] in self.steps:
            items = self.steps[found[0]].items
            return items.setdefault(found[1], Track(attempts=[], items={}))
        return self.steps.setdefault(step_id, Track(attempts=[], items={}))

    def _note(self, step_id: str, track: Track) -> None:
        if track.last is not None and track.last.ended is None:
            self._open[step_id] = track
        else:
            self._open.pop(step_id, None)

    def _close(self, mark: Mark) -> None:
        for track in self._open.values():
            last = track.last
            if last is not None and last.ended is None:
                last.ended, last.outcome = mark, "cancelled"
        self._open.clear()

    # --- what events do to a track -------------------------------------------------------------

    def queue(self, track: Track, event: RunEvent, mark: Mark) -> None:
        """A task was handed out, for the first time or again."""
        last = track.last
        if last is None or last.ended is not None:
            track.attempts.append(Attempt(dispatch=event.attempt_number or 1, queued=mark))

    def dispatch(self, track: Track, event: RunEvent, mark: Mark) -> None:
        """A retry or an iteration is due; a task that waited at a gate goes on and is no news."""
        payload = _read(event, DispatchPayload)
        if payload is None or payload.gate in ("", LOOP):
            self.queue(track, event, mark)

    def start(self, track: Track, event: RunEvent, mark: Mark) -> None:
        """A worker has begun."""
        last = track.last
        if last is None or last.ended is not None:
            queued = self._queued_again(last, event)
            if last is not None and queued is None:
                return  # The late first word of an attempt that is over.
            last = Attempt(dispatch=event.attempt_number or 1, queued=queued)
            track.attempts.append(last)
        if last.started is None:
            last.started, last.worker = mark, event.worker_id

    def _queued_again(self, last: Attempt | None, event: RunEvent) -> Mark | None:
        """Since when a start that nothing announced was waited for."""
        if last is None or last.ended is None:
            return None
        if last.outcome == "continued" or event.attempt_number > last.dispatch:
            reopened = self._reopened
            return reopened if reopened and reopened.told > last.ended.told else last.ended
        return None

    def wait(self, track: Track, event: RunEvent, mark: Mark) -> None:
        """A wait, a sleep, a map or a child has begun; no worker has a hand in it."""
        last = track.last
        if last is None or last.ended is not None:
            last = Attempt(dispatch=event.attempt_number or 1)
            track.attempts.append(last)
        last.started = last.started or mark

    def end(
        self, track: Track, event: RunEvent, mark: Mark, outcome: str, *, late: bool = False
    ) -> Attempt | None:
        """An attempt has ended; ``None`` when there is none that the event is about.

        Args:
            track: of the step.
            event: what says so.
            mark: when.
            outcome: how.
            late: the event counts only if it names the attempt in flight, as a worker's result.
        """
        last = track.last
        if last is None:
            last = Attempt(dispatch=event.attempt_number or 1)
            track.attempts.append(last)
        # A worker may send its delivery count for a first dispatch (``wire.md`` 6.2).
        other = last.dispatch > 1 and event.attempt_number != last.dispatch
        if (late and other) or last.ended is not None:
            return None
        last.ended, last.outcome = mark, outcome
        last.worker = event.worker_id or last.worker
        return last

    def complete(self, track: Track, event: RunEvent, mark: Mark) -> None:
        """An attempt has succeeded."""
        self.end(track, event, mark, "completed", late=True)

    def come(self, track: Track, event: RunEvent, mark: Mark) -> None:
        """What was waited for has come."""
        self.end(track, event, mark, "completed")

    def carry_on(self, track: Track, event: RunEvent, mark: Mark) -> None:
        """An iteration of a loop is over."""
        self.end(track, event, mark, "continued")

    def time_out(self, track: Track, event: RunEvent, mark: Mark) -> None:
        """An attempt took too long."""
        ended = self.end(track, event, mark, "timeout", late=True)
        if ended is not None:
            payload = _read(event, DispatchPayload)
            queue = payload is not None and payload.gate == "queue"
            ended.error = "queue timeout exceeded" if queue else "step timeout exceeded"
            ended.kind = "timeout"

    def fail(self, track: Track, event: RunEvent, mark: Mark) -> None:
        """An attempt has failed."""
        ended = self.end(track, event, mark, "failed", late=True)
        if ended is None:
            return
        failure = failure_of(_plain(event))
        payload = _read(event, StepFailedPayload) or StepFailedPayload()
        ended.error, ended.traceback = failure.error, payload.traceback
        ended.kind = payload.error_type or failure.failure_type

    def refuse(self, track: Track, event: RunEvent, mark: Mark) -> None:
        """An approval was rejected or expired, or a child failed."""
        ended = self.end(track, event, mark, "failed")
        if ended is not None:
            ended.error = _REFUSALS.get(event.type, "") or event.data

    def override(self, track: Track, event: RunEvent, mark: Mark) -> None:
        """An operator has acted."""
        payload = _read(event, OverridePayload)
        outcome = _OVERRIDES.get(payload.action) if payload else None
        if payload is None or outcome is None:
            return
        last = track.last
        if last is None or last.ended is not None:
            track.attempts.append(Attempt(started=mark))
        ended = self.end(track, event, mark, outcome)
        if ended is not None and payload.action in ("fail", "cancel"):
            ended.error = f"{payload.action} by {payload.actor or 'operator'}: {payload.reason}"
        if payload.action == "retry":
            number = (last.dispatch if last else 0) + 1
            track.attempts.append(Attempt(dispatch=number, queued=mark))


Handler = Callable[[Tracks, Track, RunEvent, Mark], None]

_HANDLERS: dict[str, Handler] = {
    EventType.STEP_QUEUED: Tracks.queue,
    EventType.STEP_DISPATCH: Tracks.dispatch,
    EventType.STEP_STARTED: Tracks.start,
    EventType.STEP_COMPLETED: Tracks.complete,
    EventType.STEP_FAILED: Tracks.fail,
    EventType.STEP_TIMEOUT: Tracks.time_out,
    EventType.STEP_CONTINUE: Tracks.carry_on,
    EventType.STEP_OVERRIDE: Tracks.override,
    EventType.SLEEP_STARTED: Tracks.wait,
    EventType.WAIT_STARTED: Tracks.wait,
    EventType.APPROVAL_REQUESTED: Tracks.wait,
    EventType.MAP_STARTED: Tracks.wait,
    EventType.WORKFLOW_SPAWN: Tracks.wait,
    EventType.SLEEP_COMPLETED: Tracks.come,
    EventType.WAIT_MATCHED: Tracks.come,
    EventType.WAIT_TIMEOUT: Tracks.come,
    EventType.APPROVAL_GRANTED: Tracks.come,
    EventType.CHILD_COMPLETED: Tracks.come,
    EventType.APPROVAL_REJECTED: Tracks.refuse,
    EventType.APPROVAL_EXPIRED: Tracks.refuse,
    EventType.CHILD_FAILED: Tracks.refuse,
}

_OVERRIDES = {
    "complete": "completed",
    "fail": "failed",
    "skip": "skipped",
    "cancel": "cancelled",
    "retry": "retried",
}

_REFUSALS = {EventType.APPROVAL_EXPIRED.value: "approval timed out"}

_RUN_ENDS = frozenset(
    {
        EventType.WORKFLOW_COMPLETED.value,
        EventType.WORKFLOW_FAILED.value,
        EventType.WORKFLOW_CANCELLED.value,
        EventType.COMPENSATE_COMPLETED.value,
        EventType.COMPENSATE_FAILED.value,
    }
)

_FAILURES = frozenset(
    {
        EventType.STEP_FAILED.value,
        EventType.STEP_TIMEOUT.value,
        EventType.APPROVAL_REJECTED.value,
        EventType.APPROVAL_EXPIRED.value,
        EventType.CHILD_FAILED.value,
        EventType.WORKFLOW_FAILED.value,
        EventType.COMPENSATE_FAILED.value,
    }
)


def attempts_of(track: Track | None, state: StepState, count: int | None) -> Sequence[Attempt]:
    """The attempts of a step, by its events, else by what its snapshot says.

    Args:
        track: what the events told, if they told anything.
        state: the step in the snapshot that is shown.
        count: the moment that is shown, as a number of events; ``None``: now.
    """
    known = list(track.as_of(count)) if track is not None else []
    if not known:
        return _by_snapshot(state)
    last, finished = known[-1], read_time(state.finished_at)
    guessed = last.ended is None or last.outcome == "cancelled"
    if guessed and finished is not None and state.status in _OVER:
        # Nothing of its own tells the end of a map: it ends with its last item.
        known[-1] = Attempt(
            dispatch=last.dispatch,
            queued=last.queued,
            started=last.started,
            ended=Mark(finished),
            outcome=_OVER[state.status],
            error=state.error,
            worker=last.worker,
        )
    return known


_OVER: dict[str, str] = {
    StepStatus.COMPLETED: "completed",
    StepStatus.FAILED: "failed",
    StepStatus.RECOVERED: "failed",
    StepStatus.CANCELLED: "cancelled",
    StepStatus.SKIPPED: "skipped",
}


def _by_snapshot(state: StepState) -> list[Attempt]:
    queued, started, finished = (
        None if at is None else Mark(at)
        for at in map(read_time, (state.queued_at, state.started_at, state.finished_at))
    )
    if queued is None and started is None:
        return []
    outcome = _OVER.get(state.status, "failed" if finished and state.error else "")
    return [
        Attempt(
            dispatch=max(1, state.dispatch),
            queued=queued,
            started=started,
            ended=finished,
            outcome=outcome,
            error=state.error,
            kind=state.failure,
            worker=state.worker_id,
        )
    ]


def _plain(event: RunEvent) -> Event:
    return Event(type=event.type, run_id=event.run_id, payload=Raw(event.data.encode()))


def _read(event: RunEvent, kind: type[P]) -> P | None:
    try:
        return decode(event.data or "{}", kind)
    except InvalidError:
        return None
