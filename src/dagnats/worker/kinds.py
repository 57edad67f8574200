"""Kinds of triggers that a worker contributes (``wire.md`` 9.7): one watcher for each trigger.

Of several workers with the same kind one owns it; the others stand by and take over when its
registration has run out.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from msgspec import Raw, Struct

from dagnats.errors import DagnatsError, InvalidError, UnreachableError
from dagnats.model.codec import ABSENT, decode, encode, parse_json
from dagnats.model.spans import RUN_ID
from dagnats.model.times import format_time
from dagnats.model.trigger import TriggerDef, TriggerTypeDef
from dagnats.runtime.triggers.external import ACK, AckRequest, Activation, Answer
from dagnats.runtime.triggers.firing import Fire, fresh_run_id, run_id_of
from dagnats.telemetry.spans import TRACER
from dagnats.wire.inbound import reply_to
from dagnats.wire.stores import Stores
from dagnats.worker.observing import SERVICE
from dagnats.worker.values import encode_output

log = logging.getLogger("dagnats.worker")

CHECK_S = 10.0
"""How often a worker makes sure that it owns its kind, or tries to get it, in seconds."""

FIRST_RESTART_S, LAST_RESTART_S = 1.0, 30.0
"""Backoff of a watcher that failed, in seconds."""


class Watched:
    """A trigger that is on: what to watch, and how to start runs.

    Attributes:
        id: of the trigger.
        workflow: what it starts.
        config: of the trigger, as plain Python values; it fits the kind's schema.
    """

    def __init__(self, stores: Stores, kind: str, activation: Activation) -> None:
        self.id = activation.trigger_id
        self.workflow = activation.workflow_id
        self.config: Any = parse_json(bytes(activation.config))
        self._stores = stores
        self._kind = kind

    async def fire(self, data: Any = None, *, key: str = "") -> str:
        """Start a run; its id.

        Args:
            data: the envelope's ``data``; anything that a handler may return.
            key: names what has happened: firing twice with the same key starts one run.

        Raises:
            PublishError: it was not stored; to repeat it with a key is harmless.
        """
        run_id = run_id_of(self._kind, self.id, key) if key else fresh_run_id()
        fire = Fire(
            trigger=TriggerDef(id=self.id, workflow_id=self.workflow),
            kind=self._kind,
            at=time.time_ns(),
            run_id=run_id,
            msg_id=f"trigger.{self.id}.{run_id}",
            data=ABSENT if data is None else encode_output(data),
        )
        about = {RUN_ID: run_id, "trigger_id": self.id, "trigger_source": self._kind}
        with TRACER.span("trigger.fire", "producer", "", {**about}, service=SERVICE) as span:
            await self._stores.publisher.publish(fire.start(span.traceparent))
        return run_id


Watch = Callable[[Watched], Awaitable[None]]


class Kind(Struct, frozen=True, kw_only=True):
    """A kind of trigger and what watches for it."""

    name: str
    watch: Watch
    schema: Mapping[str, Any]
    version: str
    description: str


class KindServer:
    """Serves one kind.

    Args:
        stores: the connection.
        worker_id: of the owner.
        kind: what it serves.
    """

    def __init__(self, stores: Stores, worker_id: str, kind: Kind) -> None:
        self._stores = stores
        self._worker_id = worker_id
        self._kind = kind
        self._watchers: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Own the kind, or wait until it is free; for ever."""
        while True:
            try:
                if await self._is_free():
                    await self._own()
            except DagnatsError as error:
                log.warning("trigger kind %s: %s", self._kind.name, error.message)
            await asyncio.sleep(CHECK_S)

    async def _owner(self) -> str:
        entry = await self._stores.trigger_types.get(self._kind.name)
        return entry.value.owner_worker_id if entry is not None else ""

    async def _is_free(self) -> bool:
        owner = await self._owner()
        return owner in ("", self._worker_id) or await self._stores.workers.get(owner) is None

    async def _own(self) -> None:
        """Serve the kind until another worker has it."""
        async with reply_to(self._stores.bus, f"_TRIGGER.{self._kind.name}.*", self._told):
            try:
                await self._register()
                log.info("worker %s owns trigger kind %s", self._worker_id, self._kind.name)
                while await self._is_mine():  # noqa: ASYNC110 - nobody tells us
                    await asyncio.sleep(CHECK_S)
                log.warning("another worker has taken over trigger kind %s", self._kind.name)
            finally:
                await self._stop_all()

    async def _is_mine(self) -> bool:
        try:
            return await self._owner() == self._worker_id
        except DagnatsError:
            return True  # Nobody can take it over while NATS is away.

    async def _register(self) -> None:
        """Ask for the kind.

        Raises:
            InvalidError: the server refuses it.
            UnreachableError: no server answers.
        """
        kind = self._kind
        definition = TriggerTypeDef(
            name=kind.name,
            owner_worker_id=self._worker_id,
            description=kind.description,
            config_schema=Raw(json.dumps(dict(kind.schema)).encode()),
            version=kind.version,
            registered_at=format_time(time.time_ns()),
        )
        await self._stores.trigger_types.put(kind.name, definition)
        request = AckRequest(name=kind.name, owner_worker_id=self._worker_id)
        answer = await self._stores.bus.request(ACK, encode(request))
        if answer and (error := decode(answer, Answer).error):
            raise InvalidError(error)

    async def _told(self, subject: str, data: bytes) -> bytes:
        """The server switches a trigger on or off."""
        try:
            activation = decode(data, Activation)
        except InvalidError as error:
            return encode({"error": error.message})
        await self._stop(activation.trigger_id)
        if subject.endswith(".activate"):
            watched = Watched(self._stores, self._kind.name, activation)
            task = asyncio.create_task(self._keep(watched), name=f"trigger {watched.id}")
            self._watchers[watched.id] = task
        return b""

    async def _keep(self, watched: Watched) -> None:
        """Run a watcher as long as its trigger is on, again when it fails."""
        delay = FIRST_RESTART_S
        while True:
            began = time.monotonic()
            try:
                await self._kind.watch(watched)
            except UnreachableError as error:
                log.warning("trigger %s waits: %s", watched.id, error.message)
            except Exception:
                log.exception("the watcher of trigger %s failed", watched.id)
            else:
                return  # It has nothing more to watch.
            if time.monotonic() - began > LAST_RESTART_S:
                delay = FIRST_RESTART_S
            await asyncio.sleep(delay)
            delay = min(delay * 2, LAST_RESTART_S)

    async def _stop(self, trigger_id: str) -> None:
        task = self._watchers.pop(trigger_id, None)
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({task})

    async def _stop_all(self) -> None:
        for trigger_id in list(self._watchers):
            await self._stop(trigger_id)
