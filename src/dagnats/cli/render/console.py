"""The only way to standard output and standard error.

Text from strangers must have passed ``services.text`` before it comes here; what comes here may
hold colour codes of our own.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import TextIO

_CODES = {
    "good": "32",
    "bad": "31",
    "active": "33",
    "quiet": "90",
    "accent": "36",
    "strong": "1",
}
_ROLE_OF = {
    "completed": "good",
    "skipped": "good",
    "recovered": "good",
    "compensated": "active",
    "failed": "bad",
    "compensate_failed": "bad",
    "running": "active",
    "queued": "active",
    "scheduled": "active",
    "pending": "quiet",
    "cancelled": "quiet",
    "ERROR": "bad",
    "WARN": "active",
    "INFO": "good",
    "DEBUG": "quiet",
}


def out(text: str = "", end: str = "\n") -> None:
    """Write to standard output; to nobody when it was closed."""
    _write(sys.stdout, text + end)


def err(text: str = "", end: str = "\n") -> None:
    """Write to standard error; to nobody when it was closed."""
    _write(sys.stderr, text + end)


def warn(text: str) -> None:
    """Tell of something that does not stop the command."""
    from dagnats.services.text import one_line

    err(f"Warning: {one_line(text)}")


def _write(stream: TextIO | None, text: str) -> None:
    if stream is not None:
        stream.write(text)
        stream.flush()


def is_terminal(stream: TextIO | None = None) -> bool:
    """Whether standard output (or the given stream) is a terminal."""
    target = sys.stdout if stream is None else stream
    try:
        return target is not None and target.isatty()
    except ValueError:  # closed
        return False


def width() -> int:
    """Columns of the terminal; 0 when standard output is none, and lines may be of any length."""
    return max(shutil.get_terminal_size().columns, 20) if is_terminal() else 0


def colours() -> bool:
    """Whether to colour: on a terminal that can, unless NO_COLOR is set."""
    dumb = os.environ.get("TERM", "") in ("", "dumb")
    return is_terminal() and not dumb and not os.environ.get("NO_COLOR")


def paint(text: str, role: str) -> str:
    """``text`` in the colour of a role such as ``good`` or ``bad``."""
    if not role or not colours():
        return text
    return f"\x1b[{_CODES[role]}m{text}\x1b[0m"


def role_of(status: str) -> str:
    """The role of a status, an event type or a log level; ``""`` for others."""
    if status in _ROLE_OF:
        return _ROLE_OF[status]
    suffix = status.rpartition(".")[2]
    return {"completed": "good", "failed": "bad"}.get(suffix, "active" if "." in status else "")
