"""Everything the screen of a run holds: what was read, which moment is shown, what is open."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import Struct

from dagnats.engine.fold import Recorded
from dagnats.errors import DagnatsError
from dagnats.model.records import DeadLetter
from dagnats.model.run import is_terminal
from dagnats.model.times import read_time
from dagnats.services.run_baseline import Baseline, Usual
from dagnats.services.run_history import RunHistory
from dagnats.services.run_query import RunView
from dagnats.tui.run.model import Moment, Row, build_rows
from dagnats.tui.run.shape import Shape, shape_of
from dagnats.tui.run.timeline import Scale, work_of
from dagnats.tui.run.tracks import Tracks


class Layout(Struct, frozen=True):
    """Columns of the picture for a width.

    Args:
        lanes: of the rail at most; ``rail``: the columns it takes.
        name: columns of the step's name.
        start, bars: where the timeline begins, and how wide it is.
        took, extra, note: columns at the right.
    """

    lanes: int
    rail: int
    name: int
    start: int
    bars: int
    took: int
    extra: int
    note: int


class RunState:
    """One run, at the moment that is shown.

    Args:
        run_id: the full id.
        clock: the time, ns since 1970.
        recorded: the run is looked at in a recording.

    Attributes:
        view: the run as it is now; ``None`` until it is read.
        history, tracks: its events, and what they say of its steps.
        problem: why there is nothing to show.
        position: how many events had happened at the moment shown; ``None``: it is now.
        opened: keys of the rows whose parts are shown.
        version: grows with every change of anything above.
        last_seq: sequence of the last event that was read.
        layout: the columns of the picture that were worked out last, and for what.
    """

    def __init__(self, run_id: str, clock: Callable[[], int], *, recorded: bool = False) -> None:
        self.run_id = run_id
        self.clock = clock
        self.view: RunView | None = None
        self.history = RunHistory(run_id, own_times=recorded)
        self.tracks = Tracks()
        self.position: int | None = None
        self.opened: frozenset[str] = frozenset()
        self.baseline: Baseline | None = None
        self.problem = ""
        self.ghosts = True
        self.dead: list[DeadLetter] = []
        self.version = 0
        self.last_seq = 0
        self.layout: tuple[object, Layout] | None = None
        self._shape: tuple[object, Shape] | None = None
        self._rows: tuple[object, list[Row]] | None = None
        self._scale: tuple[object, Scale] | None = None
        self._past: tuple[object, Moment] | None = None

    # --- what is read --------------------------------------------------------------------------

    def take(self, view: RunView) -> None:
        """The run as it is now."""
        self.view = view
        self.version += 1

    def add(self, stored: Iterable[Recorded]) -> None:
        """More events."""
        for item in stored:
            event, known = self.history.add(item), self.history.times
            at = known[-1] if not self.history.beyond else item.timestamp_ns
            self.tracks.add(event, at)
            self.last_seq = item.seq
        self.version += 1

    def learn(self, baseline: Baseline) -> None:
        """What is usual."""
        self.baseline = baseline
        self.version += 1

    def bury(self, letters: list[DeadLetter]) -> None:
        """The dead letters of the run."""
        self.dead = letters
        self.version += 1

    # --- the moment ----------------------------------------------------------------------------

    @property
    def total(self) -> int:
        """How many events there are to go through."""
        return len(self.history.events)

    @property
    def live(self) -> bool:
        """Whether it is now, not some moment of the past."""
        return self.position is None

    @property
    def ended(self) -> bool:
        """Whether the run accepts nothing more."""
        return self.view is not None and is_terminal(self.view.run.status)

    def travel(self, to: int | None) -> None:
        """Show the moment after ``to`` events; ``None``, or all there are: now."""
        if to is not None:
            to = max(1, to)
        self.position = None if to is None or to >= self.total else to
        self.version += 1

    def step(self, by: int) -> None:
        """Go back or forward by events."""
        self.travel((self.total if self.position is None else self.position) + by)

    def failure(self, direction: int) -> bool:
        """Go to the next failure, or with -1 to the one before; whether there is one."""
        at = self.total if self.position is None else self.position
        places = self.tracks.failures if direction > 0 else reversed(self.tracks.failures)
        for place in places:
            if (place - at) * direction > 0:
                self.travel(place)
                return True
        return False

    @property
    def now(self) -> int:
        """The moment that is shown, ns: where what goes on ends."""
        if self.position is not None:
            return self.history.times[self.position - 1]
        return self.end

    @property
    def end(self) -> int:
        """The right edge of the timeline: the end of the run, or the present."""
        if self.view is not None and self.ended:
            known = read_time(self.view.run.completed_at)
            if known is not None:
                return known
            if self.history.times:
                return self.history.times[-1]
        return self.clock()

    def moment(self) -> Moment:
        """The run as it was at the moment that is shown."""
        assert self.view is not None
        if self.position is None or not self.history.begun:
            return Moment(self.view)
        known = (self.position, self.total, id(self.view.definition))
        if self._past is None or self._past[0] != known:
            try:
                run = self.history.at(self.position)
            except DagnatsError:
                return Moment(self.view, self.position)
            self._past = (known, Moment(RunView(run, self.view.definition), self.position))
        return self._past[1]

    # --- what is derived -----------------------------------------------------------------------

    def shape(self, max_lanes: int) -> Shape:
        """The rail; it changes only when a planner adds steps."""
        assert self.view is not None
        run = self.view.run
        known = (max_lanes, len(run.dynamic_steps), len(run.steps), self.view.definition is None)
        if self._shape is None or self._shape[0] != known:
            self._shape = (known, shape_of(self.view, max_lanes))
        return self._shape[1]

    def rows(self, max_lanes: int) -> list[Row]:
        """The rows of the picture."""
        known = (max_lanes, self.version, self.opened)
        if self._rows is None or self._rows[0] != known:
            shape = self.shape(max_lanes)
            rows = build_rows(self.moment(), shape, self.tracks, self.opened)
            self._rows = (known, rows)
        return self._rows[1]

    def scale(self, width: int) -> Scale:
        """The time axis. It spans all that is known, so that travelling does not move it."""
        assert self.view is not None
        end = self.end
        known = (width, self.version, end // 10_000_000 if not self.ended else end)
        if self._scale is None or self._scale[0] != known:
            waiting = {row.step_id for row in self._known_rows() if row.waits}
            work = (
                stretch
                for step, track in self.tracks.steps.items()
                if step not in waiting
                for stretch in work_of(track.attempts, end)
            )
            start = read_time(self.view.run.created_at) or end
            if not self.tracks.steps:
                plain = (row.attempts for row in self._known_rows() if not row.waits)
                work = (stretch for attempts in plain for stretch in work_of(attempts, end))
            self._scale = (known, Scale(start, end, work, width))
        return self._scale[1]

    def _known_rows(self) -> list[Row]:
        return self._rows[1] if self._rows is not None else []

    def critical(self) -> list[str]:
        """The names of the rows on the critical path, as far as rows were built."""
        return [row.name for row in self._known_rows() if row.critical and not row.under]

    def usual(self, step_id: str) -> Usual | None:
        """How long a step, or with ``""`` the run, usually takes."""
        if self.baseline is None:
            return None
        return self.baseline.steps.get(step_id) if step_id else self.baseline.whole

    def letter(self, step_id: str) -> DeadLetter | None:
        """The newest dead letter of a step, or with ``""`` of the run."""
        found = (letter for letter in reversed(self.dead) if step_id in ("", letter.step_id))
        return next(found, None)
