"""The virtual list: any number of rows, of which only the visible are ever built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from textual import events
from textual.message import Message

from dagnats.tui.actions import Action, going
from dagnats.tui.line import Line, line
from dagnats.tui.widgets.canvas import Canvas

T = TypeVar("T")
Cell = tuple[str, str] | Line
"""Text and role, or a line of its own."""

EDGE = 2
"""Cells before the first column: cursor bar and mark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column(Generic[T]):
    """One column.

    Attributes:
        title: its heading.
        cell: what it shows of a row.
        width: cells it needs.
        flex: its share of the space that is left over; 0: it never grows.
        right: align to the right.
        drop: where there is no room, columns go in the order of this number, the highest first; 0:
            it stays.
        gap: cells before the next column.
    """

    title: str
    cell: Callable[[T], Cell]
    width: int
    flex: int = 0
    right: bool = False
    drop: int = 0
    gap: int = 2


def fitted(columns: Sequence[Column[T]], width: int) -> list[tuple[Column[T], int]]:
    """The columns there is room for, with their widths: dropped by priority, never squeezed."""
    kept = list(columns)
    while sum(c.width + c.gap for c in kept) > width:
        worst = max(kept, key=lambda c: c.drop)
        if not worst.drop:
            break
        kept.remove(worst)
    spare = max(0, width - sum(c.width + c.gap for c in kept))
    shares = sum(c.flex for c in kept)
    return [(c, c.width + (spare * c.flex // shares if shares else 0)) for c in kept]


class Table(Canvas, Generic[T], can_focus=True):
    """A list of rows under a heading, with a cursor that follows the row's *key*.

    Rows are any sequence; give it anew with :meth:`show` whenever it changed. The row under the
    cursor stays where it is on the screen, whatever is inserted above it.

    Args:
        columns: how rows are shown.
        key: what a row is known by.
        markable: rows can be marked.
        heading: show the titles of the columns.

    Attributes:
        quiet: show the cursor only while keys go here; for lists among others.
        eager: until it is moved, the cursor is on the first row, whichever that is; for lists that
            have the most important first and where keys change nothing.
    """

    class Moved(Message):
        """The cursor is on another row, or the rows have changed under it."""

        def __init__(self, table: Table[Any]) -> None:
            super().__init__()
            self.table = table

        @property
        def control(self) -> Table[Any]:
            """The table."""
            return self.table

    class Opened(Moved):
        """A row was opened with enter or a double click."""

    def __init__(
        self,
        columns: Sequence[Column[T]],
        key: Callable[[T], str],
        *,
        markable: bool = False,
        heading: bool = True,
        id: str | None = None,  # noqa: A002
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.columns = columns
        self.key = key
        self.markable = markable
        self.heading = heading
        self.rows: Sequence[T] = ()
        self.quiet = False
        self.eager = False
        self.marks: set[str] = set()
        self.cursor = 0
        self.top = 0
        self.empty: Callable[[int], list[Line]] = lambda width: [line("nothing here", "muted")]
        self.row_role: Callable[[T], str] = lambda row: ""
        self._known = ""
        self._anchor: int | None = None

    # Data

    def show(self, rows: Sequence[T]) -> None:
        """Take over rows; cursor and scroll position stay with the row they are on."""
        self.rows = rows
        found = self._find(self._known)
        if found is not None:
            # At the top rows are watched as they come in, elsewhere nothing moves; wherever it
            # is, the cursor stays on its row: what a key does never depends on what just came.
            if self._anchor is not None:
                self.top = max(0, self.top + found - self.cursor)
            elif self.eager and self.cursor == 0:
                found = 0
            self.cursor, self._known = found, self.key(rows[found])
        elif rows:
            self.cursor = min(self.cursor, len(rows) - 1)
            self._known = self.key(rows[self.cursor])
        else:
            self.cursor, self._known = 0, ""
        self._clamp()
        self.repaint()
        if self.is_attached:
            self.post_message(self.Moved(self))

    def _find(self, key: str) -> int | None:
        """Where a row is: near its last place first, since most changes are small."""
        if not key:
            return None
        find = getattr(self.rows, "find", None)
        if find is not None:
            return cast("Callable[[str], int | None]", find)(key)
        rows, at, size = self.rows, self.cursor, len(self.rows)
        for step in range(64):
            for index in (at + step, at - step):
                if 0 <= index < size and self.key(rows[index]) == key:
                    return index
        for index in range(size):
            if self.key(rows[index]) == key:
                return index
        return None

    @property
    def current(self) -> T | None:
        """The row under the cursor."""
        return self.rows[self.cursor] if self.cursor < len(self.rows) else None

    @property
    def above(self) -> int:
        """How many rows are hidden above."""
        return self.top

    def marked(self) -> list[T]:
        """The marked rows that are there, in order."""
        if not self.marks:
            return []
        return [row for row in self.rows if self.key(row) in self.marks]

    def chosen(self) -> list[T]:
        """What an action is about: the marked rows, else the one under the cursor."""
        return self.marked() or ([self.current] if self.current is not None else [])

    # Moving

    @property
    def page(self) -> int:
        """Rows that are visible."""
        return max(1, self.size.height - self.heading)

    def move_to(self, index: int, *, follow: bool = False) -> None:
        """Put the cursor on a row.

        Args:
            index: which; cut to what there is.
            follow: stay at the top as rows come in, if this is the first.
        """
        if not self.rows:
            return
        self.cursor = max(0, min(index, len(self.rows) - 1))
        self._known = self.key(self.rows[self.cursor])
        self._anchor = None if follow else self.cursor
        self._clamp()
        self.repaint()
        self.post_message(self.Moved(self))

    def move_to_key(self, key: str) -> bool:
        """Put the cursor on the row with a key; whether there is one."""
        found = self._find(key)
        if found is None:
            self._known = key  # It may come later.
            return False
        self.move_to(found)
        return True

    def move(self, by: int) -> None:
        """Move the cursor."""
        self.move_to(self.cursor + by)

    def _clamp(self) -> None:
        page = self.page
        self.top = min(self.top, self.cursor)
        self.top = max(self.top, self.cursor - page + 1, 0)
        self.top = max(0, min(self.top, len(self.rows) - page))

    def toggle_mark(self) -> None:
        """Mark or unmark the row under the cursor, and move on."""
        if self.current is not None:
            self.marks ^= {self.key(self.current)}
            self.move(1)
            self.repaint()

    def mark_all(self) -> None:
        """Mark every row, or none if all are marked."""
        keys = {self.key(row) for row in self.rows}
        self.marks = set() if keys <= self.marks else keys
        self.repaint()
        self.post_message(self.Moved(self))

    def open_current(self) -> None:
        """Open the row under the cursor."""
        if self.current is not None:
            self._anchor = self.cursor  # Whoever comes back finds it under the cursor.
            self.post_message(self.Opened(self))

    # Painting

    def paint(self, width: int, height: int) -> list[Line]:
        """Heading and the visible rows."""
        self._clamp()
        # One cell at the right is the scroll bar's.
        layout = fitted(self.columns, width - EDGE - 1)
        lines = [self._heading(layout)] if self.heading else []
        if not self.rows:
            return [*lines, *(Line().gap(EDGE).extend(row) for row in self.empty(width - EDGE))]
        room = height - len(lines)
        last = min(self.top + room, len(self.rows))
        lines += [self._row(index, layout, width, room) for index in range(self.top, last)]
        return lines

    def _heading(self, layout: list[tuple[Column[T], int]]) -> Line:
        row = Line().gap(EDGE)
        for column, width in layout:
            align = "right" if column.right else "left"
            row.add(column.title, "muted bold", width=width, align=align).gap(column.gap)
        return row

    def _row(self, index: int, layout: list[tuple[Column[T], int]], width: int, room: int) -> Line:
        item = self.rows[index]
        here, marked = index == self.cursor, self.key(item) in self.marks
        here = here and (self.has_focus or not self.quiet)
        ground = ("cursor" if self.has_focus else "mark") if here else ("mark" if marked else "")
        row = Line(ground)
        look = self.look
        row.add(look.glyph("cursor") if here else " ", "accent")
        row.add(look.glyph("mark") if marked else " ", "accent bold")
        extra = self.row_role(item)
        for column, size in layout:
            cell = column.cell(item)
            if isinstance(cell, Line):
                start = row.width
                row.extend(cell.clip(size))
                row.gap(start + size - row.width)
            else:
                align = "right" if column.right else "left"
                role = f"{cell[1]} {extra}" if extra else cell[1]
                row.add(cell[0], role, width=size, align=align)
            row.gap(column.gap)
        return self._with_bar(row, index - self.top, width, room)

    def _with_bar(self, row: Line, y: int, width: int, room: int) -> Line:
        total = len(self.rows)
        if total <= room:
            return row
        row.clip(width - 1).gap(width - 1 - row.width)
        size = max(1, room * room // total)
        start = (room - size) * self.top // max(1, total - room)
        return row.add(self.look.glyph("thumb") if start <= y < start + size else " ", "line")

    # Input

    def actions(self) -> list[Action]:
        """Moving and marking."""
        half, page = max(1, self.page // 2), self.page
        found = [
            Action(
                id="list.open",
                keys=("enter", "l", "right"),
                label="open",
                title="Open",
                run=self.open_current,
                group="Go",
            ),
            going("list.down", "Down", lambda: self.move(1), "j", "down"),
            going("list.up", "Up", lambda: self.move(-1), "k", "up"),
            going("list.first", "First row", lambda: self.move_to(0, follow=True), "g", "home"),
            going("list.last", "Last row", lambda: self.move_to(len(self.rows)), "G", "end"),
            going("list.page_down", "Page down", lambda: self.move(page), "pagedown", "ctrl+f"),
            going("list.page_up", "Page up", lambda: self.move(-page), "pageup"),
            going("list.half_down", "Half a page down", lambda: self.move(half), "ctrl+d"),
            going("list.half_up", "Half a page up", lambda: self.move(-half), "ctrl+u"),
        ]
        return [*found, *self._marking()] if self.markable else found

    def _marking(self) -> list[Action]:
        return [
            Action(
                id="list.mark",
                keys=("space",),
                label="mark",
                title="Mark, move down",
                run=self.toggle_mark,
                group="Do",
            ),
            Action(
                id="list.mark_all",
                keys=("*",),
                title="Mark all that match, or none",
                run=self.mark_all,
                group="Do",
            ),
        ]

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Scroll with the wheel."""
        event.stop()
        self.move(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Scroll with the wheel."""
        event.stop()
        self.move(-3)

    def on_click(self, event: events.Click) -> None:
        """Choose a row; a double click opens it."""
        index = self.top + event.y - self.heading
        if event.y >= self.heading and index < len(self.rows):
            event.stop()
            self.focus()
            self.move_to(index)
            if event.chain > 1:
                self.open_current()

    def on_focus(self) -> None:
        """The cursor row shows where keys go."""
        self.repaint()
        self.host.refresh_chrome()

    def on_blur(self) -> None:
        """The cursor row shows that keys go elsewhere."""
        self.repaint()
