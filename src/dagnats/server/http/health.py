"""/health and /ready: looked at once a second at most, however often they are asked."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from dagnats.services.readiness import Readiness, check_readiness
from dagnats.services.session import Session

CACHE_S = 1.0
"""How old an answer may be, in seconds."""


class HealthCheck:
    """Checks shared by everybody who asks.

    Args:
        session: the connection.
        data_dir: of our own nats-server; ``None``: it is not ours.
    """

    def __init__(self, session: Session, data_dir: Path | None) -> None:
        self._session = session
        self._data_dir = data_dir
        self._known = Readiness([])
        self._at = -CACHE_S
        self._lock = asyncio.Lock()

    async def now(self) -> Readiness:
        """How things are, or were a moment ago."""
        async with self._lock:
            if time.monotonic() - self._at >= CACHE_S:
                self._known = await check_readiness(self._session, self._data_dir)
                self._at = time.monotonic()
            return self._known
