"""What a run did when, read from its history: one row per step, one moment per event."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Raw, Struct

from dagnats.engine.memory import Record
from dagnats.engine.run import Run
from dagnats.model.event import EventType
from dagnats.model.run import RunStatus
from dagnats.model.times import Duration, read_time
from dagnats.model.workflow import StepType

BUSY, WAITING = "busy", "waiting"
NEVER = -1
"""When a step began that never did."""

_BEGINS = {
    EventType.STEP_STARTED: BUSY,
    EventType.SLEEP_STARTED: WAITING,
    EventType.WAIT_STARTED: WAITING,
    EventType.APPROVAL_REQUESTED: WAITING,
    EventType.WORKFLOW_SPAWN: BUSY,
    EventType.STEP_FAILED: WAITING,
    EventType.STEP_CONTINUE: WAITING,
    EventType.STEP_TIMEOUT: WAITING,
}
"""What a step does from an event on, until its next one."""

_SILENT = frozenset({EventType.STEP_QUEUED, EventType.STEP_DISPATCH})


class Moment(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event. ``at`` counts from the start of the run."""

    at: Duration
    type: str
    step: str = ""
    attempt: int = 0
    run_id: str = ""


class Span(Struct, frozen=True):
    """A stretch of a step's life, ns since the start of the run."""

    begin: Duration
    end: Duration
    kind: str


class Row(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step: when it began and ended, ns since the start of the run, and what it did between."""

    step: str
    type: str
    status: str
    attempts: int = 0
    iterations: int = 0
    begin: Duration = NEVER
    end: Duration = NEVER
    error: str = ""
    spans: list[Span] = []

    @property
    def began(self) -> bool:
        """Whether it ever began."""
        return self.begin != NEVER

    @property
    def whole(self) -> Span:
        """From its begin to its end."""
        return Span(self.begin, self.end, BUSY)


class Simulation(Struct, frozen=True, kw_only=True):
    """One run from its start to its end.

    Args:
        took: how long it took, ns.
        steps: in the order in which they began; those that never did at the end.
        moments: every event of the run and of its children, in order.
        outputs: of the terminal steps; ``None`` unless it completed.
        dead_letters: the steps that failed for good.
    """

    workflow: str
    status: str
    error: str
    took: Duration
    steps: list[Row]
    moments: list[Moment]
    outputs: Raw | None
    dead_letters: list[str]

    @property
    def completed(self) -> bool:
        """Whether it ended well."""
        return self.status == RunStatus.COMPLETED


def timeline_of(
    run: Run,
    log: Iterable[Record],
    begin: int,
    *,
    outputs: Raw | None,
    dead_letters: list[str],
) -> Simulation:
    """The timeline of a run from the log of its world."""
    records = list(log)
    snapshot = run.snapshot
    ended = read_time(snapshot.completed_at) or (records[-1].timestamp_ns if records else begin)
    rows = [_row(run, step_id, records, begin, ended) for step_id in snapshot.steps]
    first = {record.event.step_id: record.seq for record in reversed(records)}
    rows.sort(key=lambda row: (not row.began, row.begin, first.get(row.step, 0)))
    return Simulation(
        workflow=snapshot.workflow_id,
        status=str(snapshot.status),
        error=snapshot.error,
        took=ended - begin,
        steps=rows,
        moments=[_moment(record, run.id, begin) for record in records if _shown(record)],
        outputs=outputs,
        dead_letters=dead_letters,
    )


def _shown(record: Record) -> bool:
    return record.event.type not in _SILENT


def _moment(record: Record, run_id: str, begin: int) -> Moment:
    event = record.event
    return Moment(
        at=record.timestamp_ns - begin,
        type=event.type,
        step=event.step_id,
        attempt=event.attempt_number,
        run_id="" if event.run_id == run_id else event.run_id,
    )


def _row(run: Run, step_id: str, records: list[Record], begin: int, ended: int) -> Row:
    state = run.snapshot.steps[step_id]
    step = run.step(step_id)
    marks = [record for record in records if _is_of(record, run.id, step_id)]
    first = read_time(state.started_at) or read_time(state.finished_at)
    if marks:
        first = marks[0].timestamp_ns
    last = read_time(state.finished_at) or ended
    spans = _spans(marks, begin, last)
    if step is not None and step.type == StepType.MAP and spans:
        spans = [Span(spans[0].begin, last - begin, BUSY)]  # Its items go on side by side.
    return Row(
        step=step_id,
        type=step.type if step else "",
        status=str(state.status),
        attempts=state.attempts,
        iterations=state.iterations,
        begin=NEVER if first is None else first - begin,
        end=NEVER if first is None else last - begin,
        error=state.error,
        spans=spans,
    )


def _is_of(record: Record, run_id: str, step_id: str) -> bool:
    event = record.event
    if event.run_id != run_id or event.type not in _BEGINS:
        return False
    return event.step_id == step_id or event.step_id.startswith(f"{step_id}.map.")


def _spans(marks: list[Record], begin: int, last: int) -> list[Span]:
    spans: list[Span] = []
    for index, mark in enumerate(marks):
        end = marks[index + 1].timestamp_ns if index + 1 < len(marks) else last
        if end > mark.timestamp_ns:
            kind = _BEGINS[EventType(mark.event.type)]
            spans.append(Span(mark.timestamp_ns - begin, end - begin, kind))
    return spans
