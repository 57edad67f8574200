"""One call of a real handler, from the task to the event that it means for the run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from msgspec import Raw

from dagnats.errors import UsageError
from dagnats.model.codec import ABSENT, raw
from dagnats.model.event import Event, EventType
from dagnats.model.task import FailureType, TaskPayload
from dagnats.model.times import SECOND
from dagnats.testing.clock import Clock
from dagnats.worker.context import SyncTaskContext, TaskContext, Ticket
from dagnats.worker.handler import Handler
from dagnats.worker.outcome import (
    Completed,
    Continued,
    Dropped,
    Failed,
    Outcome,
    Paused,
    failed,
    of_error,
    of_result,
)
from dagnats.worker.threads import Raised, Threads

WORKER_ID = "sandbox"


class SandboxLink:
    """What handlers share: checkpoints, signals, streams.

    Args:
        clock: virtual time.
        threads: where plain handlers run.
    """

    def __init__(self, clock: Clock, threads: Threads) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock = clock
        self.threads = threads
        self.checkpoints: dict[str, bytes] = {}
        self.streamed: dict[tuple[str, str], list[bytes]] = {}
        self._signals: dict[tuple[str, str], bytes] = {}
        self._waiting: dict[tuple[str, str], list[asyncio.Future[bool]]] = {}

    def stream(self, run_id: str, step_id: str, data: bytes) -> None:
        """Keep a part of a step's output."""
        self.streamed.setdefault((run_id, step_id), []).append(data)

    async def save_checkpoint(self, key: str, data: bytes) -> None:
        """Store a checkpoint."""
        self.checkpoints[key] = data

    async def load_checkpoint(self, key: str) -> bytes | None:
        """A checkpoint, or None."""
        return self.checkpoints.get(key)

    async def ask(self, subject: str, data: bytes) -> bytes:
        """There is no server to ask."""
        del data
        raise UsageError(f"{subject}: the control plane needs a server")

    async def child_end(self, run_id: str, child_id: str) -> Event:
        """There is no server to ask."""
        raise UsageError(f"run {child_id}, child of {run_id}: the control plane needs a server")

    async def send_signal(self, run_id: str, name: str, data: bytes) -> None:
        """Store a signal, and wake who waits for it first."""
        self._signals[run_id, name] = data
        waiting = [f for f in self._waiting.pop((run_id, name), []) if not f.done()]
        if waiting:
            self.clock.wake(waiting.pop(0))
            self._waiting[run_id, name] = waiting

    async def take_signal(self, run_id: str, name: str, limit_s: float) -> bytes:
        """Wait for a signal and consume it; raises TimeoutError after ``limit_s`` seconds."""
        key = (run_id, name)
        while key not in self._signals:
            sent: asyncio.Future[bool] = self.loop.create_future()
            self._waiting.setdefault(key, []).append(sent)
            if not await self.clock.wait(limit_s, sent):
                raise TimeoutError
        return self._signals.pop(key)

    async def sleep(self, delay_s: float) -> None:
        """Wait for so many seconds of virtual time."""
        await self.clock.wait(delay_s)


class Call(Ticket):
    """One call of a handler.

    Args:
        handler: of the task's type.
        payload: the task.
        link: what handlers share.
        report: takes the events that come of it.
    """

    def __init__(
        self,
        handler: Handler,
        payload: TaskPayload,
        link: SandboxLink,
        report: Callable[[Event], object],
    ) -> None:
        super().__init__()
        self.handler = handler
        self.payload = payload
        self._link = link
        self._report = report
        self._timed_out = False
        self._calling: asyncio.Task[Any] | None = None

    async def run(self) -> None:
        """Call the handler, again after every pause, and report how it ended."""
        self._tell(EventType.STEP_STARTED)
        while isinstance(outcome := await self._outcome(), Paused):
            self.asked = None
            await self._link.sleep(outcome.delay_ns / SECOND)
        self._settle(outcome)

    def recall(self) -> None:
        """The task is no longer wanted: an async handler is cancelled, a plain one is told."""
        super().recall()
        if self.handler.is_async and self._calling is not None:
            self._calling.cancel()

    async def _outcome(self) -> Outcome:
        limit = self.handler.options.timeout_s
        alarm = self._link.clock.alarm(limit, self._time_is_up) if limit else None
        self._calling = asyncio.ensure_future(self._call())
        try:
            value = await self._calling
        except BaseException as error:  # noqa: BLE001 - a handler may raise anything; it is recorded
            return self._ended_by(error)
        finally:
            if alarm is not None:
                alarm.cancel()
        return self._expired() or of_result(value if value is not None else self.asked)

    def _time_is_up(self) -> None:
        self._timed_out = True
        self.recall()

    def _expired(self) -> Outcome | None:
        if not self._timed_out:
            return None
        text = f"handler timed out after {self.handler.options.timeout_s:g} s"
        return failed(text, FailureType.RETRIABLE, error_type="TimeoutError")

    def _ended_by(self, error: BaseException) -> Outcome:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise error  # The sandbox is closing.
        return self._expired() or of_error(error, unwanted=self.cancelled)

    async def _call(self) -> Any:
        kind = TaskContext if self.handler.is_async else SyncTaskContext
        context = kind(self.payload, self, self._link)
        arguments = self.handler.arguments(context, bytes(self.payload.input))
        if self.handler.is_async:
            return await self.handler.function(*arguments)
        value: Any = await self._link.threads.run(self.handler.function, *arguments)
        if isinstance(value, Raised):
            raise value.error
        return await cast("Awaitable[Any]", value) if isinstance(value, Awaitable) else value

    def _settle(self, outcome: Outcome) -> None:
        match outcome:
            case Completed():
                self._tell(EventType.STEP_COMPLETED, outcome.output)
            case Continued():
                self._tell(EventType.STEP_CONTINUE, outcome.output)
            case Failed():
                self._tell(EventType.STEP_FAILED, raw(outcome.failure))
            case Dropped() | Paused():
                return

    def _tell(self, kind: EventType, body: Raw = ABSENT) -> None:
        started = kind == EventType.STEP_STARTED
        event = Event(
            type=kind.value,
            run_id=self.payload.run_id,
            step_id=self.payload.step_id,
            payload=body,
            worker_id=WORKER_ID,
            attempt_number=self.payload.attempt or (1 if started else 0),
        )
        self._report(event)
