"""How much is let in: requests per client and second, and requests at once."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

MAX_CLIENTS = 10_000
"""How many client addresses are remembered."""


class RateLimit:
    """A token bucket per client: ``rate`` requests a second, twice that in a burst.

    Args:
        rate: requests per second; 0 lets everything through.
        clock: seconds that never go backwards.
    """

    def __init__(self, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = 2.0 * rate
        self._clock = clock
        self._clients: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, client: str) -> float:
        """Take a token: 0 when there was one, else the seconds until there is."""
        if not self._rate:
            return 0.0
        now = self._clock()
        tokens, since = self._clients.pop(client, (self._burst, now))
        tokens = min(self._burst, tokens + (now - since) * self._rate)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self._rate
        self._clients[client] = (tokens - (0 if wait else 1), now)
        if len(self._clients) > MAX_CLIENTS:
            self._clients.popitem(last=False)
        return wait


class InFlight:
    """Counts the requests that are being worked on.

    Args:
        most: how many there may be at once.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.now = 0

    def enter(self) -> bool:
        """Begin a request; ``False``: there are too many already."""
        if self.now >= self.most:
            return False
        self.now += 1
        return True

    def leave(self) -> None:
        """A request that was let in has ended."""
        self.now -= 1
