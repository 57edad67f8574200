"""Lines of styled text, and the boundary through which all text reaches the terminal.

A :class:`Line` is a row of spans; a span is text, a role of :mod:`dagnats.tui.theme`, and
possibly the name of an action that a click on it runs. Text gets into a line only through
:meth:`Line.add`, which makes it safe: whatever a run, a log or an error holds, no control
character, direction mark or markup of it has any effect. Widths are cells, never characters.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size

from dagnats.services.text import one_line

LONGEST = 2_000
"""Characters of a span; no terminal is wider."""

# Zero-width characters and variation selectors: terminals disagree on the width of what has them.
_INVISIBLE = re.compile(
    "[\u00ad\u180e\u200b-\u200d\u2060-\u2064\ufe00-\ufe0f\ufeff\U000e0100-\U000e01ef]"
)


class Span(NamedTuple):
    """A piece of a line."""

    text: str
    role: str = ""
    link: str = ""


def safe(text: str, limit: int = LONGEST) -> str:
    """``text`` as one line that a terminal shows and does not act upon."""
    if text.isascii() and text.isprintable():
        return text[:limit]
    return _INVISIBLE.sub("", one_line(text, limit))


def cells(text: str) -> int:
    """How many cells a text takes."""
    return len(text) if text.isascii() else cell_len(text)


def cut(text: str, width: int) -> str:
    """``text`` in at most ``width`` cells; what was cut ends in an ellipsis."""
    if cells(text) <= width:
        return text
    if width <= 0:
        return ""
    if text.isascii():
        return text[: width - 1] + "…"
    return set_cell_size(text, width - 1).rstrip() + "…" if width > 1 else "…"


class Line:
    """One row of the screen, built from left to right.

    Args:
        ground: role of the background of the whole row; empty: that of the pane.
    """

    __slots__ = ("ground", "spans", "width")

    def __init__(self, ground: str = "") -> None:
        self.spans: list[Span] = []
        self.width = 0
        self.ground = ground

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Line) and self.spans == other.spans and self.ground == other.ground

    def __hash__(self) -> int:
        return hash((tuple(self.spans), self.ground))

    @property
    def text(self) -> str:
        """What stands in the line, without roles."""
        return "".join(span.text for span in self.spans)

    def add(
        self,
        text: object,
        role: str = "",
        *,
        width: int = 0,
        align: str = "left",
        most: int = 0,
        link: str = "",
    ) -> Line:
        """Append text, from whomever it comes.

        Args:
            text: anything; it is made safe here.
            role: how it looks, e.g. ``bad`` or ``text bold``.
            width: pad or cut to exactly this many cells; 0: as it is.
            align: ``left`` or ``right`` within ``width``.
            most: cut to at most this many cells; 0: as it is.
            link: action that a click runs.

        Returns:
            The line itself, so that calls chain.
        """
        plain = safe(text if isinstance(text, str) else str(text))
        if width or most:
            plain = cut(plain, width or most)
        size = cells(plain)
        if width > size:
            pad = " " * (width - size)
            plain = pad + plain if align == "right" else plain + pad
            size = width
        if plain:
            self.spans.append(Span(plain, role, link))
            self.width += size
        return self

    def gap(self, width: int = 1) -> Line:
        """Append spaces."""
        return self.add(" " * width) if width > 0 else self

    def to(self, column: int) -> Line:
        """Append spaces up to a column, at least one if the line is already there."""
        return self.gap(max(1, column - self.width))

    def extend(self, other: Line) -> Line:
        """Append another line's spans."""
        self.spans += other.spans
        self.width += other.width
        return self

    def right(self, other: Line, width: int) -> Line:
        """Put ``other`` at the right end of a row of ``width``; the left side gives way."""
        room = width - other.width
        if room <= 0:
            return self
        if self.width > room - 1:
            self.clip(room - 1)
        return self.gap(room - self.width).extend(other)

    def clip(self, width: int) -> Line:
        """Cut the line to at most ``width`` cells."""
        if self.width <= width:
            return self
        kept: list[Span] = []
        used = 0
        for span in self.spans:
            size = cells(span.text)
            if used + size > width:
                rest = cut(span.text, width - used)
                if rest:
                    kept.append(span._replace(text=rest))
                    used += cells(rest)
                break
            kept.append(span)
            used += size
        self.spans, self.width = kept, used
        return self

    def at(self, column: int) -> Span | None:
        """The span at a column."""
        for span in self.spans:
            size = cells(span.text)
            if column < size:
                return span
            column -= size
        return None


def line(text: object = "", role: str = "", ground: str = "") -> Line:
    """A line with one span."""
    return Line(ground).add(text, role)


def pairs(items: list[tuple[str, str]], role: str = "text", gap: int = 3) -> Line:
    """``label value`` pairs on one row, labels muted."""
    row = Line()
    for at, (label, value) in enumerate(items):
        if at:
            row.gap(gap)
        row.add(label, "muted").gap().add(value, role)
    return row


def wrapped(text: str, width: int, role: str = "", most: int = 0) -> list[Line]:
    """Text over several rows, broken at spaces where there are any.

    Args:
        text: anything; its own line breaks are kept.
        width: cells of a row.
        role: how it looks.
        most: rows at most, the last of which then ends in an ellipsis; 0: all.
    """
    rows: list[str] = []
    for part in text.splitlines() or [""]:
        rows += _broken(safe(part.replace("\t", "  "), LONGEST * 4), max(width, 8))
        if most and len(rows) > most:
            rows = [*rows[: most - 1], cut(rows[most - 1] + " …", width)]
            break
    return [line(row, role) for row in rows]


def _broken(text: str, width: int) -> list[str]:
    rows: list[str] = []
    row = ""
    for word in text.split(" "):
        while cells(word) > width:
            if row:
                rows.append(row)
                row = ""
            head = set_cell_size(word, width).rstrip() or word[:1]
            rows.append(head)
            word = word[len(head) :]  # noqa: PLW2901 - what is left of the word
        if row and cells(row) + 1 + cells(word) > width:
            rows.append(row)
            row = word
        else:
            row = f"{row} {word}" if row else word
    return [*rows, row]
