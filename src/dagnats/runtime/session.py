"""The engine between two restarts: takes events from the log, and makes what follows happen.

For a batch of events the order is publish, snapshot, acknowledge.
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
from dagnats.runtime.causes import Causes
from dagnats.runtime.control import Control
from dagnats.runtime.definitions import Definitions
from dagnats.runtime.housekeeping import Housekeeper
from dagnats.runtime.lease import Fence, Lease
from dagnats.runtime.messages import event_message, poison_letter, stored, told
from dagnats.runtime.observing import Observer
from dagnats.runtime.retention import View
from dagnats.runtime.schedules import Schedules
from dagnats.runtime.snapshots import Snapshots
from dagnats.runtime.timers import Purge, Timers
from dagnats.runtime.waiters import Waiters
from dagnats.wire.features import Features
from dagnats.wire.publisher import Outgoing
from dagnats.wire.puller import Delivery, Puller
from dagnats.wire.readers import HISTORY
from dagnats.wire.stores import Stores
from dagnats.wire.takeover import take_over
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
    trace_parent: str = ""


class EngineSettings(Struct, kw_only=True):
    """How an engine works.

    Args:
        flush: the longest time a snapshot lags behind, in seconds.
        batch: events taken at once.
        runs_max_age: how long runs are kept that have ended, in ns; 0: for ever.
        max_depth: levels of nested runs.
        housekeeping: seconds between two looks for what vanished runs hold.
    """

    flush: float = 0.05
    batch: int = 1000
    runs_max_age: int = 0
    max_depth: int = 3
    housekeeping: float = 60.0


class _Flush(Struct, frozen=True):
    """What a batch of events changed; ``snapshots`` are those of ``runs``, in that order."""

    messages: list[Outgoing]
    runs: list[Run]
    snapshots: list[Outgoing]
    purges: list[Purge]
    last: Delivery | None


class Session:
    """The engine between two restarts: everything it knows can be forgotten."""

    def __init__(
        self,
        stores: Stores,
        settings: EngineSettings,
        poison: set[int],
        began: Callable[[], None],
        on_transition: Callable[[Transition], None],
    ) -> None:
        self._on_transition = on_transition
        self._stores = stores
        self._settings = settings
        self._poison = poison
        self._began = began
        self._flow = Flow()
        self._definitions = Definitions(stores)
        self._waiters = Waiters(stores)
        self._timers = Timers(stores.bus, self._timer_due)
        self._schedules = Schedules(stores)
        self._snapshots = Snapshots(stores)
        self._control = Control(stores, self._flow, self._resumed)
        self._observer = Observer()
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
        self._view = View(self._holds, lambda: self._reached)
        self._housekeeper = Housekeeper(stores, self._flow, self._view, self._resumed)
        self._reached = self._backlog = 0
        self._delivered = self._settled = 0

    # --- life ---------------------------------------------------------------------------------

    async def work(self, lease: Lease, fence: Fence) -> None:
        """Load, then process until something fails."""
        self._lease, self._fence = lease, fence
        self._machine = Machine(
            Env(
                flow=self._flow,
                definition=self._definitions.get,
                secret=await self._secret(),
                granted=self._control.granted,
                max_depth=self._settings.max_depth,
                max_bytes=self._stores.bus.max_payload - SNAPSHOT_ROOM,
            )
        )
        await self._definitions.start()
        await self._waiters.load()
        await flowstore.load(self._stores, self._flow)
        await self._control.start()
        features = await Features.of(self._stores.bus)
        await self._timers.start(features)
        place = await take_over(self._stores.bus)
        self._delivered, self._reached, self._backlog = place.delivered, place.floor, place.last
        events = await self._puller(HISTORY, ENGINE)
        causes = Causes(self._stores, lease, self._waiters)
        timers = await self._puller("SLEEP_TIMERS", "sleep-timer")
        published = await self._puller("EVENTS", "event-correlator")
        scheduled = await self._puller("SLEEP_TIMERS", "scheduled-run-timer")
        self._tasks = [
            asyncio.create_task(causes.fire_timers(timers)),
            asyncio.create_task(causes.correlate(published)),
            asyncio.create_task(self._schedules.run(scheduled, features)),
            asyncio.create_task(self._keep_house()),
        ]
        self._began()
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
        for puller in self._pullers[1:]:
            for delivery in puller.take_now():
                delivery.nak()  # For who comes after us. The history is put back as a whole.

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
        self._in_line(deliveries)
        await self._lease.check()
        messages: list[Outgoing] = []
        if self._due:
            messages, self._due = self._due, []
        await self._load(deliveries)
        for delivery in deliveries:
            messages += await self._apply(delivery)
            self._last, self._reached = delivery, delivery.stream_seq
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

    def _in_line(self, deliveries: list[Delivery]) -> None:
        """None is missing: a later event of a run must not be applied before an earlier one."""
        for delivery in deliveries:
            self._delivered += 1
            if delivery.consumer_seq != self._delivered:
                raise DagnatsError("events went to a connection that is gone, or to another reader")

    async def _load(self, deliveries: list[Delivery]) -> None:
        """Bring the runs of a batch into memory."""
        missing: dict[str, int] = {}
        for delivery in deliveries:
            run_id = delivery.subject.partition(".")[2]
            if run_id not in self._runs and run_id not in self._ended:
                missing.setdefault(run_id, delivery.stream_seq)
        if missing:
            for snapshot in await self._snapshots.load(missing, self._machine.env.secret):
                await self._admit(snapshot)

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
        if run is None:
            self._observer.arrives(event, delivery)
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
        records = self._observer.applied(outcome.run, event, before)
        outcome.run.snapshot.applied_seq = delivery.stream_seq
        self._runs[run_id] = self._dirty[run_id] = outcome.run
        return [*records, *await self._effects(outcome.effects)]

    def _tell(self, snapshot: WorkflowRun, before: str) -> None:
        if snapshot.status != before:
            self._on_transition(
                Transition(
                    run_id=snapshot.run_id,
                    workflow=snapshot.workflow_id,
                    before=before,
                    after=snapshot.status,
                    error=snapshot.error,
                    trace_parent=snapshot.trace_parent,
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
                self._observer.asked(effect)
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
        if self._last is None and not self._flow.dirty:
            return
        if time.monotonic() - self._flushed < self._settings.flush:
            return
        began = time.monotonic()
        # A timer that has fired is written nowhere but in its event: that must not come too late.
        due, self._due = self._due, []
        messages = due + self._timers.unwritten() + self._waiter_writes
        messages += flowstore.dirty(self._stores, self._flow)
        self._waiter_writes = []
        runs, self._dirty = list(self._dirty.values()), {}
        snapshots: list[Outgoing] = []
        for run in runs:
            before, snapshot = self._snapshots.write(run)
            messages += before
            snapshots.append(snapshot)
        purges = self._timers.cancelled()
        last, self._last = self._last, None
        # Writing large snapshots often would cost more than it saves: spend a thirtieth on it.
        self._flushed = time.monotonic() + min(1.0, 29 * (time.monotonic() - began))
        self._flushing = asyncio.create_task(
            self._flush(_Flush(messages, runs, snapshots, purges, last))
        )

    async def _flush(self, flush: _Flush) -> None:
        """Snapshots come last: what they say has happened is stored by then."""
        publisher, began = self._stores.publisher, time.monotonic()
        await self._lease.check()
        self._timers.stored(await publisher.publish_all(self._fence.sealed(flush.messages)))
        acks = await publisher.publish_all(flush.snapshots)
        self._observer.saved(time.monotonic() - began, self._flow)
        for run, ack in zip(flush.runs, acks, strict=True):
            self._snapshots.stored(run.id, ack.seq)
            if run.terminal and run.id not in self._dirty:
                self._forget(run)
        await self._lease.check()
        if flush.last is not None:
            flush.last.ack()
            # One acknowledgement later than it could be: this one may get lost.
            self._flow.forget_left(self._settled)
            self._settled = flush.last.stream_seq
        await self._timers.purge(flush.purges)

    def _forget(self, run: Run) -> None:
        self._runs.pop(run.id, None)
        self._loaded.discard(run.id)
        self._snapshots.forget(run.id)
        # A replayed dead letter reopens only failed runs; those are looked up again.
        if run.snapshot.status in (RunStatus.COMPLETED, RunStatus.CANCELLED):
            self._ended[run.id] = None
        while len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)

    # --- what else causes events --------------------------------------------------------------

    def _holds(self, run_id: str) -> bool:
        """Whether a run is at work here, or may be: what waits in the log may know it."""
        return run_id in self._runs or self._reached < self._backlog

    async def _keep_house(self) -> None:
        settings = self._settings
        await self._housekeeper.run(settings.housekeeping, settings.runs_max_age)

    def _resumed(self, messages: list[Outgoing]) -> None:
        self._due += messages

    def _timer_due(self, event: Event, msg_id: str) -> None:
        self._due.append(event_message(event, msg_id))

    def _set_aside(self, delivery: Delivery, reason: str) -> Outgoing:
        limit = self._stores.bus.max_payload
        return poison_letter(delivery.data, delivery.stream_seq, delivery.delivered, reason, limit)
