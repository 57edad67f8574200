"""Timers: kept by NATS as scheduled messages, and in memory when they are due soon.

A timer is written with the next snapshot, so one that is cancelled before (a step that ends
within milliseconds has a timeout as well) costs nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from msgspec import Struct

from dagnats.engine.effects import CancelTimers, SetTimer
from dagnats.errors import DagnatsError
from dagnats.model.codec import Wire, encode
from dagnats.model.event import Event
from dagnats.model.times import SECOND
from dagnats.wire import subjects
from dagnats.wire.connection import Bus
from dagnats.wire.delayed import delayed
from dagnats.wire.features import Features
from dagnats.wire.publisher import Ack, Outgoing

STREAM = "SLEEP_TIMERS"
SOON = 2 * SECOND
"""Timers due within this are fired from memory: the server's tick is 250 ms."""

PATIENT = frozenset({"wait"})
"""Timers that are never fired from memory: a wait's timeout comes after the events before it."""

_Key = tuple[str, str, str]


class TimerBody(Wire):
    """What a scheduled message carries."""

    event: Event
    msg_id: str = ""


class Purge(Struct, frozen=True):
    """Timers on a subject pattern with a sequence lower than ``below``."""

    subject: str
    below: int


class _Timer(Struct):
    effect: SetTimer
    handle: asyncio.TimerHandle | None = None
    written: bool = False


class Timers:
    """The timers this process has set.

    Args:
        bus: the connection.
        fire: called with a timer that is due.
    """

    def __init__(self, bus: Bus, fire: Callable[[Event, str], None]) -> None:
        self._bus = bus
        self._features = Features(0)
        self._bound = 0
        self._fire = fire
        self._timers: dict[_Key, _Timer] = {}
        self._of_run: dict[str, set[_Key]] = {}
        self._unwritten: dict[_Key, _Timer] = {}
        self._purges: set[str] = set()

    async def start(self, features: Features) -> None:
        """Learn how far earlier engines' timers reach, before any is set."""
        self._features = features
        self._bound = (await self._bus.api(f"STREAM.INFO.{STREAM}"))["state"]["last_seq"]

    def set(self, effect: SetTimer) -> None:
        """Set a timer."""
        key = (effect.event.run_id, effect.event.step_id, effect.kind)
        self._drop(key)
        timer = _Timer(effect)
        delay = effect.due - time.time_ns()
        if delay <= SOON and effect.kind not in PATIENT:
            loop = asyncio.get_running_loop()
            timer.handle = loop.call_later(max(0.0, delay / SECOND), self._due, key)
        self._timers[key] = self._unwritten[key] = timer
        self._of_run.setdefault(key[0], set()).add(key)

    def cancel(self, effect: CancelTimers, *, known: bool) -> None:
        """Cancel a step's timers. ``known``: no earlier process can have set any."""
        keys = [
            key for key in self._of_run.get(effect.run_id, ()) if effect.step_id in ("", key[1])
        ]
        written = [self._drop(key) for key in keys]
        if any(written) or not known:
            step = effect.step_id or ">"
            self._purges.add(f"sleep.at.{effect.run_id}.*.{step}")

    def _drop(self, key: _Key) -> bool:
        timer = self._timers.pop(key, None)
        if timer is None:
            return False
        self._unwritten.pop(key, None)
        left = self._of_run[key[0]]
        left.discard(key)
        if not left:
            del self._of_run[key[0]]
        if timer.handle is not None:
            timer.handle.cancel()
        return timer.written

    def _due(self, key: _Key) -> None:
        timer = self._timers.get(key)
        if timer is not None:
            self._drop(key)
            self._fire(timer.effect.event, timer.effect.msg_id)

    def unwritten(self) -> list[Outgoing]:
        """The messages that make the timers set since the last call durable."""
        made = [_scheduled(timer.effect, self._features) for timer in self._unwritten.values()]
        for key, timer in list(self._unwritten.items()):
            timer.written = True
            if timer.handle is None:
                # NATS has it from here on; only its name must be known for a purge.
                timer.effect = SetTimer(timer.effect.kind, 0, Event(type="", run_id=key[0]), "")
        self._unwritten.clear()
        return made

    def stored(self, acks: list[Ack]) -> None:
        """What :meth:`unwritten` gave is stored; other streams do not matter."""
        self._bound = max([self._bound, *(ack.seq for ack in acks if ack.stream == STREAM)])

    def cancelled(self) -> list[Purge]:
        """Timers to take out of the stream: of those stored so far, not of what comes now.

        A step may have been given a new timer under the same name since, by us or, if we were
        deposed, by another engine.
        """
        purges = [Purge(subject, self._bound + 1) for subject in self._purges]
        self._purges.clear()
        return purges

    async def purge(self, purges: list[Purge]) -> None:
        """Take cancelled timers out of the stream."""
        for purge in purges:
            body = {"filter": purge.subject, "seq": purge.below}
            # One that stays fires into a guard.
            with contextlib.suppress(DagnatsError):
                await self._bus.api(f"STREAM.PURGE.{STREAM}", body)

    def stop(self) -> None:
        """Forget everything; what was written stays with NATS."""
        for key in list(self._timers):
            self._drop(key)


def _scheduled(effect: SetTimer, features: Features) -> Outgoing:
    event = effect.event
    return delayed(
        subjects.timer_at(event.run_id, effect.kind, event.step_id or "run"),
        subjects.timer_fire(event.run_id),
        effect.due,
        encode(TimerBody(event=event, msg_id=effect.msg_id)),
        features,
    )
