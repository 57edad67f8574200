"""A region at the end of the terminal that is drawn over and over."""

from __future__ import annotations

import re
import shutil

from dagnats.cli.render.console import out

_COLOUR = re.compile("\x1b\\[[0-9;]*m")


class Region:
    """Lines that replace each other in place; what stood above stays in the scroll-back."""

    def __init__(self) -> None:
        self._height = 0

    @property
    def rows(self) -> int:
        """How many lines there is room for."""
        return max(shutil.get_terminal_size().lines - 2, 1)

    def draw(self, lines: list[str]) -> None:
        """Show these lines instead of the last ones, cut to what the terminal can show."""
        columns = shutil.get_terminal_size().columns
        shown = [_cut(line, columns - 1) for line in lines[: self.rows]]
        body = "".join(f"{line}\x1b[K\n" for line in shown)
        out(f"{self._up()}{body}\x1b[J", end="")
        self._height = len(shown)

    def clear(self) -> None:
        """Remove the region, so that ordinary output goes on where it stood."""
        if self._height:
            out(f"{self._up()}\x1b[J", end="")
        self._height = 0

    def _up(self) -> str:
        return f"\x1b[{self._height}A\r" if self._height else ""


def _cut(line: str, columns: int) -> str:
    """The line cut to so many characters, colour codes not counted."""
    if len(_COLOUR.sub("", line)) <= columns:
        return line
    kept: list[str] = []
    room, at = columns - 1, 0
    for code in [*_COLOUR.finditer(line), None]:
        text = line[at : code.start() if code else len(line)]
        kept.append(text[:room])
        room -= len(text[:room])
        if code:
            kept.append(code[0])
            at = code.end()
    return "".join(kept) + "…"
