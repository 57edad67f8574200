"""A pane of lines that may be longer than the pane: it scrolls, and has no cursor."""

from __future__ import annotations

from collections.abc import Callable

from textual import events

from dagnats.tui.actions import Action, going
from dagnats.tui.line import Line
from dagnats.tui.widgets.canvas import Canvas

Make = Callable[[int], list[Line]]
"""The lines for a width."""


class Text(Canvas, can_focus=True):
    """Lines made for the width there is.

    Args:
        make: the lines; called again whenever the pane is repainted.
        ground: role of the background; on ``surface`` a cell is left free at both sides.
        focusable: whether keys can go here.
    """

    def __init__(
        self,
        make: Make,
        *,
        ground: str = "bg",
        focusable: bool = True,
        id: str | None = None,  # noqa: A002
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.make = make
        self.ground = ground
        self.inset = 1 if ground == "surface" else 0
        self.can_focus = focusable
        self.top = 0
        self._rows = 0

    def paint(self, width: int, height: int) -> list[Line]:
        """The part that is scrolled to."""
        lines = self.make(max(1, width - 2 * self.inset))
        self._rows = len(lines)
        self.top = max(0, min(self.top, self._rows - height))
        shown = lines[self.top : self.top + height]
        if self._rows > height:
            mark = f" {self.look.glyph('down')} {self._rows - self.top - height} more "
            if self.top + height < self._rows and shown:
                shown[-1] = Line().add(mark.strip(), "faint")
        if self.inset:
            return [Line(row.ground).gap(self.inset).extend(row) for row in shown]
        return shown

    def scroll(self, by: int) -> None:
        """Scroll by rows."""
        self.top = max(0, min(self.top + by, self._rows - self.size.height))
        self.repaint()

    def actions(self) -> list[Action]:
        """Scrolling."""
        page = max(1, self.size.height - 1)
        down, up = ("pagedown", "ctrl+f", "ctrl+d"), ("pageup", "ctrl+u")
        return [
            going("text.down", "Down", lambda: self.scroll(1), "j", "down"),
            going("text.up", "Up", lambda: self.scroll(-1), "k", "up"),
            going("text.page_down", "Page down", lambda: self.scroll(page), *down),
            going("text.page_up", "Page up", lambda: self.scroll(-page), *up),
            going("text.first", "Beginning", lambda: self.scroll(-self._rows), "g", "home"),
            going("text.last", "End", lambda: self.scroll(self._rows), "G", "end"),
        ]

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Scroll with the wheel."""
        event.stop()
        self.scroll(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Scroll with the wheel."""
        event.stop()
        self.scroll(-3)

    def on_focus(self) -> None:
        """The footer shows the keys of this pane."""
        self.host.refresh_chrome()
