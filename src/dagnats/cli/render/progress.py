"""A bar that says how far a long piece of work is, to somebody who waits at a terminal."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import Self

from dagnats.cli.render.console import err, is_terminal
from dagnats.cli.state import current

PATIENCE_S = 0.3
"""Work that is done sooner needs no bar."""

REDRAW_S = 0.1
WIDTH = 30
ERASE = "\r\x1b[K"


class Bar:
    """Drawn on standard error while the block runs, and gone after it.

    Args:
        label: what is being done, e.g. ``Cancelling``.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        terminal = is_terminal(sys.stderr) and os.environ.get("TERM", "") not in ("", "dumb")
        self._wanted = terminal and current().human
        self._next = time.monotonic() + PATIENCE_S
        self._drawn = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._drawn:
            err(ERASE, end="")

    def __call__(self, done: int, total: int, what: str = "") -> None:
        """Say how many are done, of how many, and what comes next."""
        now = time.monotonic()
        if not self._wanted or now < self._next or total < 1:
            return
        self._next, self._drawn = now + REDRAW_S, True
        err(ERASE + self._line(done, total, what), end="")

    def _line(self, done: int, total: int, what: str) -> str:
        filled = WIDTH * min(done, total) // total
        bar = "█" * filled + "░" * (WIDTH - filled)
        line = f"{self._label} {bar} {done:,} of {total:,} {what}".rstrip()
        return line[: max(shutil.get_terminal_size().columns - 1, 20)]
