"""Time as columns: where a moment lies, how long stretches without work are shortened, and bars."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from dagnats.tui.format import span
from dagnats.tui.line import Line
from dagnats.tui.run.tracks import Attempt
from dagnats.tui.theme import SPARKS, Look

IDLE_SHARE = 2
"""A stretch without work that is so many times longer than all the work is shortened …"""

IDLE_KEPT = 0.3
"""… to this share of the work, so that a retry two days later does not squeeze everything flat."""

SAMPLED = 2_000
"""Members of a crowd that are counted for its bar; of more, every second, third, …"""

Stretch = tuple[int, int]


class Scale:
    """Maps moments to columns.

    Args:
        start, end: the moments at the edges, ns.
        work: stretches in which something ran or was queued, in any order.
        width: columns.

    Attributes:
        breaks: column, beginning and length (ns) of each stretch that is shortened.
    """

    def __init__(self, start: int, end: int, work: Iterable[Stretch], width: int) -> None:
        self.width = max(1, width)
        self.start, self.end = start, max(end, start + 1)
        self.breaks: list[tuple[float, int, int]] = []
        self._times = [start]
        self._places = [0.0]
        idle, total = _idle(sorted(work), self.start, self.end)
        kept = total * IDLE_KEPT
        for begin, finish in idle:
            if finish - begin > total * IDLE_SHARE and total:
                self._to(begin, begin - self._times[-1])
                self._to(finish, kept)
        self._to(self.end, self.end - self._times[-1])
        size = self._places[-1] or 1.0
        self._places = [place * (self.width - 1) / size for place in self._places]
        for at, (begin, finish) in enumerate(zip(self._times, self._times[1:], strict=False)):
            if finish - begin > total * IDLE_SHARE and total and (begin, finish) in idle:
                middle = (self._places[at] + self._places[at + 1]) / 2
                self.breaks.append((middle, begin, finish - begin))

    def _to(self, time: int, size: float) -> None:
        if time > self._times[-1]:
            self._times.append(time)
            self._places.append(self._places[-1] + max(size, 0))

    def column(self, time: int) -> int:
        """The column of a moment, within the width."""
        at = bisect_right(self._times, time) - 1
        if at < 0:
            return 0
        if at >= len(self._times) - 1:
            return self.width - 1
        low, high = self._times[at], self._times[at + 1]
        place, after = self._places[at], self._places[at + 1]
        return int(place + (after - place) * (time - low) / (high - low))

    def moment(self, column: int) -> int:
        """The moment at a column, ns."""
        at = min(bisect_right(self._places, column) - 1, len(self._times) - 2)
        low, high = self._times[at], self._times[at + 1]
        place, after = self._places[at], self._places[at + 1]
        share = (column - place) / (after - place) if after > place else 0.0
        return int(low + (high - low) * share)

    def axis(self, ticks: int = 4) -> Line:
        """Moments since the start along the columns, and how long the shortened stretches are."""
        cells = [" "] * (self.width + 8)
        whole = span(self.end - self.start)
        _write(cells, 0, "0s")
        _write(cells, self.width - len(whole), whole)
        for place, _, length in self.breaks:
            text = f"~{span(length)}"
            _write(cells, int(place) - len(text) // 2, text)
        for tick in range(1, ticks):
            column = (self.width - 1) * tick // ticks
            moment = self.moment(column)
            if not any(begin < moment < begin + length for _, begin, length in self.breaks):
                _write(cells, column, span(moment - self.start))
        return Line().add("".join(cells[: self.width]), "faint")


def _write(cells: list[str], column: int, text: str) -> None:
    """Write where nothing is written yet; what does not fit is left out."""
    column = max(0, column)
    place = cells[max(0, column - 1) : column + len(text) + 1]
    if all(cell == " " for cell in place):
        cells[column : column + len(text)] = text


def _idle(work: Sequence[Stretch], start: int, end: int) -> tuple[list[Stretch], int]:
    """The stretches without work, and how much work there is in all, ns."""
    idle: list[Stretch] = []
    total, at = 0, start
    for begin, finish in ((max(a, start), min(b, end)) for a, b in work):
        if begin > at and begin <= end:
            idle.append((at, min(begin, end)))
        total += max(0, finish - max(begin, at))
        at = max(at, finish)
    if end > at:
        idle.append((at, end))
    return idle, total


def work_of(attempts: Iterable[Attempt], now: int) -> Iterable[Stretch]:
    """When attempts were queued or running."""
    for attempt in attempts:
        begun = attempt.begun
        if begun is not None:
            yield begun.at, attempt.ended.at if attempt.ended is not None else now


# --- bars --------------------------------------------------------------------------------------

Cells = list[tuple[str, str]]
BLANK = (" ", "")

_ENDED: dict[str, str] = {
    "completed": "ok",
    "continued": "ok",
    "failed": "bad",
    "timeout": "bad",
    "cancelled": "canc",
    "skipped": "muted",
    "retried": "retry",
}


def bar(
    attempts: Sequence[Attempt], scale: Scale, now: int, look: Look, *, waits: bool = False
) -> Cells:
    """The bar of one step: its queueing, its attempts, and where one was cut short.

    Args:
        attempts: in order.
        scale: where moments lie.
        now: where what goes on ends, ns.
        look: the glyphs.
        waits: the step only waits; it is drawn as a thin line.
    """
    cells: Cells = [BLANK] * scale.width
    for index, attempt in enumerate(attempts):
        last = index == len(attempts) - 1
        if index and attempt.begun is not None:
            _backoff(cells, attempts[index - 1], scale.column(attempt.begun.at), scale, look)
        _one(cells, attempt, scale, now, look, last=last, waits=waits)
    return cells


def _backoff(cells: Cells, before: Attempt, until: int, scale: Scale, look: Look) -> None:
    if before.ended is not None:
        for column in range(scale.column(before.ended.at) + 1, until):
            cells[column] = (look.glyph("dot"), "faint")


def _one(
    cells: Cells,
    attempt: Attempt,
    scale: Scale,
    now: int,
    look: Look,
    *,
    last: bool,
    waits: bool,
) -> None:
    end = scale.column(attempt.ended.at if attempt.ended is not None else now)
    if attempt.queued is not None:
        until = scale.column(attempt.started.at) if attempt.started is not None else end
        for column in range(scale.column(attempt.queued.at), until):
            cells[column] = (look.glyph("queue"), "faint")
        if attempt.started is None:
            cells[end] = (look.glyph("queue"), "wait" if attempt.ended is None else "faint")
    if attempt.started is None:
        return
    role = _role(attempt, last=last, waits=waits)
    glyph = look.glyph("track" if waits else "bar")
    begin = scale.column(attempt.started.at)
    for column in range(begin, max(begin, end) + 1):
        cells[column] = (glyph, role)
    if attempt.ended is None:
        cells[end] = (look.glyph("now"), role)
    elif not last and attempt.outcome in ("failed", "timeout"):
        cells[end] = (look.glyph("cut"), "bad")


def _role(attempt: Attempt, *, last: bool, waits: bool) -> str:
    if attempt.ended is None:
        return "wait" if waits else "run"
    if not last and attempt.outcome in ("failed", "timeout"):
        return "retry"
    return _ENDED.get(attempt.outcome, "ok")


def mark_usual(cells: Cells, began: int, p50: int, scale: Scale, look: Look) -> None:
    """Put a ghost where a step usually ends."""
    if began + p50 <= scale.end:
        column = scale.column(began + p50)
        glyph, role = cells[column]
        if glyph not in (look.glyph("now"), look.glyph("cut")):
            cells[column] = (look.glyph("ghost"), role if glyph.strip() else "muted")


def crowd_bar(
    crowd: Sequence[Sequence[Attempt]], scale: Scale, now: int, look: Look, role: str
) -> Cells:
    """The bar of many: as high as the number of them that run at a time."""
    changes = [0] * (scale.width + 1)
    bad: set[int] = set()
    for attempts in crowd[:: len(crowd) // SAMPLED + 1]:
        for attempt in attempts:
            if attempt.started is None:
                continue
            end = scale.column(attempt.ended.at if attempt.ended is not None else now)
            changes[scale.column(attempt.started.at)] += 1
            changes[end + 1] -= 1
            if attempt.outcome in ("failed", "timeout"):
                bad.add(end)
    heights: list[int] = []
    level = 0
    for change in changes[: scale.width]:
        level += change
        heights.append(level)
    top, bars = max(heights, default=0), SPARKS[look.ascii_only]
    return [
        (bars[min(len(bars) - 1, height * len(bars) // (top + 1))], "bad" if at in bad else role)
        if height
        else BLANK
        for at, height in enumerate(heights)
    ]


def as_line(cells: Cells, line: Line) -> Line:
    """Append cells to a line, neighbours of the same role together."""
    text, role = "", ""
    for glyph, kind in cells:
        if kind != role and text:
            line.add(text, role)
            text = ""
        text, role = text + glyph, kind
    return line.add(text, role)
