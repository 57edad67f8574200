"""The clipboard: the system's own tool where there is one, else the terminal's (OSC 52)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable

LONGEST = 74_000
"""Bytes that terminals take by OSC 52 at most (``tui.md`` 5.10)."""

_TOOLS = (
    ("WAYLAND_DISPLAY", ("wl-copy",)),
    ("DISPLAY", ("xclip", "-selection", "clipboard")),
    ("", ("pbcopy",)),
    ("", ("clip.exe",)),
)


def copy(text: str, by_terminal: Callable[[str], None]) -> str:
    """Copy, and say by what means."""
    if not os.environ.get("SSH_CONNECTION"):
        for needed, command in _TOOLS:
            there = (not needed or os.environ.get(needed)) and shutil.which(command[0])
            if there and _piped(command, text):
                return command[0]
    if len(text.encode(errors="replace")) > LONGEST:
        return "nothing: too long for this terminal"
    by_terminal(text)
    return "through the terminal"


def _piped(command: tuple[str, ...], text: str) -> bool:
    try:
        done = subprocess.run(
            command, input=text.encode(errors="replace"), timeout=2, check=False,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
