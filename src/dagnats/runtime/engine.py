"""The engine: takes events from the log, applies them, and makes what follows happen.

For a batch of events the order is publish, snapshot, acknowledge. Whatever goes wrong on the way,
the engine forgets what it knows and starts over from the last acknowledged event; message ids make
the repetition harmless.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable

from msgspec import Struct

from dagnats.engine import effects as fx
from dagnats.engine.flow import Flow
from dagnats.engine.machine import Machine
from dagnats.engine.run import Run
from dagnats.engine.turn import Env
from dagnats.errors import ConflictError, DagnatsError, InvalidError
from dagnats.model.codec import decode
from dagnats.model.event import Event
from dagnats.model.run import RunStatus, WorkflowRun
from dagnats.model.workflow import WorkflowDef
from dagnats.runtime import flowstore
from dagnats.runtime.control import Control
from dagnats.runtime.definitions import Definitions
from dagnats.runtime.messages import event_message, poison_letter, stored, told
from dagnats.runtime.oversize import HEADER_ROOM, overflow, without_outputs
from dagnats.runtime.schedules import Schedules
from dagnats.runtime.timers import TimerBody, Timers
from dagnats.runtime.waiters import Waiters
from dagnats.wire.publisher import Outgoing
from dagnats.wire.puller import Delivery, Puller
from dagnats.wire.readers import HISTORY
from dagnats.wire.stores import Stores
from dagnats.wire.topology import ENGINE

log = logging.getLogger("dagnats.engine")

SNAPSHOT_ROOM = 64 * 1024
"""Bytes of a message kept free beside the outputs in a snapshot."""

REMEMBERED = 50_000
"""Ended runs whose late events are dropped without a look at their snapshot."""


class Transition(Struct, frozen=True):
    """A run has moved from one status to another; ``before`` is empty for a new run."""

    run_id: str
    workflow: str
    before: str
    after: str
    error: str


def _ignore(transition: Transition) -> None:
    del transition


class EngineSettings(Struct, kw_only=True):
    """``flush`` is the longest time a snapshot lags behind, in seconds."""

    flush: float = 0.05
    batch: int = 1000


class Engine:
    """One engine.

    Args:
        stores: the connection, provisioned.
        settings: how it works.
        on_transition: called for every change of a run's status, again after a crash.
    """

    def __init__(
        self,
        stores: Stores,
        settings: EngineSettings | None = None,
        on_transition: Callable[[Transition], None] = _ignore,
    ) -> None:
        self._stores = stores
        self._on_transition = on_transition
        self._settings = settings or EngineSettings()
        self._ready = asyncio.Event()
        self._poison: set[int] = set()
        self.restarts = 0

    async def ready(self) -> None:
        """Wait until events are being processed."""
        await self._ready.wait()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            session = Session(
                self._stores, self._settings, self._poison, self._ready, self._on_transition
            )
            try:
                await session.work()
            except (DagnatsError, OSError, TimeoutError, asyncio.InvalidStateError) as error:
                self.restarts += 1
                log.warning("engine starts over: %s", error)
                await asyncio.sleep(0.2)
            finally:
                self._ready.clear()
                await session.close()


class Session:
    """The engine between two restarts: everything it knows can be forgotten."""

    def __init__(
        self,
        stores: Stores,
        settings: EngineSettings,
        poison: set[int],
        ready: asyncio.Event,
        on_transition: Callable[[Transition], None],
    ) -> None:
        self._on_transition = on_transition
        self._stores = stores
        self._settings = settings
        self._poison = poison
        self._ready = ready
        self._flow = Flow()
        self._definitions = Definitions(stores)
        self._waiters = Waiters(stores)
        self._timers = Timers(stores.bus, self._timer_due)
        self._schedules = Schedules(stores)
        self._control = Control(stores, self._flow, self._resumed)
        self._runs: dict[str, Run] = {}
        self._loaded: set[str] = set()
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._dirty: dict[str, Run] = {}
        self._due: list[Outgoing] = []
        self._waiter_writes: list[Outgoing] = []
        self._last: Delivery | None = None
        self._flushed = 0.0
        self._flushing: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._pullers: list[Puller] = []
        self._revisions: set[str] = set()

    # --- life ---------------------------------------------------------------------------------

    async def work(self) -> None:
        """Load, then process until something fails."""
        self._machine = Machine(
            Env(
                flow=self._flow,
                definition=self._definitions.get,
                secret=await self._secret(),
                max_bytes=self._stores.bus.max_payload - SNAPSHOT_ROOM,
            )
        )
        await self._definitions.start()
        await self._waiters.load()
        await flowstore.load(self._stores, self._flow)
        await self._control.start()
        with contextlib.suppress(DagnatsError):
            # Redeliver at once what an engine that died had taken (servers from 2.15 on).
            await self._stores.bus.api(f"CONSUMER.RESET.{HISTORY}.{ENGINE}", {})
        events = await self._puller(HISTORY, ENGINE)
        self._tasks = [
            asyncio.create_task(
                self._fire_timers(await self._puller("SLEEP_TIMERS", "sleep-timer"))
            ),
            asyncio.create_task(self._correlate(await self._puller("EVENTS", "event-correlator"))),
            asyncio.create_task(
                self._schedules.run(await self._puller("SLEEP_TIMERS", "scheduled-run-timer"))
            ),
        ]
        self._ready.set()
        while True:
            await self._cycle(events)

    async def _puller(self, stream: str, consumer: str) -> Puller:
        puller = Puller(self._stores.bus, stream, consumer, batch=self._settings.batch)
        await puller.start()
        self._pullers.append(puller)
        return puller

    async def close(self) -> None:
        """Let go of everything."""
        tasks = [*self._tasks, *([self._flushing] if self._flushing else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._timers.stop()
        await self._definitions.stop()
        await self._control.stop()
        for puller in self._pullers:
            await puller.stop()

    async def _secret(self) -> bytes:
        """The key from which nonces are derived: made once per deployment."""
        with contextlib.suppress(ConflictError):
            await self._stores.engine_state.create("secret", secrets.token_bytes(32))
        entry = await self._stores.engine_state.get("secret")
        assert entry is not None
        return entry.value

    # --- one batch of events ------------------------------------------------------------------

    async def _cycle(self, events: Puller) -> None:
        for task in self._tasks:
            if task.done():
                task.result()
        deliveries = await self._take(events)
        messages: list[Outgoing] = []
        if self._due:
            messages, self._due = self._due, []
        await self._load(deliveries)
        for delivery in deliveries:
            messages += await self._apply(delivery)
            self._last = delivery
        if messages:
            await self._stores.publisher.publish_all(messages)
        self._maybe_flush()

    async def _take(self, events: Puller) -> list[Delivery]:
        """What has arrived; nothing when a timer is due or a flush waits."""
        wait = self._settings.flush if self._dirty or self._due else 1.0
        try:
            async with asyncio.timeout(0.001 if self._due else wait):
                return await events.take()
        except TimeoutError:
            return []

    async def _load(self, deliveries: list[Delivery]) -> None:
        """Bring the runs of a batch into memory."""
        missing = {
            run_id
            for delivery in deliveries
            if (run_id := delivery.subject.partition(".")[2]) not in self._runs
            and run_id not in self._ended
        }
        if missing:
            found = await self._stores.runs.get_many(f"run.{run_id}" for run_id in missing)
            for entry in found.values():
                await self._admit(entry.value)

    async def _admit(self, snapshot: WorkflowRun) -> None:
        plan = self._machine.plans.known(snapshot.revision)
        if plan is None:
            definition = await self._pinned(snapshot)
            _, plan = self._machine.plans.of(definition)
        if snapshot.dynamic_steps:
            plan = plan.extended(snapshot.dynamic_steps)
        self._runs[snapshot.run_id] = Run(snapshot, plan)
        self._loaded.add(snapshot.run_id)

    async def _pinned(self, snapshot: WorkflowRun) -> WorkflowDef:
        if snapshot.revision:
            entry = await self._stores.revisions.get(f"{snapshot.workflow_id}.{snapshot.revision}")
            if entry is not None:
                return entry.value
        # A run that somebody else started is not pinned; the current definition has to do.
        return self._definitions.get(snapshot.workflow_id) or WorkflowDef(name=snapshot.workflow_id)

    async def _apply(self, delivery: Delivery) -> list[Outgoing]:
        run_id = delivery.subject.partition(".")[2]
        if delivery.stream_seq in self._poison:
            return [self._set_aside(delivery, "poison event")]
        try:
            event = decode(delivery.data, Event)
        except InvalidError as error:
            return [self._set_aside(delivery, error.message)]
        run = self._runs.get(run_id)
        if event.run_id != run_id or (run is None and run_id in self._ended):
            return []
        if run is not None and delivery.stream_seq <= run.snapshot.applied_seq:
            return []
        before = run.snapshot.status if run is not None else ""
        try:
            outcome = self._machine.apply(
                run, event, delivery.stream_seq, delivery.timestamp_ns, time.time_ns()
            )
        except (
            ArithmeticError,
            AssertionError,
            AttributeError,
            LookupError,
            TypeError,
            ValueError,
        ) as error:
            # A fault of ours must not stop every other run: this event is set aside.
            log.exception("event %d of run %s cannot be processed", delivery.stream_seq, run_id)
            self._poison.add(delivery.stream_seq)
            raise DagnatsError(f"event {delivery.stream_seq}: {error!r}") from error
        if outcome.run is None:
            return []
        self._tell(outcome.run.snapshot, before)
        outcome.run.snapshot.applied_seq = delivery.stream_seq
        self._runs[run_id] = self._dirty[run_id] = outcome.run
        return await self._effects(outcome.effects)

    def _tell(self, snapshot: WorkflowRun, before: str) -> None:
        if snapshot.status != before:
            self._on_transition(
                Transition(
                    run_id=snapshot.run_id,
                    workflow=snapshot.workflow_id,
                    before=before,
                    after=snapshot.status,
                    error=snapshot.error,
                )
            )

    async def _effects(self, effects: list[fx.Effect]) -> list[Outgoing]:
        messages: list[Outgoing] = []
        for effect in effects:
            if isinstance(effect, fx.SetTimer):
                self._timers.set(effect)
            elif isinstance(effect, fx.CancelTimers):
                self._timers.cancel(effect, known=effect.run_id not in self._loaded)
            elif isinstance(effect, fx.AddWaiter):
                self._waiter_writes.append(self._waiters.add(effect))
                messages += await self._waiters.missed(effect)
            elif isinstance(effect, fx.DropWaiters):
                self._waiter_writes += self._waiters.drop(effect)
            else:
                messages += stored(effect, self._stores)
                core = told(effect, self._stores.bus.max_payload)
                if core is not None:
                    await self._stores.bus.publish(*core)
        return messages

    # --- snapshots ----------------------------------------------------------------------------

    def _maybe_flush(self) -> None:
        if self._flushing is not None:
            if not self._flushing.done():
                return
            self._flushing.result()
            self._flushing = None
        if self._last is None or time.monotonic() - self._flushed < self._settings.flush:
            return
        began = time.monotonic()
        messages = self._timers.unwritten() + self._waiter_writes
        messages += flowstore.dirty(self._stores, self._flow)
        self._waiter_writes = []
        messages += self._snapshots()
        last, self._last = self._last, None
        # Writing large snapshots often would cost more than it saves: spend a tenth on it.
        self._flushed = time.monotonic() + 9 * (time.monotonic() - began)
        self._flushing = asyncio.create_task(self._flush(messages, last))

    def _snapshots(self) -> list[Outgoing]:
        messages: list[Outgoing] = []
        for run_id, run in self._dirty.items():
            revision, definition = run.snapshot.revision, run.plan.definition
            if revision and revision not in self._revisions:
                self._revisions.add(revision)
                key = f"{run.snapshot.workflow_id}.{revision}"
                messages.append(self._stores.revisions.message(key, definition))
            messages += self._snapshot(run)
            if run.terminal:
                del self._runs[run_id]
                self._loaded.discard(run_id)
                # A replayed dead letter reopens only failed runs; those are looked up again.
                if run.snapshot.status in (RunStatus.COMPLETED, RunStatus.CANCELLED):
                    self._ended[run_id] = None
        while len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)
        self._dirty = {}
        return messages

    def _snapshot(self, run: Run) -> list[Outgoing]:
        key, snapshot = f"run.{run.id}", run.snapshot
        message = self._stores.runs.message(key, snapshot)
        size, limit = len(message.data), self._stores.bus.max_payload
        if size <= limit - HEADER_ROOM:
            return [message]
        kept = self._stores.runs.message(key, without_outputs(snapshot))
        if run.terminal:
            return [kept]
        # Before the snapshot: a run that has lost its outputs must not go on.
        event = overflow(snapshot, size, limit)
        return [event_message(event, f"{run.id}.{event.type}"), kept]

    async def _flush(self, messages: list[Outgoing], last: Delivery) -> None:
        if messages:
            await self._stores.publisher.publish_all(messages)
        last.ack()
        await self._timers.purge()

    # --- what else causes events --------------------------------------------------------------

    def _resumed(self, messages: list[Outgoing]) -> None:
        self._due += messages

    def _timer_due(self, event: Event, msg_id: str) -> None:
        self._due.append(event_message(event, msg_id))

    async def _fire_timers(self, puller: Puller) -> None:
        while True:
            deliveries = await puller.take()
            messages: list[Outgoing] = []
            for delivery in deliveries:
                with contextlib.suppress(InvalidError):
                    body = decode(delivery.data, TimerBody)
                    messages.append(event_message(body.event, body.msg_id))
            await self._stores.publisher.publish_all(messages)
            for delivery in deliveries:
                delivery.ack()

    async def _correlate(self, puller: Puller) -> None:
        while True:
            deliveries = await puller.take()
            messages: list[Outgoing] = []
            for delivery in deliveries:
                event_type = delivery.subject.partition(".")[2]
                messages += self._waiters.matched(
                    event_type, delivery.data, delivery.stream_seq, delivery.timestamp_ns
                )
            await self._stores.publisher.publish_all(messages)
            for delivery in deliveries:
                delivery.ack()

    def _set_aside(self, delivery: Delivery, reason: str) -> Outgoing:
        limit = self._stores.bus.max_payload
        return poison_letter(delivery.data, delivery.stream_seq, delivery.delivered, reason, limit)
