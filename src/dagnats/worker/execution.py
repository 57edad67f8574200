"""One task from its delivery to the acknowledgement of its result (``wire.md`` 6.2)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Container
from typing import Any, Protocol, cast

from msgspec import Raw

from dagnats.model.codec import ABSENT, raw
from dagnats.model.event import EventType
from dagnats.model.task import FailureType, TaskPayload
from dagnats.wire.publisher import Outgoing
from dagnats.wire.puller import Delivery
from dagnats.worker.context import Link, SyncTaskContext, TaskContext, Ticket
from dagnats.worker.handler import Handler
from dagnats.worker.observing import Observed, count_skipped
from dagnats.worker.outbox import Outbox, Posted
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
from dagnats.worker.records import event_message
from dagnats.worker.threads import Raised, Threads

log = logging.getLogger("dagnats.worker")

FIRST_RETRY_S, LAST_RETRY_S = 0.1, 5.0
"""Backoff while a result cannot be published, in seconds."""

OLD_TASK_NS = 5_000_000_000
"""A task that waited longer than this may belong to a run that was cancelled meanwhile."""


FAULT_DELAY_NS = 5_000_000_000
"""Pause before a task is tried again that this package itself could not handle."""


class Services(Link, Protocol):
    """What an execution needs of its worker."""

    worker_id: str
    outbox: Outbox
    threads: Threads
    slots: asyncio.Semaphore

    @property
    def recalled(self) -> Container[str]:
        """Runs whose tasks were recalled lately."""
        ...

    @property
    def max_event(self) -> int:
        """The largest event the server takes, in bytes."""
        ...

    async def is_cancelled(self, run_id: str) -> bool:
        """Whether the run's snapshot says that it was cancelled."""
        ...


class Execution(Ticket):
    """A task being worked on.

    Args:
        services: of the worker.
        handler: of the task's type.
        payload: the decoded task.
        delivery: the message, to be acknowledged when the result is recorded.
    """

    def __init__(
        self, services: Services, handler: Handler, payload: TaskPayload, delivery: Delivery
    ) -> None:
        super().__init__()
        self.payload = payload
        self.delivery = delivery
        self.skipped = False
        self.handed_back = False
        self._services = services
        self._handler = handler
        self.task: asyncio.Task[None] | None = None
        self._thread: asyncio.Future[Any] | None = None
        self._in_handler = False
        self._timed_out = False

    def start(self) -> asyncio.Task[None]:
        """Begin. The task ends when the message is acknowledged, or given up."""
        name = f"dagnats-task {self.payload.task_id}"
        self.task = asyncio.create_task(self._run(), name=name)
        return self.task

    def beat(self) -> None:
        """Tell the queue that work goes on."""
        self.delivery.in_progress()

    def recall(self) -> None:
        """The task is no longer wanted: an async handler is cancelled, a plain one is told."""
        super().recall()
        if self._in_handler and self._handler.is_async and self.task is not None:
            self.task.cancel()

    def give_up(self) -> None:
        """Stop at once and hand the task back to the queue."""
        self.handed_back = True
        if self.task is not None:
            self.task.cancel()
        self.delivery.nak()
        super().recall()

    async def _run(self) -> None:
        try:
            async with self._services.slots:
                await self._work()
        except Exception:
            # A fault of ours must not hold the task until its ack wait ends, nor stop the others.
            log.exception("task %s was handed back", self.payload.task_id)
            self.handed_back = True
            self.delivery.nak(FAULT_DELAY_NS)

    async def _work(self) -> None:
        if self.cancelled or await self._was_cancelled():
            self.skipped = True
            count_skipped(self._handler.task)
            self.delivery.ack()
            return
        observed = Observed(self._handler.task, self.payload, self._services.worker_id)
        started = self._services.outbox.post(self._message(EventType.STEP_STARTED))
        try:
            outcome = await self._execute()
        except BaseException:
            observed.ended(None)
            raise
        observed.ended(outcome)
        await self._settle(started, outcome)
        if self._thread is not None:
            await self._thread  # A plain handler that timed out still takes its place.

    async def _was_cancelled(self) -> bool:
        """Look at the run only where a recall may have been missed (``wire.md`` 6.2)."""
        run_id, services = self.payload.run_id, self._services
        age = time.time_ns() - self.delivery.timestamp_ns
        if self.delivery.delivered <= 1 and age < OLD_TASK_NS and run_id not in services.recalled:
            return False
        return await services.is_cancelled(run_id)

    async def _execute(self) -> Outcome:
        limit = self._handler.options.timeout_s
        deadline = asyncio.timeout(limit or None)
        try:
            async with deadline:
                self._in_handler = True
                try:
                    value = await self._call()
                finally:
                    self._in_handler = False
        except BaseException as error:  # noqa: BLE001 - a handler may raise anything; it is recorded
            return self._ended_by(error, deadline.expired())
        return of_result(value if value is not None else self.asked)

    def _ended_by(self, error: BaseException, expired: bool) -> Outcome:
        if self.handed_back:
            raise error  # Somebody else will do it.
        if isinstance(error, asyncio.CancelledError) and self.task is not None:
            self.task.uncancel()
        if expired and isinstance(error, TimeoutError):
            super().recall()
            text = f"handler timed out after {self._handler.options.timeout_s:g} s"
            return failed(text, FailureType.RETRIABLE, error_type="TimeoutError")
        return of_error(error, unwanted=self.cancelled)

    async def _call(self) -> Any:
        handler, services = self._handler, self._services
        kind = TaskContext if handler.is_async else SyncTaskContext
        context = kind(self.payload, self, services)
        arguments = handler.arguments(context, bytes(self.payload.input))
        if handler.is_async:
            return await handler.function(*arguments)
        thread = services.threads.run(handler.function, *arguments)
        self._thread = thread
        value: Any = await asyncio.shield(thread)
        self._thread = None
        if isinstance(value, Raised):
            raise value.error
        # A plain function may return a coroutine: a decorated handler often does.
        return await cast("Awaitable[Any]", value) if isinstance(value, Awaitable) else value

    async def _settle(self, started: Posted, outcome: Outcome) -> None:
        match outcome:
            case Dropped():
                self.skipped = True
                self.delivery.ack()
            case Paused():
                await started.future
                self.handed_back = True
                self.delivery.nak(outcome.delay_ns)
            case _:
                self._report(outcome)
                await self._record(started, outcome)
                self.delivery.ack()

    def _report(self, outcome: Completed | Continued | Failed) -> None:
        if isinstance(outcome, Failed):
            failure, payload = outcome.failure, self.payload
            log.warning(
                "task %s failed at attempt %d: %s: %s\n%s",
                payload.task_id,
                payload.attempt or 1,
                failure.error_type,
                failure.error,
                failure.traceback,
            )

    async def _record(self, started: Posted, outcome: Completed | Continued | Failed) -> None:
        """Publish the result, behind ``step.started``, for as long as it takes.

        The work is done and must not be done again because the server is away.
        """
        outbox, delay = self._services.outbox, FIRST_RETRY_S
        if not started.waits:
            await started.future
        while True:
            if started.future.done() and not started.stored:
                started = outbox.post(self._message(EventType.STEP_STARTED))
            error = await outbox.post(self._result(outcome)).future
            if error is None:
                return
            log.warning("cannot record the result of %s: %s", self.payload.task_id, error)
            await asyncio.sleep(delay)
            delay = min(delay * 2, LAST_RETRY_S)

    def _result(self, outcome: Completed | Continued | Failed) -> Outgoing:
        message = self._outcome_message(outcome)
        if len(message.data) <= self._services.max_event:
            return message
        size, limit = len(message.data), self._services.max_event
        text = f"output of {size} bytes exceeds the server's limit of {limit} bytes"
        return self._outcome_message(
            failed(text, FailureType.NON_RETRIABLE, error_type="TooLargeError")
        )

    def _outcome_message(self, outcome: Completed | Continued | Failed) -> Outgoing:
        match outcome:
            case Completed():
                return self._message(EventType.STEP_COMPLETED, outcome.output)
            case Failed():
                return self._message(EventType.STEP_FAILED, raw(outcome.failure))
            case Continued():
                return self._message(EventType.STEP_CONTINUE, outcome.output)

    def _message(self, kind: EventType, body: Raw = ABSENT) -> Outgoing:
        return event_message(
            kind,
            self.payload,
            body,
            worker_id=self._services.worker_id,
            queued_ns=self.delivery.timestamp_ns,
            delivered=self.delivery.delivered,
        )
