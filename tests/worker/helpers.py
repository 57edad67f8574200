"""The engine's side of the protocol, by hand: tasks out, events in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from msgspec import UNSET

from dagnats.model.codec import decode, encode, raw
from dagnats.model.event import Event
from dagnats.model.task import StepFailedPayload, TaskPayload
from dagnats.wire import subjects
from dagnats.wire.publisher import Outgoing
from dagnats.wire.stores import Stores
from dagnats.worker import Worker

_runs = iter(range(1_000_000))


def run_id() -> str:
    """A fresh run id."""
    return f"{next(_runs):032x}"


class Engine:
    """Publishes tasks and reads what workers answer."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self.url = stores.bus.options.url

    def worker(self, **more: Any) -> Worker:
        return Worker(self.url, **more)

    async def send(
        self, task: str, value: Any = UNSET, *, run: str = "", group: str = "", **more: Any
    ) -> str:
        """Queue a task; the id of its run."""
        run = run or run_id()
        given: dict[str, Any] = {"step_id": "s", "workflow_name": "w", **more}
        payload = TaskPayload(run_id=run, task_id=f"{run}.{given['step_id']}", **given)
        if value is not UNSET:
            payload.input = raw(value)
        await self.stores.publisher.publish(
            Outgoing(subjects.task(task, run, group), encode(payload))
        )
        return run

    async def events(self, run: str) -> list[Event]:
        return [stored.event for stored in await self.stores.history.read(run)]

    async def wait(self, run: str, count: int = 2, timeout: float = 10) -> list[Event]:
        """The run's events, as soon as there are ``count``."""
        events: list[Event] = []

        async def enough() -> bool:
            nonlocal events
            events = await self.events(run)
            return len(events) >= count

        await eventually(enough, timeout)
        return events

    async def result(self, run: str, timeout: float = 10) -> Event:
        """The first event after those that say that a worker began."""
        count = 2
        while True:
            started, *others = await self.wait(run, count, timeout)
            assert started.type == "step.started"
            later = [event for event in others if event.type != "step.started"]
            if later:
                return later[0]
            count += 1

    async def failure(self, run: str) -> StepFailedPayload:
        event = await self.result(run)
        assert event.type == "step.failed", event
        return decode(bytes(event.payload), StepFailedPayload)

    async def consumer(self, name: str, stream: str = "TASK_QUEUES") -> dict[str, Any]:
        return await self.stores.bus.api(f"CONSUMER.INFO.{stream}.{name}")

    async def drained(self, stream: str = "TASK_QUEUES") -> None:
        """Wait until no task is left in the queue."""

        async def empty() -> bool:
            info = await self.stores.bus.api(f"STREAM.INFO.{stream}")
            return info["state"]["messages"] == 0

        await eventually(empty)


async def eventually(condition: Callable[[], Any], timeout: float = 10.0) -> None:
    """Wait until a condition, async or not, holds."""
    deadline = time.monotonic() + timeout
    while True:
        held = condition()
        if asyncio.iscoroutine(held):
            held = await held
        if held:
            return
        assert time.monotonic() < deadline, "it did not come to pass"
        await asyncio.sleep(0.01)
