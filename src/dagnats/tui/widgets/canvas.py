"""A pane that paints lines and repaints only those that changed."""

from __future__ import annotations

from rich.segment import Segment
from textual import events
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from dagnats.tui.actions import Action
from dagnats.tui.host import Host, host_of
from dagnats.tui.line import Line, Span
from dagnats.tui.theme import Look


class Canvas(Widget):
    """A rectangle of lines.

    Subclasses override :meth:`paint`, which says what every row shows now, and call
    :meth:`repaint` when that may have changed; rows that come out the same are not drawn again.

    Attributes:
        ground: role of the background.
    """

    DEFAULT_CSS = "Canvas { height: 1fr; width: 1fr; }"
    ground = "bg"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes, markup=False)
        self._lines: list[Line] = []
        self._painted = Size(0, 0)
        self._stale = True

    @property
    def host(self) -> Host:
        """The application."""
        return host_of(self)

    @property
    def look(self) -> Look:
        """Theme and glyphs in force."""
        return self.host.look

    def paint(self, width: int, height: int) -> list[Line]:
        """The rows as they should look now; missing ones are blank."""
        del width, height
        return []

    def actions(self) -> list[Action]:
        """What keys do while this pane has the focus."""
        return []

    def repaint(self) -> None:
        """Paint anew, and draw the rows that changed. Costs nothing while hidden."""
        size = self.size
        if not size.width or not size.height or not self.is_on_screen:
            self._stale = True
            return
        before, known = self._lines, self._painted
        self._paint(size)
        if known != size:
            self.refresh()
            return
        blank = Line()
        for y in range(size.height):
            old = before[y] if y < len(before) else blank
            new = self._lines[y] if y < len(self._lines) else blank
            if old != new:
                self.refresh(Region(0, y, size.width, 1))

    @property
    def is_on_screen(self) -> bool:
        """Whether the pane and everything around it is displayed."""
        return self.is_attached and all(
            node.display for node in self.ancestors_with_self if isinstance(node, Widget)
        )

    def restyle(self) -> None:
        """The theme has changed: draw everything."""
        self._stale = True
        self.refresh()

    def _paint(self, size: Size) -> None:
        self._lines = self.paint(size.width, size.height)
        self._painted = size
        self._stale = False

    def on_resize(self, event: events.Resize) -> None:
        """Fit the new size."""
        del event
        self._stale = True
        self.refresh()

    def on_show(self) -> None:
        """Catch up with what happened while hidden."""
        self._stale = True
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One row for Textual."""
        size = self.size
        if self._stale or self._painted != size:
            self._paint(size)
        row = self._lines[y] if y < len(self._lines) else Line()
        return self._strip(row, size.width)

    def _strip(self, row: Line, width: int) -> Strip:
        look, ground = self.look, row.ground or self.ground
        if row.width > width:
            row = _copied(row).clip(width)
        segments = [Segment(span.text, look.style(span.role, ground)) for span in row.spans]
        if row.width < width:
            segments.append(Segment(" " * (width - row.width), look.style("", ground)))
        return Strip(segments, width)

    def span_at(self, x: int, y: int) -> Span | None:
        """What was painted at a cell."""
        return self._lines[y].at(x) if 0 <= y < len(self._lines) else None

    def on_click(self, event: events.Click) -> None:
        """Run the action of the span that was clicked."""
        found = self.span_at(event.x, event.y)
        if found is not None and found.link:
            event.stop()
            self.host.act_by_id(found.link)

    def lines(self) -> list[Line]:
        """The rows as they are painted: for tests and for printing."""
        if self._stale or self._painted != self.size:
            self._paint(self.size)
        return self._lines

    def texts(self) -> list[str]:
        """The rows as plain text."""
        return [row.text for row in self.lines()]


def _copied(row: Line) -> Line:
    copy = Line(row.ground)
    return copy.extend(row) if row.spans else copy
