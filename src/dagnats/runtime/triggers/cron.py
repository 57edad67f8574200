"""Cron triggers: one run per trigger and minute, whatever the number of servers.

Every server keeps the time. They agree on run id and message id, so what the second one publishes
changes nothing. The last fire lies in ``trigger_state``: a starting server sees what was missed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from msgspec import Struct

from dagnats.model.cron import next_fires
from dagnats.model.times import SECOND, format_time, read_time
from dagnats.model.trigger import CronTrigger, TriggerDef
from dagnats.runtime.keeper import Keeper
from dagnats.runtime.triggers.firing import Fire, Firing, run_id_of
from dagnats.telemetry.metrics import METRICS
from dagnats.wire import msgids
from dagnats.wire.stores import Stores

log = logging.getLogger("dagnats.triggers")

GRACE = 60 * SECOND
"""A fire that is late by no more than this is made up for in any case: a restart takes seconds."""

MAX_BACKFILL = 100
"""Fires that are made up for after one gap (``engine.md`` CRON-6)."""

SLICE_S = 1.0
"""Longest sleep, in seconds: the clock may be set, and a sleeping computer wakes up later."""

LOOK_AHEAD = 8
"""Instants that are worked out in one go."""

TOGETHER = 100
"""Triggers that are fired at the same time."""

LAST_FIRED = METRICS.gauge(
    "trigger_last_fired_seconds", "When a cron trigger last fired, Unix time.", ("trigger",)
)
NEXT_FIRE = METRICS.gauge(
    "trigger_next_fire_seconds", "When a cron trigger fires next, Unix time.", ("trigger",)
)


class Due(Struct, frozen=True):
    """What a moment asks of one trigger.

    Args:
        fires: instants to fire, oldest first.
        missed: the first instant that is not made up for; 0: none.
        why: why not.
    """

    fires: list[int]
    missed: int = 0
    why: str = ""


def due(cron: CronTrigger, after: int, now: int) -> Due:
    """The instants in ``(after, now]`` and what becomes of them.

    Instants older than :data:`GRACE` were missed. With backfill the first :data:`MAX_BACKFILL` of
    all are made up for; without, only what is within the grace.

    Args:
        cron: expression and zone.
        after: the last instant that has been dealt with, ns since 1970.
        now: the time, ns since 1970.
    """
    found = next_fires(cron.expression, cron.timezone, after, MAX_BACKFILL + 1)
    past = [instant for instant in found if instant <= now]
    if not past:
        return Due([])
    if cron.backfill:
        if len(past) <= MAX_BACKFILL:
            return Due(past)
        why = f"backfill is limited to {MAX_BACKFILL} fires"
        return Due(past[:MAX_BACKFILL], past[MAX_BACKFILL], why)
    if past[0] > now - GRACE:
        return Due(past)
    recent = next_fires(cron.expression, cron.timezone, now - GRACE, MAX_BACKFILL)
    why = "no server was running, and backfill is off"
    return Due([instant for instant in recent if instant <= now], past[0], why)


class _Entry(Struct):
    trigger: TriggerDef
    cron: CronTrigger
    after: int
    upcoming: list[int]


class Turn(Struct, frozen=True):
    """A trigger whose time has come.

    Args:
        trigger: which.
        cron: its expression and zone.
        after: the last instant (ns) that has been dealt with.
        fires: the instants that are due, if none of them is late; otherwise empty.
    """

    trigger: TriggerDef
    cron: CronTrigger
    after: int
    fires: list[int]


class CronClock:
    """Which triggers are due when. Has no clock of its own."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def set(self, trigger: TriggerDef, cron: CronTrigger, after: int) -> None:
        """Take a trigger in, or its new definition; instants up to ``after`` (ns) are past."""
        self._entries[trigger.id] = _Entry(trigger, cron, after, [])
        self.advance(trigger.id, after)

    def drop(self, trigger_id: str) -> None:
        """Forget a trigger."""
        self._entries.pop(trigger_id, None)
        LAST_FIRED.drop(trigger_id)
        NEXT_FIRE.drop(trigger_id)

    def advance(self, trigger_id: str, after: int) -> None:
        """Everything up to ``after`` has been dealt with."""
        entry = self._entries.get(trigger_id)
        if entry is None:
            return
        entry.after = after
        entry.upcoming = [instant for instant in entry.upcoming if instant > after]
        if not entry.upcoming:
            # Many at once: a look at the calendar costs as much as several steps in it.
            cron = entry.cron
            entry.upcoming = next_fires(cron.expression, cron.timezone, after, LOOK_AHEAD)
        if entry.upcoming:
            NEXT_FIRE.set(entry.upcoming[0] // SECOND, trigger_id)

    def soonest(self) -> int:
        """The next instant of any trigger, ns since 1970; 0 when there is none."""
        return min((e.upcoming[0] for e in self._entries.values() if e.upcoming), default=0)

    def due(self, now: int) -> list[Turn]:
        """The triggers with an instant up to ``now``."""
        return [
            Turn(entry.trigger, entry.cron, entry.after, _on_time(entry.upcoming, now))
            for entry in self._entries.values()
            if entry.upcoming and entry.upcoming[0] <= now
        ]


def _on_time(upcoming: list[int], now: int) -> list[int]:
    if upcoming[0] <= now - GRACE or upcoming[-1] <= now:
        return []
    return [instant for instant in upcoming if instant <= now]


class CronTriggers:
    """Fires cron triggers.

    Args:
        stores: the connection.
        firing: publishes what fires.
        clock: gives the time in ns since 1970.
    """

    def __init__(
        self, stores: Stores, firing: Firing, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self._stores = stores
        self._firing = firing
        self._now = clock
        self._clock = CronClock()
        self._changed = asyncio.Event()
        self._keeper = Keeper("cron", self._run, log)

    async def start(self) -> None:
        """Begin to keep the time."""
        self._keeper.start()

    async def stop(self) -> None:
        """End; what is under way is repeated by another server or after the next start."""
        await self._keeper.stop()

    async def add(self, trigger: TriggerDef, written: int, *, live: bool) -> None:
        """Take in a trigger that is new or has changed.

        Args:
            trigger: the definition.
            written: not needed here.
            live: it changed while we were looking, so nothing was missed before now.
        """
        del written
        assert trigger.cron is not None
        now = self._now()
        after = 0 if live else await self._last(trigger.id)
        if not after:
            await self._stores.trigger_state.put(_key(trigger.id), format_time(now))
        self._clock.set(trigger, trigger.cron, after or now)
        self._changed.set()

    async def remove(self, trigger: TriggerDef) -> None:
        """A trigger is gone or disabled: what it misses from now on does not count."""
        self._clock.drop(trigger.id)
        if await self._last(trigger.id):
            await self._stores.trigger_state.delete(_key(trigger.id))

    async def _last(self, trigger_id: str) -> int:
        entry = await self._stores.trigger_state.get(_key(trigger_id))
        return (read_time(entry.value) or 0) if entry else 0

    async def _run(self) -> None:
        while True:
            soonest, now = self._clock.soonest(), self._now()
            wait = SLICE_S if not soonest else min(SLICE_S, max(0.0, (soonest - now) / SECOND))
            self._changed.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                await self._tick()

    async def _tick(self) -> None:
        now = self._now()
        turns = self._clock.due(now)
        for at in range(0, len(turns), TOGETHER):
            await asyncio.gather(*(self._take(turn, now) for turn in turns[at : at + TOGETHER]))

    async def _take(self, turn: Turn, now: int) -> None:
        trigger = turn.trigger
        found = Due(turn.fires)
        if not turn.fires:
            # Late: another server may have fired meanwhile.
            after = max(turn.after, await self._last(trigger.id))
            found = due(turn.cron, after, now)
        if found.missed:
            cause = f"missed.{found.missed // SECOND}"
            why = f"{found.why}; first missed: {format_time(found.missed)}"
            await self._firing.refuse(trigger, "cron", why, cause, skipped=True)
        fires = [_fire_of(trigger, instant) for instant in found.fires]
        # Behind the starts: a crash in between repeats them, which is harmless.
        state = self._stores.trigger_state.message(_key(trigger.id), format_time(now))
        await self._firing.fire(fires, now, [state])
        if fires:
            LAST_FIRED.set(fires[-1].at // SECOND, trigger.id)
        self._clock.advance(trigger.id, now)


def _fire_of(trigger: TriggerDef, instant: int) -> Fire:
    seconds = instant // SECOND
    msg_id = msgids.cron_start(trigger.id, seconds)
    return Fire(
        trigger=trigger,
        kind="cron",
        at=instant,
        run_id=run_id_of("cron", trigger.id, msg_id),
        msg_id=msg_id,
    )


def _key(trigger_id: str) -> str:
    return f"{trigger_id}.last_run_at"
