"""Who an engine is, and whether another one on this machine is certainly gone."""

from __future__ import annotations

import os
import secrets
import socket
import time
from functools import cache
from pathlib import Path

from dagnats.model.records import EngineMember
from dagnats.model.times import format_time

_PROC = Path("/proc")


def this_engine() -> EngineMember:
    """A new member, in this process."""
    pid = os.getpid()
    return EngineMember(
        id=secrets.token_hex(8),
        host=socket.gethostname(),
        pid=pid,
        machine=_machine(),
        process=_process(pid),
        since=format_time(time.time_ns()),
    )


def is_gone(member: EngineMember) -> bool:
    """Whether the process of a member on this machine has certainly ended.

    A member elsewhere, or one whose machine does not say what it is, counts as alive: only the
    lease tells about those.
    """
    if not member.machine or member.machine != _machine():
        return False
    try:
        os.kill(member.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return bool(member.process) and _process(member.pid) != member.process


@cache
def _machine() -> str:
    """Names a boot of this machine and its world of process ids; empty where nothing tells."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def _process(pid: int) -> str:
    """When a process began, in ticks since boot: a reused pid shows another number."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    # A zombie has ended; it only waits for its parent to take notice.
    return "" if fields[0] in ("Z", "X") else fields[19]
