"""Notices when a handler blocks the event loop, while it does so, and says where."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback

log = logging.getLogger("dagnats.worker")

TOLERANCE_S = 1.0
"""A loop that does not turn for this long stops heartbeats and every other task."""

_TICK_S = 0.25


class Watchdog:
    """Watches the running event loop from a thread of its own."""

    def __init__(self, tolerance_s: float = TOLERANCE_S) -> None:
        self._tolerance = tolerance_s
        self._turned = time.monotonic()
        self._loop_thread = threading.get_ident()
        self._stop = threading.Event()

    async def run(self) -> None:
        """Watch until cancelled."""
        threading.Thread(target=self._watch, name="dagnats-watchdog", daemon=True).start()
        try:
            while True:
                self._turned = time.monotonic()
                await asyncio.sleep(_TICK_S)
        finally:
            self._stop.set()

    def _watch(self) -> None:
        warned_at = 0.0
        while not self._stop.wait(_TICK_S):
            turned = self._turned
            blocked = time.monotonic() - turned
            # Once per block: the loop has to turn before there is another warning.
            if blocked > self._tolerance and turned != warned_at:
                warned_at = turned
                self._warn(blocked)

    def _warn(self, blocked: float) -> None:
        log.warning(
            "the event loop has been blocked for %.1f s at %s; all other tasks wait. "
            "Write blocking work as a plain def, which runs in a thread",
            blocked,
            self._where(),
        )

    def _where(self) -> str:
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        if frame is None:
            return "an unknown place"
        last = traceback.extract_stack(frame)[-1]
        return f"{last.filename}:{last.lineno} in {last.name}"
