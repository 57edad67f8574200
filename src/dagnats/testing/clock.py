"""Time for handlers: it stands still while one works, and jumps when all of them wait."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable

from dagnats.model.times import SECOND


class Alarm:
    """Something to be done at a time, unless it is cancelled before."""

    __slots__ = ("due", "ring")

    def __init__(self, due: int, ring: Callable[[], None]) -> None:
        self.due = due
        self.ring: Callable[[], None] | None = ring

    def cancel(self) -> None:
        """Nothing is to be done any more."""
        self.ring = None


class Clock:
    """Virtual time.

    Args:
        now: reads the world's clock, ns since 1970.

    Attributes:
        moved: set whenever a handler has begun to wait, or has ended.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self.moved = asyncio.Event()
        self._now = now
        self._busy = 0
        self._alarms: list[tuple[int, int, Alarm]] = []
        self._set = 0
        self._woken: set[asyncio.Future[bool]] = set()

    @property
    def busy(self) -> bool:
        """Whether a handler is at work, so that time stands still."""
        return self._busy > 0

    def begin(self) -> None:
        """A handler begins to work."""
        self._busy += 1

    def end(self) -> None:
        """A handler has ended, or begins to wait."""
        self._busy -= 1
        self.moved.set()

    def alarm(self, delay_s: float, ring: Callable[[], None]) -> Alarm:
        """Have ``ring`` called in ``delay_s`` seconds of virtual time."""
        self._set += 1
        made = Alarm(self._now() + int(delay_s * SECOND), ring)
        heapq.heappush(self._alarms, (made.due, self._set, made))
        return made

    async def wait(self, delay_s: float, future: asyncio.Future[bool] | None = None) -> bool:
        """Wait while time may pass: ``True`` if :meth:`wake` ended it, ``False`` if time did."""
        waiting = future or asyncio.get_running_loop().create_future()
        alarm = self.alarm(delay_s, lambda: self.wake(waiting, False))
        self.end()
        try:
            return await waiting
        finally:
            alarm.cancel()
            if waiting in self._woken:
                self._woken.discard(waiting)
            else:
                self.begin()

    def wake(self, future: asyncio.Future[bool], value: bool = True) -> None:
        """End a wait with this value."""
        if not future.done():
            # Counted here, not when the handler goes on: time must not pass in between.
            self.begin()
            self._woken.add(future)
            future.set_result(value)

    @property
    def due(self) -> int | None:
        """When the next alarm rings, ns since 1970."""
        while self._alarms and self._alarms[0][2].ring is None:
            heapq.heappop(self._alarms)
        return self._alarms[0][0] if self._alarms else None

    def ring(self) -> None:
        """Ring every alarm that is due."""
        while (due := self.due) is not None and due <= self._now():
            alarm = heapq.heappop(self._alarms)[2]
            if alarm.ring is not None:
                alarm.ring()
