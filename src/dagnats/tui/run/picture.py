"""The picture of a run: rail, names and timeline, one row for each step."""

from __future__ import annotations

from dagnats.tui.format import age, span
from dagnats.tui.line import Line, cells
from dagnats.tui.run.model import Row
from dagnats.tui.run.shape import Shape
from dagnats.tui.run.state import Layout, RunState
from dagnats.tui.run.timeline import Cells, Scale, as_line, bar, crowd_bar, mark_usual
from dagnats.tui.theme import Look
from dagnats.tui.widgets.table import EDGE, Column, Table

SCROLL = 1
"""The column at the right that the scroll bar may take."""

_COUNTS = {"x": "tries", "r": "loops"}
"""What a count begins with, and the glyph for it."""


def layout_of(state: RunState, width: int) -> Layout:
    """The columns for a width: the timeline takes what the rest leaves."""
    lanes, longest, note = next(sizes for least, sizes in _SIZES if width >= least)
    known = (width, id(state.shape(lanes)), len(state.rows(lanes)))
    if state.layout is None or state.layout[0] != known:
        state.layout = (known, _layout(state, width, lanes, longest, note))
    return state.layout[1]


def _layout(state: RunState, width: int, lanes: int, longest: int, note: int) -> Layout:
    rail = state.shape(lanes).width + 1
    names = (cells(row.name) + _before(row) for row in state.rows(lanes))
    name = max(6, min(longest, max(names, default=6)))
    took, extra = 6, 9 if width < 100 else 12
    bars = width - EDGE - SCROLL - rail - name - 2 - took - 1 - extra - note
    return Layout(lanes, rail, name, EDGE + rail + name + 1, max(8, bars), took, extra, note)


_SIZES = ((150, (10, 28, 18)), (110, (7, 20, 16)), (90, (7, 18, 0)), (0, (4, 14, 0)))
"""From a width on: lanes of the rail, and columns of names and notes at most."""


class Picture(Table[Row]):
    """The steps of a run, with a cursor.

    Args:
        state: the run.
    """

    def __init__(self, state: RunState, *, id: str) -> None:  # noqa: A002
        column: Column[Row] = Column(title="", cell=self._line, width=20, flex=1, gap=0)
        super().__init__([column], lambda row: row.key, heading=True, id=id)
        self.state = state
        self._layout = Layout(4, 2, 8, 12, 20, 6, 8, 0)
        self._scale: Scale | None = None

    def paint(self, width: int, height: int) -> list[Line]:
        """Axis and visible rows."""
        if self.state.view is None:
            return [Line(), *self.empty(width)]
        self._layout = layout_of(self.state, width)
        self._scale = self.state.scale(self._layout.bars)
        return super().paint(width, height)

    def _heading(self, layout: list[tuple[Column[Row], int]]) -> Line:
        del layout
        row = Line().gap(self._layout.start)
        if self._scale is not None:
            row.extend(self._scale.axis(4 if self._layout.bars >= 40 else 2))
        return row

    def _line(self, row: Row) -> Line:
        """A row: rail, name, bar, how long it took, what it waits for."""
        assert self._scale is not None
        at, look, now = self._layout, self.look, self.state.now
        line = Line()
        _rail(line, row, self.state.shape(at.lanes), look)
        line.gap(at.rail - line.width)
        _name(line, row, at, look)
        as_line(self._cells(row, self._scale, now), line)
        line.gap(1)
        return self._right(line, row, now)

    def _cells(self, row: Row, scale: Scale, now: int) -> Cells:
        look = self.look
        if row.kind == "run":
            return _run_bar(row, scale, now, look)
        if row.crowd:
            cells_ = crowd_bar(row.crowd, scale, now, look, look.status(row.status)[1])
        else:
            cells_ = bar(row.attempts, scale, now, look, waits=row.waits)
        usual = self.state.usual(row.key) if self.state.ghosts and row.kind == "step" else None
        if usual is not None and row.began is not None:
            mark_usual(cells_, row.began, usual.p50, scale, look)
        return cells_

    def _right(self, line: Line, row: Row, now: int) -> Line:
        at, look = self._layout, self.look
        took, role = row.took(now), "muted"
        if took is None:
            # What has not begun has no bar either: its reason may take that room.
            room = at.took + at.extra + at.note + 1
            return line.add(row.note, "muted", width=room)
        verdict = self._verdict(row, took)
        if verdict == "slower":
            role = "warn"
        elif row.status in ("running", "retrying", "compensating"):
            role = "text"
        line.add(span(took), role, width=at.took, align="right").gap()
        line.extend(_extra(row, verdict, look, at.extra))
        return line.gap().add(_note(row, now), "muted", most=at.note - 1) if at.note else line

    def _verdict(self, row: Row, took: int) -> str:
        usual = self.state.usual(row.step_id) if row.kind in ("step", "run") else None
        if usual is None:
            return ""
        verdict = usual.verdict(took)
        return verdict if row.ended is not None or verdict == "slower" else ""


def _rail(line: Line, row: Row, shape: Shape, look: Look) -> None:
    glyph, role = look.status(row.status)
    if row.node < 0:
        line.add(glyph, f"{role} bold")
        return
    rung = shape.rungs[row.node]
    if row.under:
        line.add(_drawn(rung.below, look), "faint")
        return
    line.add(_drawn(rung.cells[: rung.column], look), "faint")
    line.add(glyph, role)
    line.add(_drawn(rung.cells[rung.column + 1 :], look), "faint")


_PLAIN = str.maketrans("│├┤┼╮╭┬─┊", "||++..--:")


def _drawn(cells_: str, look: Look) -> str:
    return cells_.translate(_PLAIN) if look.ascii_only else cells_


def _before(row: Row) -> int:
    """Cells that stand before a name."""
    return (4 if row.kind == "step" else 3) * row.under + 2 * row.opens


def _name(line: Line, row: Row, at: Layout, look: Look) -> None:
    role = _name_role(row)
    start = line.width
    if row.under:
        glyph, status = look.status(row.status)
        line.gap(2 if row.kind == "step" else 1).add(glyph, status).gap()
    if row.opens:
        line.add(look.glyph("open" if row.opened else "closed"), "accent").gap()
    line.add(row.name, role, most=max(1, at.name - (line.width - start)))
    line.gap(at.name + 1 - (line.width - start))


def _name_role(row: Row) -> str:
    if row.kind == "run" or row.status in ("failed", "compensate_failed"):
        return "text bold"
    if row.began is None:
        return "faint" if row.status == "skipped" else "muted"
    return "text"


def _run_bar(row: Row, scale: Scale, now: int, look: Look) -> Cells:
    cells_: Cells = [(" ", "")] * scale.width
    if row.began is None:
        return cells_
    end = scale.column(row.ended if row.ended is not None else now)
    for column in range(end + 1):
        cells_[column] = (look.glyph("rule"), "line")
    if row.ended is None:
        cells_[end] = (look.glyph("now"), look.status(row.status)[1])
    else:
        cells_[end] = look.status(row.status)
    return cells_


def _note(row: Row, now: int) -> str:
    if row.due is None:
        return row.note
    return f"{row.note} in {age(row.due - now)}" if row.due > now else f"{row.note} now"


def _extra(row: Row, verdict: str, look: Look, width: int) -> Line:
    """A count, then a mark for what is unusual, then one for the critical path."""
    line = Line()
    if row.extra:
        glyph = _COUNTS.get(row.extra[0])
        text = look.glyph(glyph) + row.extra[1:] if glyph else row.extra
        if cells(text) > width - 2:
            done, _, total = text.partition("/")
            text = f"{int(done) * 100 // int(total)}%" if total else text
        line.add(text, "retry" if glyph else "muted", most=width - 2)
    line.gap(width - 2 - line.width)
    if verdict:
        slower = verdict == "slower"
        line.add(look.glyph("up" if slower else "down"), "warn" if slower else "faint")
    if row.critical and row.kind != "run":
        line.gap(width - 1 - line.width).add(look.glyph("critical"), "accent dim")
    return line.gap(width - line.width)
