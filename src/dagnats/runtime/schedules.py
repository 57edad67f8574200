"""Scheduled runs: NATS keeps the time, runs start under their promised id (``engine.md`` 10.7)."""

from __future__ import annotations

import contextlib
import time

from dagnats.errors import InvalidError
from dagnats.model.codec import decode, encode, raw
from dagnats.model.event import Event, EventType, StartPayload
from dagnats.model.records import ScheduledRun
from dagnats.model.times import read_time
from dagnats.runtime.oversize import fitting
from dagnats.wire.features import Features
from dagnats.wire.publisher import Outgoing
from dagnats.wire.puller import Delivery, Puller
from dagnats.wire.stores import Stores


class Schedules:
    """Turns what clients put on ``scheduled.{run}`` into timers, and due timers into runs.

    Args:
        stores: the connection.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    async def run(self, puller: Puller, features: Features) -> None:
        """Work until cancelled."""
        while True:
            for delivery in await puller.take():
                with contextlib.suppress(InvalidError):
                    left = await self._one(delivery, features)
                    if left > 0:
                        delivery.nak(left)
                        continue
                delivery.ack()

    async def _one(self, delivery: Delivery, features: Features) -> int:
        """What is left, in ns, of the time to wait with this delivery."""
        record = decode(delivery.data, ScheduledRun)
        left = (read_time(record.run_at) or 0) - time.time_ns()
        if delivery.subject.startswith("scheduled.fire."):
            await self._due(record)
        elif features.schedules:
            headers = {
                "Nats-Schedule": f"@at {record.run_at}",
                "Nats-Schedule-Target": f"scheduled.fire.{record.run_id}",
            }
            subject = f"scheduled.at.{record.run_id}"
            await self._stores.publisher.publish(Outgoing(subject, encode(record), headers=headers))
        elif left <= 0:
            await self._due(record)
        else:
            return left
        return 0

    async def _due(self, record: ScheduledRun) -> None:
        kept = await self._stores.scheduled.get(record.run_id)
        if kept is None or kept.value.status != "scheduled":
            return
        await self._stores.publisher.publish(await self._start(kept.value))
        await self._stores.scheduled.delete(record.run_id)

    async def _start(self, record: ScheduledRun) -> Outgoing:
        found = await self._stores.definitions.get(record.workflow_id)
        payload = raw(None)
        if found is not None:
            payload = raw(StartPayload(workflow_def=raw(found.value), input=record.input))
        event = Event(
            type=EventType.WORKFLOW_STARTED.value,
            run_id=record.run_id,
            timestamp=record.run_at,
            payload=payload,
        )
        msg_id = f"{record.run_id}.{EventType.WORKFLOW_STARTED}"
        return fitting(event, msg_id, self._stores.bus.max_payload)
