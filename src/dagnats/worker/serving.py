"""A worker at work: from its connection to its last acknowledgement."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from typing import Any

from msgspec import Struct

from dagnats.errors import DagnatsError
from dagnats.runtime.telemetry.exporter import Telemetry
from dagnats.wire.connection import ConnectOptions, connect
from dagnats.wire.puller import Puller
from dagnats.worker import consumers
from dagnats.worker.directory import REFRESH_S, Directory
from dagnats.worker.execution import Execution
from dagnats.worker.handler import Handler
from dagnats.worker.intake import Intake
from dagnats.worker.kinds import Kind, KindServer
from dagnats.worker.link import WorkerLink
from dagnats.worker.observing import SERVICE
from dagnats.worker.watchdog import Watchdog

log = logging.getLogger("dagnats.worker")

OTLP_ENV = "OTEL_EXPORTER_OTLP_ENDPOINT"
"""Where an OTLP collector listens that gets a worker's telemetry as well."""

LEAVE_S = 5.0
"""How long the last goodbyes may take."""


class Plan(Struct, frozen=True, kw_only=True):
    """What a worker serves, and how.

    Args:
        options: where NATS is.
        worker_id: unique to this process.
        name: what the user calls the worker.
        handlers: one per task type and group.
        concurrency: how many tasks run at once in the whole worker.
        grace_s: how long running tasks may take to end when the worker stops.
        telemetry: whether its log, spans and metrics go to TELEMETRY.
        kinds: of triggers that it contributes.
    """

    options: ConnectOptions
    worker_id: str
    name: str
    handlers: Sequence[Handler]
    concurrency: int
    grace_s: float
    telemetry: bool = True
    kinds: Sequence[Kind] = ()


class Serving:
    """One connected life of a worker.

    Args:
        plan: what to serve.
        link: the connection.
    """

    def __init__(self, plan: Plan, link: WorkerLink) -> None:
        self._plan = plan
        self._link = link
        self._intakes: list[tuple[Handler, Intake, Puller]] = []
        self._reconnected = asyncio.Event()
        self._directory = Directory(
            link.stores,
            plan.worker_id,
            plan.name,
            [handler.task for handler in plan.handlers],
            plan.concurrency,
        )

    async def open(self) -> None:
        """Take possession of the queues.

        Raises:
            ConflictError: another task type or group has one of them.
            NotFoundError: this NATS was never provisioned.
        """
        for handler in self._plan.handlers:
            await self._open_handler(handler)

    async def _open_handler(self, handler: Handler) -> None:
        bus, options = self._link.bus, handler.options
        self._add(handler, await consumers.ensure_durable(bus, handler.task, options))
        if options.group:
            return  # Sticky runs and worker groups exclude each other (wire.md 7.6).
        sticky = await consumers.ensure_sticky(
            bus, handler.task, self._plan.worker_id, options, after_seq=0
        )
        if sticky is not None:
            self._add(handler, sticky)

    def _add(self, handler: Handler, consumer: consumers.Consumer) -> None:
        credit = min(handler.options.concurrency, self._plan.concurrency)
        pull = Puller(self._link.bus, consumer.stream, consumer.name, batch=credit, manual=True)
        intake = Intake(self._link, handler, consumer, pull, self._finished)
        self._intakes.append((handler, intake, pull))

    def _finished(self, execution: Execution) -> None:
        if execution.skipped:
            self._directory.skipped()

    async def work(self, stopping: asyncio.Event, ready: asyncio.Event) -> None:
        """Serve until ``stopping`` is set, then drain.

        Raises:
            DagnatsError: the worker cannot go on.
        """
        bus = self._link.bus
        bus.on_reconnect.append(self._reconnected.set)
        recalls = self._link.stores.listen("dagnats.cancelled.*", self._recalled)
        await recalls.start()
        for _, _, pull in self._intakes:
            await pull.start()
        tasks = [asyncio.create_task(work) for work in self._background()]
        stop = asyncio.create_task(stopping.wait())
        ready.set()
        try:
            done, _ = await asyncio.wait({stop, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            await self._drain()
        finally:
            await self._in_time(self._stop_taking())
            self._give_up()
            await _cancel([stop, *tasks])
            bus.on_reconnect.remove(self._reconnected.set)
            await recalls.stop()
            await self._in_time(self._leave())

    def _background(self) -> Iterator[Coroutine[Any, Any, None]]:
        for _, intake, _ in self._intakes:
            yield intake.run()
            yield intake.pulse()
        yield self._directory.run()
        for kind in self._plan.kinds:
            yield KindServer(self._link.stores, self._plan.worker_id, kind).run()
        yield self._tend()
        yield Watchdog().run()

    def _recalled(self, subject: str, data: bytes) -> None:
        """The engine takes back tasks of a run: those whose nonce begins as the body names."""
        run_id, nonces = subject.rpartition(".")[2], tuple(data.decode("utf-8", "replace").split())
        self._link.note_recall(run_id)
        for execution in self._held():
            payload = execution.payload
            if payload.run_id == run_id and payload.dispatch_nonce.startswith(nonces):
                execution.recall()

    def _held(self) -> list[Execution]:
        return [each for _, intake, _ in self._intakes for each in intake.running.values()]

    async def _tend(self) -> None:
        """Make consumers again that were deleted, or lost in a restart of the server."""
        while True:
            try:
                # Not wait_for(): before Python 3.12 it may swallow a cancellation.
                async with asyncio.timeout(REFRESH_S):
                    await self._reconnected.wait()
            except TimeoutError:
                pass
            else:
                self._reconnected.clear()
                for execution in self._held():
                    execution.beat()
            for handler, intake, _ in self._intakes:
                await self._mend(handler, intake)

    async def _mend(self, handler: Handler, intake: Intake) -> None:
        bus, options = self._link.bus, handler.options
        try:
            if intake.consumer.stream == consumers.TASKS:
                await consumers.ensure_durable(bus, handler.task, options)
            else:
                worker = self._plan.worker_id
                await consumers.ensure_sticky(bus, handler.task, worker, options, intake.last_seq)
        except DagnatsError as error:
            log.warning("cannot check the queue of task %s: %s", handler.task, error)

    async def _stop_taking(self) -> None:
        for _, intake, pull in self._intakes:
            intake.draining = True
            await pull.stop()
            intake.refuse()

    async def _drain(self) -> None:
        """Take no more; let running tasks end within the grace."""
        await self._stop_taking()
        held = self._held()
        if held:
            log.info("stopping: waiting up to %g s for %d tasks", self._plan.grace_s, len(held))
        deadline = time.monotonic() + self._plan.grace_s
        while (held := self._held()) and time.monotonic() < deadline:
            tasks = [task for each in held if (task := each.task) is not None]
            await asyncio.wait(tasks, timeout=max(0.0, deadline - time.monotonic()))
        if held:
            log.warning("%d tasks did not end in time and go back to the queue", len(held))

    def _give_up(self) -> None:
        for execution in self._held():
            execution.give_up()

    async def _leave(self) -> None:
        for _, intake, _ in self._intakes:
            if intake.consumer.stream == consumers.STICKY:
                await consumers.delete(self._link.bus, intake.consumer)
        await self._directory.leave()
        await self._link.outbox.drain()

    @staticmethod
    async def _in_time(goodbye: Coroutine[Any, Any, None]) -> None:
        """Say goodbye, as far as somebody is listening."""
        try:
            async with asyncio.timeout(LEAVE_S):
                await goodbye
        except (DagnatsError, TimeoutError) as error:
            log.warning("left without a goodbye: %s", error or "no answer")


async def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError, DagnatsError):
            await task


async def serve(plan: Plan, stopping: asyncio.Event, ready: asyncio.Event) -> None:
    """Connect, serve until ``stopping`` is set, drain, disconnect.

    Raises:
        UnreachableError: there is no server.
        ConflictError: another worker's consumer is in the way.
        NotFoundError: this NATS was never provisioned.
    """
    bus = await connect(plan.options)
    try:
        link = WorkerLink(bus, plan.worker_id, plan.concurrency)
        serving = Serving(plan, link)
        await serving.open()
        tasks = ", ".join(handler.task for handler in plan.handlers)
        async with _telemetry(link, plan.telemetry):
            log.info("worker %s serves %s", plan.worker_id, tasks)
            await serving.work(stopping, ready)
    finally:
        await bus.close()


@contextlib.asynccontextmanager
async def _telemetry(link: WorkerLink, wanted: bool) -> AsyncGenerator[None]:
    """Log records, spans and metrics of the worker, sent while it serves."""
    if not wanted:
        yield
        return
    telemetry = Telemetry(link.stores, SERVICE, os.environ.get(OTLP_ENV, ""))
    telemetry.start()
    try:
        yield
    finally:
        await telemetry.stop()
