"""The engine: one of all that are attached to one NATS is active, the others stand by.

Whatever goes wrong, the active one forgets what it knows and starts over from the last
acknowledged event; message ids make the repetition harmless.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from dagnats.errors import DagnatsError
from dagnats.model.records import EngineMember
from dagnats.runtime.identity import this_engine
from dagnats.runtime.lease import Fence, Lease, LeaseLostError
from dagnats.runtime.session import EngineSettings, Session, Transition
from dagnats.wire.stores import Stores

__all__ = ["Engine", "EngineSettings", "Transition"]

log = logging.getLogger("dagnats.engine")


def _ignore(transition: Transition) -> None:
    del transition


class Engine:
    """One engine. Of all that are attached to one NATS, one is active; the others stand by.

    Args:
        stores: the connection, provisioned.
        settings: how it works.
        on_transition: called for every change of a run's status, again after a crash.

    Attributes:
        restarts: how often it had to start over.
        holder: the engine it waits for; ``None`` unless it stands by.
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
        self._settled = asyncio.Event()
        self._poison: set[int] = set()
        self._lease = Lease(stores, this_engine(), self._standing_by)
        self.restarts = 0
        self.holder: EngineMember | None = None

    @property
    def active(self) -> bool:
        """Whether this engine is the one that processes events."""
        return self._ready.is_set()

    async def ready(self) -> None:
        """Wait until events are being processed here."""
        await self._ready.wait()

    async def settled(self) -> None:
        """Wait until events are being processed here, or it is known that another does it."""
        await self._settled.wait()

    async def run(self) -> None:
        """Work, or stand by, until cancelled."""
        try:
            while True:
                await self._term()
        finally:
            await self._lease.release()

    async def _term(self) -> None:
        """From getting the lease to losing it, or to a failure."""
        try:
            epoch = await self._lease.acquire()
            self.holder = None
            await self._active(Fence(epoch if await self._single() else 0))
        except LeaseLostError as error:
            log.warning("engine stands by: %s", error)
        except (DagnatsError, OSError, TimeoutError, asyncio.InvalidStateError) as error:
            self.restarts += 1
            log.warning("engine starts over: %s", error)
            await asyncio.sleep(0.2)

    async def _active(self, fence: Fence) -> None:
        session = Session(
            self._stores, self._settings, self._poison, self._began, self._on_transition
        )
        tasks = [
            asyncio.create_task(self._lease.keep(), name="lease"),
            asyncio.create_task(session.work(self._lease, fence), name="session"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._ready.clear()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await session.close()

    def _began(self) -> None:
        self._ready.set()
        self._settled.set()

    async def _single(self) -> bool:
        """Whether the streams have one copy: only then can a write depend on a fence."""
        info = await self._stores.bus.api("STREAM.INFO.KV_engine_state")
        return bool(info["config"].get("num_replicas", 1) == 1)

    def _standing_by(self, holder: EngineMember) -> None:
        if self.holder is None or self.holder.id != holder.id:
            log.info(
                "standing by: the engine on %s (process %d) is active", holder.host, holder.pid
            )
        self.holder = holder
        self._settled.set()
