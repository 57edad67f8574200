"""What the active engine does now and then: free what vanished runs hold, remove what is old."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from itertools import count

from dagnats.engine.flow import Flow, SlotWait
from dagnats.engine.forget import forget, named
from dagnats.errors import DagnatsError
from dagnats.model.codec import raw
from dagnats.model.event import DispatchPayload, Event, EventType
from dagnats.model.run import is_terminal
from dagnats.model.times import format_time
from dagnats.runtime.messages import event_message
from dagnats.runtime.retention import Retention, View
from dagnats.wire.publisher import Outgoing
from dagnats.wire.stores import Stores

log = logging.getLogger("dagnats.engine")

PRUNE_EVERY = 5
"""How many rounds of housekeeping pass between two looks for old runs."""

FIRST_S = 5.0
"""How long a fresh engine is spared, in seconds."""


class Housekeeper:
    """Keeps the house.

    Args:
        stores: the connection.
        flow: the state of all limits.
        view: what the engine knows.
        caused: takes the events to publish.
    """

    def __init__(
        self,
        stores: Stores,
        flow: Flow,
        view: View,
        caused: Callable[[list[Outgoing]], None],
    ) -> None:
        self._stores = stores
        self._flow = flow
        self._live = view.live
        self._caused = caused
        self._retention = Retention(stores, view)

    async def run(self, every_s: float, max_age: int) -> None:
        """Work until cancelled.

        Args:
            every_s: seconds between two rounds.
            max_age: how long ended runs are kept, in ns; 0: for ever.
        """
        for number in count():
            await asyncio.sleep(min(every_s, FIRST_S) if number == 0 else every_s)
            try:
                await self._round(max_age if number % PRUNE_EVERY == 0 else None)
            except DagnatsError as error:
                # Whatever it was, runs go on; the next round tries again.
                log.warning("housekeeping: %s", error)

    async def _round(self, max_age: int | None) -> None:
        await self.sweep()
        if max_age is None:
            return
        await self._retention.reap()
        await self._retention.settle()
        if max_age:
            await self._retention.prune(max_age)

    async def sweep(self) -> None:
        """Free what runs hold that were purged or deleted, or ended without our noticing."""
        suspects = [run_id for run_id in named(self._flow) if not self._live(run_id)]
        if not suspects:
            return
        before = self._stores.runs.unreadable
        found = await self._stores.runs.latest_many([f"run.{run_id}" for run_id in suspects])
        if self._stores.runs.unreadable != before:
            return  # Which of them it was that nobody can read is not known.
        gone: set[str] = set()
        for run_id in suspects:
            snapshot, _ = found.get(f"run.{run_id}", (None, 0))
            if not self._live(run_id) and (snapshot is None or is_terminal(snapshot.status)):
                gone.add(run_id)
        promoted, granted = forget(self._flow, gone)
        self._caused([*map(_admitted, promoted), *map(_granted, granted)])


def _admitted(run_id: str) -> Outgoing:
    event = Event(
        type=EventType.WORKFLOW_ADMITTED.value,
        run_id=run_id,
        timestamp=format_time(time.time_ns()),
    )
    return event_message(event, "")


def _granted(wait: SlotWait) -> Outgoing:
    event = Event(
        type=EventType.STEP_DISPATCH.value,
        run_id=wait.run_id,
        step_id=wait.step_id,
        timestamp=format_time(time.time_ns()),
        payload=raw(DispatchPayload(gate="slot")),
        attempt_number=wait.dispatch,
    )
    return event_message(event, "")
