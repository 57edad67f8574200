"""What was done and what went wrong: the report line, and the memory behind it."""

from __future__ import annotations

from dagnats.model.times import SECOND
from dagnats.tui.format import clock
from dagnats.tui.host import Undo
from dagnats.tui.line import Line

SHOWN_NS = 8 * SECOND
"""How long a report stays, and for how long it can be undone."""

KEEP = 200
"""Reports that are remembered."""


class Reports:
    """Reports of this session.

    Attributes:
        undo: takes back what was reported last.
        last: the last report's text and role.
    """

    def __init__(self) -> None:
        self.undo: Undo | None = None
        self.last: tuple[str, str] = ("", "")
        self._at = 0
        self._all: list[tuple[int, str, str]] = []

    def add(self, now: int, text: str, role: str, undo: Undo | None = None) -> None:
        """Remember and show a report."""
        self.last, self._at, self.undo = (text, role), now, undo
        self._all.append((now, text, role))
        del self._all[:-KEEP]

    def line(self, now: int) -> Line | None:
        """The report line; nothing once it is old."""
        text, role = self.last
        if not text or now - self._at >= SHOWN_NS:
            self.undo = None
            return None
        row = Line("surface").gap().add(text, role)
        if self.undo is not None:
            row.add("   u", "accent bold", link="app.undo").add(" undo", "muted", link="app.undo")
        return row

    def lines(self) -> list[Line]:
        """Every report, newest first."""
        return [
            Line().add(clock(at) + "  ", "muted").add(text, role)
            for at, text, role in reversed(self._all)
        ]
