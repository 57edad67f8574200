"""The event loop of processes that do nothing else: libuv's where it is installed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


def fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Makes the fastest loop there is; ``None``: Python's own. Windows has no other."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
