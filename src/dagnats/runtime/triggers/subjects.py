"""Subject triggers: a run for each message on a NATS subject.

Where a stream holds the subject, a durable consumer that all servers share reads it: nothing is
missed while no server runs, and a message that is delivered twice starts one run. Where none does,
the servers form a queue group, and a message is heard by the one that gets it, or by nobody.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Raw, Struct, field

from dagnats.errors import InvalidError
from dagnats.model.codec import ABSENT, parse_json
from dagnats.model.times import SECOND, read_time
from dagnats.model.trigger import TriggerDef
from dagnats.runtime.keeper import Keeper
from dagnats.runtime.triggers.coverage import matches, parts
from dagnats.runtime.triggers.debounce import Debouncer, Event
from dagnats.runtime.triggers.firing import Fire, Firing, fresh_run_id, run_id_of
from dagnats.telemetry.context import clean_traceparent
from dagnats.wire.inbound import CoreFeed, Passing, drop_durable, ensure_durable
from dagnats.wire.puller import Delivery, Puller
from dagnats.wire.stores import Listening, Stores

log = logging.getLogger("dagnats.triggers")

BATCH = 200
"""Messages of one trigger that are under way to a server."""

SETTLE_S = 0.2
"""How long to wait after a stream was made or removed: several changes often come together."""

RETRY = SECOND // 2
"""When a message comes again that could not be dealt with, in ns."""

STREAM_CHANGES = "$JS.EVENT.ADVISORY.STREAM.*.*"
CONSUMER_LOSSES = "$JS.EVENT.ADVISORY.CONSUMER.DELETED.*.*"
PREFIX = "trigger-"
STREAMS = "streams"
"""Last token of the key of ``trigger_state`` that says where consumers of a trigger are."""


class Message(Struct, frozen=True):
    """A message that came in, and what tells it from every other."""

    data: bytes
    cause: str
    order: int
    run_id: str
    trace_parent: str


class _Active(Struct):
    trigger: TriggerDef
    written: int
    held: dict[str, list[str]]
    """Per stream, the parts of the pattern that it holds."""
    keepers: list[Keeper] = field(default_factory=list[Keeper])
    pullers: list[Puller] = field(default_factory=list[Puller])
    feed: CoreFeed | None = None

    @property
    def pattern(self) -> str:
        """What is listened to."""
        assert self.trigger.subject is not None
        return self.trigger.subject.subject


def durable_name(trigger_id: str) -> str:
    """The consumer that all servers share for a trigger."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", trigger_id)
    if plain != trigger_id:
        plain = f"{plain}-{hashlib.sha256(trigger_id.encode()).hexdigest()[:8]}"
    return PREFIX + plain


class SubjectTriggers:
    """Fires subject triggers.

    Args:
        stores: the connection.
        firing: publishes what fires.
        debouncer: holds back what is to be debounced.
    """

    def __init__(self, stores: Stores, firing: Firing, debouncer: Debouncer) -> None:
        self._stores = stores
        self._firing = firing
        self._debouncer = debouncer
        self._active: dict[str, _Active] = {}
        self._lock = asyncio.Lock()
        self._moved = asyncio.Event()
        self._keeper = Keeper("stream watch", self._watch, log)
        self._ears: list[Listening] = []

    async def start(self) -> None:
        """Notice when streams come and go."""
        for pattern in (STREAM_CHANGES, CONSUMER_LOSSES):
            ear = self._stores.listen(pattern, self._heard)
            await ear.start()
            self._ears.append(ear)
        self._stores.bus.on_reconnect.append(self._moved.set)
        self._keeper.start()

    async def stop(self) -> None:
        """Listen no more; consumers stay and keep our place."""
        await self._keeper.stop()
        self._stores.bus.on_reconnect.remove(self._moved.set)
        for ear in self._ears:
            await ear.stop()
        async with self._lock:
            for trigger_id in list(self._active):
                await self._close(trigger_id)

    async def add(self, trigger: TriggerDef, written: int, *, live: bool) -> None:
        """Listen for a trigger that is new or has changed.

        Args:
            trigger: the definition.
            written: when it was stored, ns since 1970: earlier messages do not count.
            live: not needed here.
        """
        del live
        async with self._lock:
            await self._open(trigger, written, await self._streams())

    async def remove(self, trigger: TriggerDef) -> None:
        """A trigger is gone or disabled: messages from now on do not count."""
        async with self._lock:
            await self._close(trigger.id)
            await self._drop_elsewhere(trigger.id, set())

    async def sweep(self, known: Collection[str]) -> None:
        """Take away the consumers of triggers that were deleted while no server ran."""
        for key in await self._stores.trigger_state.keys():
            trigger_id = key.removesuffix(f".{STREAMS}")
            if key != trigger_id and trigger_id not in known:
                await self._drop_elsewhere(trigger_id, set())

    # --- streams ------------------------------------------------------------------------------

    async def _streams(self) -> list[dict[str, Any]]:
        return await self._stores.stream_names()

    def _heard(self, subject: str, data: bytes) -> None:
        del data
        if ".CONSUMER." not in subject or subject.rpartition(".")[2].startswith(PREFIX):
            self._moved.set()

    async def _watch(self) -> None:
        while True:
            await self._moved.wait()
            await asyncio.sleep(SETTLE_S)
            self._moved.clear()
            async with self._lock:
                streams = await self._streams()
                for active in list(self._active.values()):
                    await self._open(active.trigger, active.written, streams)

    async def _open(self, trigger: TriggerDef, written: int, streams: list[dict[str, Any]]) -> None:
        known = self._active.get(trigger.id)
        assert trigger.subject is not None
        found = _held(trigger.subject.subject, streams)
        born = {stream["config"]["name"]: read_time(stream["created"]) or 0 for stream in streams}
        served = known is not None and known.feed is not None
        await self._drop_elsewhere(trigger.id, set(found))
        for stream, filters in found.items():
            # What passed by before the stream was there has been heard already.
            late = served and born[stream] > written
            since = None if late else written
            name = durable_name(trigger.id)
            await ensure_durable(self._stores.bus, stream, name, filters, since)
        if known is not None and (known.trigger, known.held) == (trigger, found):
            return
        await self._close(trigger.id)
        active = self._active[trigger.id] = _Active(trigger, written, found)
        for stream in found:
            await self._read(active, stream)
        if active.pattern not in [part for held in found.values() for part in held]:
            await self._overhear(active)

    async def _drop_elsewhere(self, trigger_id: str, streams: set[str]) -> None:
        """Remember where consumers of a trigger are, and take away those nobody needs."""
        bucket, key = self._stores.trigger_state, f"{trigger_id}.{STREAMS}"
        entry = await bucket.get(key)
        before = set(entry.value.split()) if entry else set[str]()
        if streams - before:
            await bucket.put(key, " ".join(sorted(streams | before)))
        for stream in before - streams:
            await drop_durable(self._stores.bus, stream, durable_name(trigger_id))
        if before - streams or (before and not streams):
            if streams:
                await bucket.put(key, " ".join(sorted(streams)))
            else:
                await bucket.delete(key)

    async def _close(self, trigger_id: str) -> None:
        active = self._active.pop(trigger_id, None)
        if active is None:
            return
        if active.feed is not None:
            await active.feed.stop()
        for keeper in active.keepers:
            await keeper.stop()
        for puller in active.pullers:
            await puller.stop()
            for delivery in puller.take_now():
                delivery.nak()

    # --- messages -----------------------------------------------------------------------------

    async def _read(self, active: _Active, stream: str) -> None:
        name = durable_name(active.trigger.id)
        puller = Puller(self._stores.bus, stream, name, batch=BATCH)
        await puller.start()
        active.pullers.append(puller)

        async def work() -> None:
            while True:
                await self._stored(active.trigger, stream, await puller.take())

        self._keep(active, work)

    async def _overhear(self, active: _Active) -> None:
        group = durable_name(active.trigger.id)
        feed = active.feed = CoreFeed(self._stores.bus, active.pattern, group)
        await feed.start()
        elsewhere = [part for held in active.held.values() for part in held]

        async def work() -> None:
            while True:
                passing = await feed.take()
                wanted = [one for one in passing if not _any(elsewhere, one.subject)]
                await self._handle(active.trigger, [_passing(one) for one in wanted])

        self._keep(active, work)

    def _keep(self, active: _Active, work: Any) -> None:
        keeper = Keeper(f"trigger {active.trigger.id}", work, log)
        keeper.start()
        active.keepers.append(keeper)

    async def _stored(
        self, trigger: TriggerDef, stream: str, deliveries: Sequence[Delivery]
    ) -> None:
        messages = [_stored_message(trigger, stream, delivery) for delivery in deliveries]
        done = False
        try:
            await self._handle(trigger, messages)
            done = True
        finally:
            # Also when we are stopped on the way: the next server need not wait for the ack wait.
            for delivery in deliveries:
                if done:
                    delivery.ack()
                else:
                    delivery.nak(RETRY)

    async def _handle(self, trigger: TriggerDef, messages: Sequence[Message]) -> None:
        good: list[Message] = []
        for message in messages:
            problem = self._problem(message.data)
            if problem:
                await self._firing.refuse(trigger, "subject", problem, message.cause)
            else:
                good.append(message)
        if not good:
            return
        if trigger.debounce is not None:
            events = [Event(_data(one), one.order, one.trace_parent) for one in good]
            await self._debouncer.take(trigger, "subject", events)
            return
        now = time.time_ns()
        await self._firing.fire([_fire_of(trigger, message, now) for message in good], now)

    def _problem(self, data: bytes) -> str:
        if not data:
            return ""
        if not self._firing.fits(data):
            limit = self._stores.bus.max_payload
            return f"payload of {len(data)} bytes exceeds the server's limit of {limit} bytes"
        try:
            parse_json(data)
        except InvalidError as error:
            return f"payload is {error.message}"
        return ""


def _held(pattern: str, streams: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for stream in streams:
        config = stream["config"]
        if held := parts(pattern, config.get("subjects") or ()):
            found[config["name"]] = held
    return dict(sorted(found.items()))


def _any(patterns: Iterable[str], subject: str) -> bool:
    return any(matches(pattern, subject) for pattern in patterns)


def _stored_message(trigger: TriggerDef, stream: str, delivery: Delivery) -> Message:
    # The time as well: a stream that was made anew begins to count anew.
    cause = f"{stream}.{delivery.stream_seq}.{delivery.timestamp_ns}"
    return Message(
        data=delivery.data,
        cause=cause,
        order=delivery.timestamp_ns,
        run_id=run_id_of("subject", trigger.id, cause),
        trace_parent=clean_traceparent(delivery.header("traceparent")),
    )


def _passing(message: Passing) -> Message:
    run_id = fresh_run_id()
    return Message(
        data=message.data,
        cause=run_id,
        order=time.time_ns(),
        run_id=run_id,
        trace_parent=clean_traceparent(message.headers.get("traceparent", "")),
    )


def _data(message: Message) -> Raw:
    return Raw(message.data) if message.data else ABSENT


def _fire_of(trigger: TriggerDef, message: Message, now: int) -> Fire:
    return Fire(
        trigger=trigger,
        kind="subject",
        at=now,
        run_id=message.run_id,
        msg_id=f"trigger.{trigger.id}.{message.cause}",
        data=_data(message),
        trace_parent=message.trace_parent,
    )
