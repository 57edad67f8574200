"""What every dialog has in common."""

from __future__ import annotations

from typing import Generic, TypeVar

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widget import Widget

from dagnats.tui.actions import Action, effective, key_text
from dagnats.tui.host import Host, host_of
from dagnats.tui.line import Line
from dagnats.tui.widgets.canvas import Canvas
from dagnats.tui.widgets.text import Make, Text

T = TypeVar("T")


class Sheet(ModalScreen[T], Generic[T], inherit_bindings=False):
    """A dialog: a title, a body, and a line of keys.

    Subclasses give :meth:`body` and :meth:`keys`, and end with ``self.dismiss(answer)``.

    Args:
        title: what it is about.
        tall: take most of the screen, for something to read or edit.
        role: role of the title.
    """

    DEFAULT_CSS = """
    Sheet { align: center middle; background: $background 60%; }
    Sheet > #box { width: 90%; max-width: 108; height: auto; max-height: 90%;
                   background: $panel; padding: 1 2; }
    Sheet.tall > #box { height: 90%; max-width: 150; }
    Sheet #title { height: 2; }
    Sheet #keys { height: 2; }
    Sheet #body { height: auto; max-height: 1fr; min-height: 1; }
    Sheet.tall #body { height: 1fr; }
    Sheet TextArea { height: 1fr; }
    """

    def __init__(self, title: str, *, tall: bool = False, role: str = "text bold") -> None:
        super().__init__(classes="tall" if tall else None)
        self.heading = title
        self.role = role
        self.note = ""

    @property
    def host(self) -> Host:
        """The application."""
        return host_of(self)

    def compose(self) -> ComposeResult:
        """Title, body, keys."""
        with Vertical(id="box"):
            yield Fixed(self._title_line, id="title")
            yield from self.body()
            yield Fixed(self._key_lines, id="keys")

    def body(self) -> ComposeResult:
        """The widgets between title and keys."""
        yield from ()

    def keys(self) -> list[Action]:
        """What keys do, besides esc."""
        return []

    def actions(self) -> list[Action]:
        """What keys do here."""
        leave = Action(
            id="sheet.close",
            keys=("escape",),
            label="close",
            title="Close",
            run=lambda: self.dismiss(None),
            group="Go",
        )
        return [*self.keys(), leave]

    def _title_line(self, width: int) -> list[Line]:
        return [Line().add(self.heading, self.role, most=width)]

    def _key_lines(self, width: int) -> list[Line]:
        row = Line()
        for action in effective(self.actions()):
            if action.label:
                row.add(key_text(action.keys[0]), "accent bold", link=action.id).gap()
                row.add(action.label, "muted", link=action.id).gap(2)
        return [Line().add(self.note, "warn", most=width), row.clip(width)]

    def tell(self, note: str) -> None:
        """Say something above the keys."""
        self.note = note
        for pane in self.query(Fixed):
            pane.repaint()

    def restyle(self) -> None:
        """The theme has changed."""
        for pane in self.query(Canvas):
            pane.restyle()


class Fixed(Text):
    """Lines that keys never go to."""

    def __init__(self, make: Make, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(make, ground="raised", focusable=False, id=id)


class Reading(Sheet[None]):
    """Something to read.

    Args:
        title: what it is.
        make: the lines for a width.
    """

    def __init__(self, title: str, make: Make, *, tall: bool = True) -> None:
        super().__init__(title, tall=tall)
        self._make = make

    def body(self) -> ComposeResult:
        """The text."""
        yield Text(self._make, ground="raised", id="body")

    def on_mount(self) -> None:
        """Keys scroll the text."""
        pane = self.query_one("#body", Widget)
        if not self.has_class("tall"):
            width = max(20, min(104, self.app.size.width * 9 // 10 - 4))
            pane.styles.height = max(1, len(self._make(width)))
        pane.focus()
