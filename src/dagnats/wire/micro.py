"""NATS micro services: found by ``nats micro list``, asked by request and reply.

All instances share a queue group: one of them answers. Requests are worked on side by side, so that
a slow one holds no other up.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable

import nats.errors
from msgspec import Struct
from nats.micro.request import Request
from nats.micro.service import Service, ServiceConfig

from dagnats import __version__
from dagnats.wire.connection import Bus

MAX_AT_ONCE = 64
"""Requests worked on at once; more wait their turn."""

LEAVE_S = 2.0
"""How long leaving may take, in seconds."""

QUEUE_GROUP = "q"
"""The group that micro services use unless told otherwise."""

Answer = Callable[[bytes], Awaitable[bytes]]
"""Makes the reply to a request; never raises."""


class Endpoint(Struct, frozen=True):
    """One thing a service can be asked."""

    name: str
    subject: str
    answer: Answer


class MicroService:
    """A service with its endpoints.

    Args:
        bus: the connection.
        name: of the service.
        version: a bare semantic version.
        description: for people.
    """

    def __init__(self, bus: Bus, name: str, version: str, description: str) -> None:
        self._bus = bus
        self._about = ServiceConfig(
            name=name, version=version, description=description, queue_group=QUEUE_GROUP
        )
        self._service: Service | None = None
        self._slots = asyncio.Semaphore(MAX_AT_ONCE)
        self._running: set[asyncio.Task[None]] = set()

    async def start(self, endpoints: list[Endpoint]) -> None:
        """Be there."""
        self._service = Service(self._bus.nc, self._about)
        await self._service.start()
        for endpoint in endpoints:
            await self._service.add_endpoint(
                name=endpoint.name,
                subject=endpoint.subject,
                handler=self._handler(endpoint.answer),
            )

    def _handler(self, answer: Answer) -> Callable[[Request], Awaitable[None]]:
        async def handle(request: Request) -> None:
            await self._slots.acquire()
            task = asyncio.create_task(self._reply(answer, request))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

        return handle

    async def _reply(self, answer: Answer, request: Request) -> None:
        try:
            reply = await answer(request.data)
            if request._msg.reply:  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - no other way to ask
                await request.respond(reply)
        finally:
            self._slots.release()

    async def stop(self) -> None:
        """Be gone, once what is being worked on is answered."""
        if self._service is not None and self._bus.connected:
            # NATS may be away: then nobody asks us any more either.
            with contextlib.suppress(TimeoutError, nats.errors.Error):
                async with asyncio.timeout(LEAVE_S):
                    await self._service.stop()
        if self._running:
            await asyncio.wait(tuple(self._running), timeout=LEAVE_S)
        for task in tuple(self._running):
            task.cancel()


def service_version() -> str:
    """Ours if it is a bare semantic version: micro services take no other."""
    return __version__ if re.fullmatch(r"\d+\.\d+\.\d+", __version__) else "0.0.0-dev"
