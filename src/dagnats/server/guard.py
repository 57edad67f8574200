"""A child that ends when its parent does, however the parent ends.

On Linux the kernel sees to it. Elsewhere a small process waits at a pipe whose other end only
the parent holds: the pipe closes when the parent is gone, ``kill -9`` included.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>

_WATCH = """
import os, signal, sys
if not sys.stdin.buffer.read(1):
    try:
        os.kill(int(sys.argv[1]), signal.SIGTERM)
    except ProcessLookupError:
        pass
"""


def kernel_guard() -> Callable[[], None] | None:
    """What to run in a child between fork and exec, where the kernel offers this; else ``None``."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def arm() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died between the fork and the call above
            os._exit(1)

    return arm


class PipeGuard:
    """The portable guard of one process.

    Args:
        pid: the process to end when this one is gone.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._watcher: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the watcher."""
        self._watcher = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-c", _WATCH, str(self._pid)),
            stdin=asyncio.subprocess.PIPE,
            start_new_session=True,
        )

    async def stop(self) -> None:
        """Let go: the process is gone, and its number may soon be somebody else's."""
        if self._watcher is not None:
            await self._watcher.communicate(b".")
            self._watcher = None
