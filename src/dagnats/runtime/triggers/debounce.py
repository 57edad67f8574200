"""Debounce: of a burst of events, one run with the last payload, after a quiet period.

What is held back lies in ``debounce_state``, the end of the quiet period in SLEEP_TIMERS. Both
outlive a server, and whichever server hears of the end fires.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence

from msgspec import Raw, Struct

from dagnats.errors import ConflictError, InvalidError
from dagnats.model.codec import Wire, decode, encode, parse_json
from dagnats.model.gotext import go_text
from dagnats.model.paths import PathError, lookup
from dagnats.model.records import DebounceEntry
from dagnats.model.times import MILLISECOND
from dagnats.model.trigger import Debounce, TriggerDef
from dagnats.runtime.keeper import Keeper
from dagnats.runtime.triggers.firing import Fire, Firing, run_id_of
from dagnats.wire import subjects
from dagnats.wire.inbound import schedule
from dagnats.wire.kv import Entry
from dagnats.wire.puller import Delivery, Puller
from dagnats.wire.stores import Stores
from dagnats.wire.subjects import is_key

log = logging.getLogger("dagnats.triggers")

TRIES = 20
"""How often an entry is tried to be changed while other servers change it as well."""

EARLY = 5 * MILLISECOND
"""A timer may be early by this: clocks of servers differ."""


class Event(Struct, frozen=True):
    """An event that is to be held back.

    Args:
        data: its JSON; may be absent.
        order: place in its stream, or time of arrival in ns.
        trace_parent: W3C context it came with.
    """

    data: Raw
    order: int
    trace_parent: str = ""


class TimerBody(Wire):
    """What the timer carries: whose quiet period ends."""

    trigger_id: str = ""
    key: str = ""


def key_of(debounce: Debounce, data: Raw) -> str:
    """Which events belong together; empty: all of the trigger.

    The value at the trigger's key path, as Go prints it; hashed where it is no clean key.
    """
    if not debounce.key:
        return ""
    try:
        value = go_text(lookup(parse_json(bytes(data) or b"null"), debounce.key))
    except (PathError, InvalidError):
        return ""
    if is_key(value) and "." not in value and len(value) <= 64:
        return value
    return hashlib.sha256(value.encode(errors="surrogatepass")).hexdigest()[:32]


def held(
    before: DebounceEntry | None, debounce: Debounce, kind: str, event: Event, now: int
) -> DebounceEntry:
    """The entry after one more event.

    Args:
        before: the entry so far.
        debounce: period and timeout.
        kind: how the event came.
        event: the event.
        now: ns since 1970.
    """
    before = before or DebounceEntry(first_seen_ns=now)
    due = now + debounce.period
    if debounce.timeout:
        due = min(due, before.first_seen_ns + debounce.timeout)
    after = DebounceEntry(
        last_event=before.last_event,
        first_seen_ns=before.first_seen_ns,
        timer_seq=before.timer_seq + 1,
        due_ns=due,
        order=before.order,
        kind=kind,
        trace_parent=before.trace_parent,
    )
    if event.order >= before.order:
        after.last_event = event.data if bytes(event.data) else Raw(b"null")
        after.order, after.trace_parent = event.order, event.trace_parent
    return after


class Debouncer:
    """Holds events back.

    Args:
        stores: the connection.
        firing: publishes what fires.
    """

    def __init__(self, stores: Stores, firing: Firing) -> None:
        self._stores = stores
        self._firing = firing
        self._puller = Puller(stores.bus, "SLEEP_TIMERS", "debounce-timer", batch=100)
        self._keeper = Keeper("debounce", self._run, log)

    async def start(self) -> None:
        """Begin to listen for quiet periods that end."""
        await self._puller.start()
        self._keeper.start()

    async def stop(self) -> None:
        """Listen no more; another server does, or the next start."""
        await self._keeper.stop()
        await self._puller.stop()

    async def take(self, trigger: TriggerDef, kind: str, events: Sequence[Event]) -> None:
        """Hold events back; when this returns they are safe.

        Raises:
            DagnatsError: they are not; to repeat it is harmless.
        """
        assert trigger.debounce is not None
        newest: dict[str, Event] = {}
        for event in events:
            key = key_of(trigger.debounce, event.data)
            if key not in newest or event.order >= newest[key].order:
                newest[key] = event
        for key, event in newest.items():
            await self._hold(trigger, trigger.debounce, kind, key, event)

    async def _hold(
        self, trigger: TriggerDef, debounce: Debounce, kind: str, key: str, event: Event
    ) -> None:
        bucket, place = self._stores.debounce, _key(trigger.id, key)
        for _ in range(TRIES):
            found = await bucket.get(place)
            after = held(found.value if found else None, debounce, kind, event, time.time_ns())
            # The timer first: one without an entry does nothing, an entry without one waits.
            await self._arm(trigger.id, key, after.due_ns)
            try:
                if found is None:
                    await bucket.create(place, after)
                else:
                    await bucket.update(place, after, found.revision)
            except ConflictError:
                continue
            return
        raise ConflictError(f"trigger {trigger.id}: too many events at once for one debounce key")

    async def _arm(self, trigger_id: str, key: str, due: int) -> None:
        token = key or "_"
        body = encode(TimerBody(trigger_id=trigger_id, key=key))
        place = subjects.debounce_at(trigger_id, token)
        target = subjects.debounce_fire(trigger_id, token)
        await schedule(self._stores.bus, place, target, due, body)

    async def _run(self) -> None:
        while True:
            for delivery in await self._puller.take():
                await self._timer(delivery)

    async def _timer(self, delivery: Delivery) -> None:
        try:
            timer = decode(delivery.data, TimerBody)
            entry = await self._stores.debounce.get(_key(timer.trigger_id, timer.key))
        except InvalidError:
            delivery.ack()
            return
        if entry is not None:
            if entry.value.due_ns > time.time_ns() + EARLY:
                await self._arm(timer.trigger_id, timer.key, entry.value.due_ns)
            else:
                await self._release(timer, entry)
        delivery.ack()

    async def _release(self, timer: TimerBody, entry: Entry[DebounceEntry]) -> None:
        found = await self._stores.triggers.get(timer.trigger_id)
        if found is not None and found.value.enabled:
            now, value = time.time_ns(), entry.value
            cause = f"{timer.key or '_'}.{value.first_seen_ns}.{value.timer_seq}"
            fire = Fire(
                trigger=found.value,
                kind=value.kind or "subject",
                at=now,
                run_id=run_id_of("debounce", timer.trigger_id, cause),
                msg_id=f"trigger.{timer.trigger_id}.debounce.{cause}",
                data=value.last_event,
                trace_parent=value.trace_parent,
            )
            await self._firing.fire([fire], now)
        try:
            await self._stores.debounce.delete(entry.key, entry.revision)
        except ConflictError:
            # An event came in just now; it has armed the timer again.
            log.debug("debounce key %s went on", entry.key)


def _key(trigger_id: str, key: str) -> str:
    return f"{trigger_id}.{key}" if key else trigger_id
