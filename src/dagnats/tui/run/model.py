"""What the screen of a run knows, and the rows it is shown as; nothing here draws or reads.

The picture of a moment is made from the run as it was then, and from the events up to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from dagnats.engine.steps.map import SEPARATOR
from dagnats.model.graph import Parents
from dagnats.model.run import (
    ACTIVE_STEP,
    DONE_STEP,
    RunStatus,
    StepState,
    StepStatus,
    WorkflowRun,
    is_terminal,
)
from dagnats.model.times import read_time
from dagnats.model.workflow import StepDef, StepType
from dagnats.services.run_query import RunView
from dagnats.tui.run.shape import Node, Shape
from dagnats.tui.run.tracks import Attempt, Track, Tracks, attempts_of

RUN_ROW = ""
"""The key of the row that stands for the run as a whole."""

WAITS: dict[str, str] = {
    StepType.SLEEP: "sleeping",
    StepType.WAIT_FOR_EVENT: "waiting",
    StepType.APPROVAL: "waiting",
}
"""Types of steps that only wait while they run, and what that is called."""


class Row(Struct, frozen=True, kw_only=True):
    """One row of the picture.

    Args:
        key: what it is known by: the step's id, or that of an item or a member.
        kind: ``run``, ``step``, ``fold``, ``item`` (of a map) or ``iteration`` (of a loop).
        step_id: the step it belongs to; empty for the run.
        node: which rung of the rail it stands at, -1: none; rows below a node go past it.
        status: in one word, as it is shown.
        attempts: what the timeline shows.
        crowd: the attempts of everything below, for folds and maps.
        members: the steps of a fold.
        began, ended: ns since 1970; ``None`` while that has not happened.
        extra: a count beside the duration, such as ``x3`` (three tries), ``r3`` (a loop in
            its third iteration) or ``3/8``.
        note: what it waits for; ``due``: when that comes, ns, if it is known.
        opens: there are rows below; ``opened``: they are shown.
    """

    key: str
    kind: str
    name: str
    status: str
    step_id: str = ""
    node: int = -1
    under: bool = False
    attempts: Sequence[Attempt] = ()
    crowd: Sequence[Sequence[Attempt]] = ()
    members: Sequence[str] = ()
    began: int | None = None
    ended: int | None = None
    extra: str = ""
    note: str = ""
    due: int | None = None
    opens: bool = False
    opened: bool = False
    critical: bool = False
    waits: bool = False

    def took(self, now: int) -> int | None:
        """How long it took, or has taken so far."""
        if self.began is None:
            return None
        return max(0, (self.ended if self.ended is not None else now) - self.began)


class Moment(Struct, frozen=True):
    """One moment of a run.

    Args:
        view: the run as it was then.
        count: how many events had happened; ``None``: it is now.
    """

    view: RunView
    count: int | None = None

    @property
    def run(self) -> WorkflowRun:
        """The run as it was then."""
        return self.view.run

    def state(self, step_id: str) -> StepState:
        """A step as it was then; a step that was planned later had not begun."""
        return self.view.run.steps.get(step_id) or StepState()


def shown_status(step: StepDef | None, state: StepState, run: WorkflowRun) -> str:
    """The status of a step in one word, finer than the snapshot's."""
    kind = step.type if step else ""
    status = state.status
    if status == StepStatus.RUNNING:
        if kind in WAITS:
            return WAITS[kind]
        if state.wake_at:
            return "retrying" if state.error else "waiting"
        return "compensating" if run.saga_step else "running"
    return status


def build_rows(
    moment: Moment, shape: Shape, tracks: Tracks, opened: frozenset[str] = frozenset()
) -> list[Row]:
    """The rows of the picture.

    Args:
        moment: when.
        shape: order and rail of the steps.
        tracks: the attempts, by events.
        opened: keys of the rows whose parts are shown.
    """
    return _Rows(moment, shape, tracks, opened).made()


class _Rows:
    """Builds the rows of one moment."""

    def __init__(
        self, moment: Moment, shape: Shape, tracks: Tracks, opened: frozenset[str]
    ) -> None:
        self._moment = moment
        self._shape = shape
        self._tracks = tracks.steps
        self._opened = opened
        self._steps = moment.view.steps
        self._attempts = {
            step: attempts_of(self._tracks.get(step), moment.state(step), moment.count)
            for node in shape.nodes
            for step in node.members or (node.id,)
        }
        failed = moment.run.failed_step
        self._critical = critical_path(shape.parents, self._attempts, failed)

    def made(self) -> list[Row]:
        """All rows, that of the run first."""
        run = self._moment.run
        rows = [
            Row(
                key=RUN_ROW,
                kind="run",
                name=run.workflow_id,
                status=run.status,
                began=read_time(run.created_at),
                ended=read_time(run.completed_at) if is_terminal(run.status) else None,
            )
        ]
        for index, node in enumerate(self._shape.nodes):
            rows += self._fold(index, node) if node.members else self._step(index, node.id)
        return rows

    def _fold(self, index: int, node: Node) -> list[Row]:
        key = f"fold:{node.id}"
        statuses = [self._status(step) for step in node.members]
        crowd = [self._attempts[step] for step in node.members]
        done = sum(self._moment.state(step).status in DONE_STEP for step in node.members)
        began, ended = extent(attempt for attempts in crowd for attempt in attempts)
        over = done == len(node.members) or is_terminal(self._moment.run.status)
        row = Row(
            key=key,
            kind="fold",
            name=common_name(node.members),
            status=worst(statuses),
            step_id=node.id,
            node=index,
            crowd=crowd,
            members=node.members,
            began=began,
            ended=ended if over else None,
            extra=f"{done}/{len(node.members)}",
            note=tally(statuses),
            opens=True,
            opened=key in self._opened,
            critical=any(step in self._critical for step in node.members),
        )
        below = (self._step(index, step, under=True) for step in node.members if row.opened)
        return [row, *(each for rows in below for each in rows)]

    def _status(self, step_id: str) -> str:
        return shown_status(self._steps.get(step_id), self._moment.state(step_id), self._moment.run)

    def _step(self, index: int, step_id: str, *, under: bool = False) -> list[Row]:
        step, state = self._steps.get(step_id), self._moment.state(step_id)
        attempts, status = self._attempts[step_id], self._status(step_id)
        began, ended = extent(attempts)
        row = Row(
            key=step_id,
            kind="step",
            name=step_id,
            status=status,
            step_id=step_id,
            node=index,
            under=under,
            attempts=attempts,
            crowd=self._items(step_id, state),
            began=began,
            ended=None if state.status in ACTIVE_STEP else ended,
            extra=_extra(state, attempts),
            note=self._note(step_id, step, state, status),
            due=read_time(state.wake_at) if status in ("retrying", "sleeping") else None,
            opens=bool(state.map_instances),
            opened=step_id in self._opened,
            critical=step_id in self._critical,
            waits=step is not None and step.type in WAITS,
        )
        if not (row.opens and row.opened):
            return [row]
        return [row, *self._item_rows(index, step_id, state, row.crowd)]

    def _items(self, step_id: str, state: StepState) -> Sequence[Sequence[Attempt]]:
        track = self._tracks.get(step_id)
        if track is None or not state.map_instances:
            return ()
        blank, count = Track(), self._moment.count
        return [
            track.items.get(index, blank).as_of(count) for index in range(len(state.map_instances))
        ]

    def _item_rows(
        self, index: int, step_id: str, state: StepState, crowd: Sequence[Sequence[Attempt]]
    ) -> Iterable[Row]:
        for at, item in enumerate(state.map_instances):
            attempts = crowd[at] if crowd else ()
            began, ended = extent(attempts)
            yield Row(
                key=f"{step_id}{SEPARATOR}{at}",
                kind="item",
                name=f"[{at}]",
                status="retrying" if item.wake_at else item.status,
                step_id=step_id,
                node=index,
                under=True,
                attempts=attempts,
                began=began,
                ended=None if item.status in ACTIVE_STEP else ended,
                extra=f"x{item.attempts}" if item.attempts > 1 else "",
            )

    def _note(self, step_id: str, step: StepDef | None, state: StepState, status: str) -> str:
        run = self._moment.run
        if state.status == StepStatus.PENDING:
            return self._missing(step_id, run)
        if status == "retrying":
            return "retries"
        if step is None or state.status != StepStatus.RUNNING:
            return "by recovery" if state.failure == "recovery" else ""
        if step.type == StepType.SUB_WORKFLOW and state.child_run_id:
            return f"child {state.child_run_id[:8]}"
        return _WAITED.get(step.type, "")

    def _missing(self, step_id: str, run: WorkflowRun) -> str:
        if step_id in self._shape.rescuers:
            return f"if {self._shape.rescuers[step_id]} fails"
        if is_terminal(run.status):
            return "not reached"
        if run.status == RunStatus.PENDING:
            return "waits for a run slot"
        missing = [
            parent
            for parent in self._shape.parents.get(step_id, ())
            if self._moment.state(parent).status not in DONE_STEP
        ]
        more = f" +{len(missing) - 1}" if len(missing) > 1 else ""
        return f"waits {missing[0]}{more}" if missing else "waits for a free place"


_WAITED: dict[str, str] = {
    StepType.SLEEP: "wakes",
    StepType.APPROVAL: "asks approval",
    StepType.WAIT_FOR_EVENT: "waits for event",
}


def _extra(state: StepState, attempts: Sequence[Attempt]) -> str:
    if state.map_instances:
        done = sum(item.status == StepStatus.COMPLETED for item in state.map_instances)
        return f"{done}/{len(state.map_instances)}"
    if state.iterations:
        return f"r{state.iterations}"
    tries = max(len(attempts), state.attempts)
    return f"x{tries}" if tries > 1 else ""


def extent(attempts: Iterable[Attempt]) -> tuple[int | None, int | None]:
    """From the first beginning of work to the last end known, ns; work that goes on has no end."""
    began: int | None = None
    ended: int | None = None
    for attempt in attempts:
        start = attempt.started or attempt.queued
        if start is not None and (began is None or start.at < began):
            began = start.at
        if attempt.ended is not None and (ended is None or attempt.ended.at > ended):
            ended = attempt.ended.at
    return began, ended


_GRAVITY = (
    *("failed", "retrying", "running", "compensating", "queued", "waiting", "sleeping"),
    *("cancelled", "pending", "skipped", "recovered", "completed"),
)


def worst(statuses: Iterable[str]) -> str:
    """The status that says most about a group: what failed, else what goes on, else the rest."""
    known = set(statuses)
    return next((status for status in _GRAVITY if status in known), next(iter(known), "pending"))


def first_row(rows: Iterable[Row]) -> str:
    """The key of the row a reader wants first: what failed, else what goes on, else the run."""
    steps = [row for row in rows if row.kind in ("step", "fold")]
    for status in _GRAVITY[:7]:
        for row in steps:
            if row.status == status:
                return row.key
    return RUN_ROW


def tally(statuses: Sequence[str]) -> str:
    """How many of a group are in which state, the most telling first; the completed go without."""
    counts = [(statuses.count(status), status) for status in _GRAVITY if status != "completed"]
    return "  ".join(f"{count} {status}" for count, status in counts if count)


def common_name(names: Sequence[str]) -> str:
    """What the names of a group begin with: ``w0``, ``w1`` … make ``w*``."""
    first, last = min(names), max(names)
    size = next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), None)
    prefix = first[:size] if size is not None else first[: min(len(first), len(last))]
    prefix = prefix.rstrip("0123456789") or prefix
    return f"{prefix}*" if prefix else f"{names[0]} …"


def critical_path(
    parents: Parents, attempts: Mapping[str, Sequence[Attempt]], failed: str = ""
) -> set[str]:
    """The steps that decided when the run could end.

    It leads from the step that failed, else the last to end, back along the latest parents; a step
    that goes on ends last of all.
    """
    ends: dict[str, float] = {}
    for step, known in attempts.items():
        if known:
            last = known[-1].ended
            ends[step] = last.at if last is not None else float("inf")
    if not ends:
        return set()
    step = failed if failed in ends else max(ends, key=lambda each: ends[each])
    path: set[str] = set()
    while step and step not in path:
        path.add(step)
        above = [parent for parent in parents.get(step, ()) if parent in ends]
        step = max(above, key=lambda each: ends[each], default="")
    return path
