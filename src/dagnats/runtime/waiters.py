"""Correlation: events that users publish, matched with the runs that wait for them."""

from __future__ import annotations

from collections.abc import AsyncIterator

from msgspec.structs import replace

from dagnats.engine.effects import AddWaiter, DropWaiters
from dagnats.engine.waits import fits, match_event
from dagnats.errors import InvalidError
from dagnats.model.codec import parse_json
from dagnats.model.records import EventWaiter
from dagnats.runtime.oversize import fitting
from dagnats.wire.publisher import Outgoing
from dagnats.wire.stores import Stores

_Key = tuple[str, str]


class Waiters:
    """Everybody who waits for an event.

    Args:
        stores: where waiters are kept across restarts.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._by_type: dict[str, dict[_Key, EventWaiter]] = {}
        self._of_run: dict[str, dict[_Key, str]] = {}

    async def load(self) -> None:
        """Read the waiters that an earlier engine left."""
        async for entry in self._stores.waiters.scan("*.*.>"):
            self._remember(entry.value)

    def _remember(self, waiter: EventWaiter) -> None:
        key = (waiter.run_id, waiter.step_id)
        self._by_type.setdefault(waiter.event_type, {})[key] = waiter
        self._of_run.setdefault(waiter.run_id, {})[key] = waiter.event_type

    def add(self, effect: AddWaiter) -> Outgoing:
        """Remember a waiter; the message that keeps it."""
        waiter = replace(effect.waiter, since_ns=effect.since)
        self._remember(waiter)
        key = f"{waiter.event_type}.{waiter.run_id}.{waiter.step_id}"
        return self._stores.waiters.message(key, waiter)

    def drop(self, effect: DropWaiters) -> list[Outgoing]:
        """Forget the waiters of a step or a run; the messages that forget them for good."""
        of_run = self._of_run.get(effect.run_id, {})
        gone = [key for key in of_run if effect.step_id in ("", key[1])]
        messages: list[Outgoing] = []
        for key in gone:
            event_type = of_run.pop(key)
            self._by_type[event_type].pop(key, None)
            messages.append(self._stores.waiters.erasure(f"{event_type}.{key[0]}.{key[1]}"))
        if not of_run:
            self._of_run.pop(effect.run_id, None)
        return messages

    def matched(self, event_type: str, body: bytes, seq: int, moment: int) -> list[Outgoing]:
        """What a published event means for the runs that wait for it.

        Args:
            event_type: the subject behind ``event.``.
            body: what was published.
            seq: its sequence in EVENTS.
            moment: when it was stored there, ns since 1970; waits that began later ignore it.
        """
        waiting = self._by_type.get(event_type)
        if not waiting:
            return []
        try:
            data = parse_json(body)
        except InvalidError:
            return []
        return [
            self._matched(waiter, body, seq, moment)
            for waiter in waiting.values()
            if moment >= waiter.since_ns and fits(waiter, data, moment)
        ]

    async def missed(self, effect: AddWaiter) -> list[Outgoing]:
        """Matches among the events published between the wait's begin and now."""
        found: list[Outgoing] = []
        waiter = effect.waiter
        async for seq, moment, body in self._since(waiter.event_type, effect.since):
            try:
                data = parse_json(body)
            except InvalidError:
                continue
            if fits(waiter, data, moment):
                found.append(self._matched(waiter, body, seq, moment))
        return found

    async def _since(self, event_type: str, since: int) -> AsyncIterator[tuple[int, int, bytes]]:
        async for stored in self._stores.read_since("EVENTS", f"event.{event_type}", since):
            if stored[1] >= since:
                yield stored

    def _matched(self, waiter: EventWaiter, body: bytes, seq: int, moment: int) -> Outgoing:
        event, msg_id = match_event(waiter, body, seq, moment)
        return fitting(event, msg_id, self._stores.bus.max_payload)
