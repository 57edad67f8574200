"""An event loop on virtual time: nothing is waited for, and the same seed gives the same run."""

from __future__ import annotations

import asyncio
import random
import secrets as real_secrets
import sys
import time as real_time
from asyncio import base_events
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import nats.errors

T = TypeVar("T")

BEGIN_S = 1_000_000.0
"""Where the clock stands first, in seconds since 1970."""

ROOMS = ("dagnats.runtime", "dagnats.wire", "dagnats.engine")


class StalledError(Exception):
    """Everything waits and nothing will ever happen."""


class _Jump:
    """Stands for the selector: instead of waiting, it moves the clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise StalledError
        self._loop.now += timeout
        return []


class VirtualLoop(base_events.BaseEventLoop):
    """Runs callbacks in order of their time; the time between them does not exist."""

    def __init__(self) -> None:
        super().__init__()
        self.now = BEGIN_S
        self._clock_resolution = 1e-9
        self._selector = _Jump(self)
        self.set_exception_handler(self._failed)
        self.failures: list[str] = []

    def _failed(self, _: Any, context: dict[str, Any]) -> None:
        error = context.get("exception")
        # A killed process has nobody left to hear of it.
        if not isinstance(error, nats.errors.ConnectionClosedError):
            self.failures.append(f"{context.get('message')}: {error!r}")

    def time(self) -> float:
        return self.now

    def time_ns(self) -> int:
        return round(self.now * 1e9)

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


class _Time:
    """What the rooms see as the module ``time``."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.time_ns = loop.time_ns
        self.monotonic = loop.time
        self.time = loop.time
        self.perf_counter = loop.time
        self.monotonic_ns = loop.time_ns


class _Secrets:
    """What the rooms see as the module ``secrets``."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.token_bytes = self._random.randbytes

    def token_hex(self, size: int = 32) -> str:
        return self._random.randbytes(size).hex()


@contextmanager
def virtual(seed: int) -> Iterator[VirtualLoop]:
    """A loop, and its clock and a seeded source of secrets in every room of the engine."""
    loop = VirtualLoop()
    stand_ins = {"time": (real_time, _Time(loop)), "secrets": (real_secrets, _Secrets(seed))}
    replaced = [
        (module, name, real)
        for path, module in list(sys.modules.items())
        if path.startswith(ROOMS)
        for name, (real, _) in stand_ins.items()
        if getattr(module, name, None) is real
    ]
    for module, name, _ in replaced:
        setattr(module, name, stand_ins[name][1])
    asyncio.set_event_loop(loop)
    try:
        yield loop
    finally:
        for module, name, real in replaced:
            setattr(module, name, real)
        asyncio.set_event_loop(None)
        loop.close()


def play(loop: VirtualLoop, coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, then end what it left behind."""
    try:
        return loop.run_until_complete(coroutine)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
