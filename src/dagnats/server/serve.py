"""``dagnats serve``: one process that runs NATS, the engine and all that belongs to them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

from msgspec import Struct

from dagnats.errors import DagnatsError
from dagnats.server.compose import Server
from dagnats.server.config import Loaded
from dagnats.server.progress import Listening, Progress

DRAIN_S = 15.0
"""How long stopping may take (engine.md 19)."""

PARENT_POLL_S = 0.5
"""How often a server that dies with its parent looks for it (cli-beyond.md A20)."""

FORCED = 130
"""Exit code when a second signal cuts the drain short."""


class ServeOptions(Struct, frozen=True, kw_only=True):
    """How to run, besides the configuration.

    Args:
        fail_on_port_conflict: a taken default port is an error as well.
        die_with_parent: stop when the process that started us is gone.
        on_ready: called once everything runs.
    """

    fail_on_port_conflict: bool = False
    die_with_parent: bool = False
    on_ready: Callable[[Listening], None] | None = None


async def serve(loaded: Loaded, options: ServeOptions, progress: Progress) -> None:
    """Run a server until SIGINT or SIGTERM ends it, or a part of it fails.

    Raises:
        DagnatsError: it could not start, a part failed, or it did not stop in time.
    """
    stop = asyncio.Event()
    stack = AsyncExitStack()
    server = Server(loaded, progress, must_have_ports=options.fail_on_port_conflict)

    async def work() -> None:
        listening = await server.start(stack)
        if options.on_ready:
            options.on_ready(listening)
        await server.failure()

    with _signals(stop):
        async with _parent_watched(stop, options.die_with_parent):
            try:
                await _until(stop, work())
            finally:
                server.leave()
                await _drained(stack)
    progress.step("shutdown complete")


async def _until(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` until it ends or we are asked to stop, whichever comes first."""
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.wait({working, stopping})
    if not working.cancelled():
        working.result()


async def _drained(stack: AsyncExitStack) -> None:
    try:
        async with asyncio.timeout(DRAIN_S):
            await stack.aclose()
    except TimeoutError:
        raise DagnatsError(f"shutdown timeout after {DRAIN_S:.0f}s") from None


@contextmanager
def _signals(stop: asyncio.Event) -> Generator[None]:
    """The first SIGINT or SIGTERM asks us to stop, the second one ends us at once."""
    loop = asyncio.get_running_loop()

    def asked() -> None:
        if stop.is_set():
            os._exit(FORCED)
        stop.set()

    handled = (signal.SIGINT, signal.SIGTERM)
    for number in handled:
        loop.add_signal_handler(number, asked)
    try:
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)


@asynccontextmanager
async def _parent_watched(stop: asyncio.Event, wanted: bool) -> AsyncGenerator[None]:
    parent = os.getppid()

    async def watch() -> None:
        while os.getppid() == parent:  # noqa: ASYNC110 - nothing tells us of it portably
            await asyncio.sleep(PARENT_POLL_S)
        stop.set()

    task = asyncio.create_task(watch()) if wanted else None
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
