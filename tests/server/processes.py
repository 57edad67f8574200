"""What tests of processes share."""

from __future__ import annotations

import os
from pathlib import Path


def alive(pid: int) -> bool:
    """Whether a process exists, zombies not counted."""
    try:
        os.kill(pid, 0)
        return _stat(pid)[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def child_of(parent: int) -> int:
    """The nats-server that a process runs."""
    found = [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _is_nats(entry, parent)
    ]
    assert len(found) == 1, found
    return found[0]


def _is_nats(entry: Path, parent: int) -> bool:
    try:
        name = (entry / "comm").read_text().strip()
        return name == "nats-server" and int(_stat(int(entry.name))[1]) == parent
    except (FileNotFoundError, ProcessLookupError):
        return False


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name: state, parent, ..."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
