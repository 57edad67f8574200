"""What a handler can ask and do about the task it is working on."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from dagnats.errors import UsageError
from dagnats.model.codec import ABSENT, is_absent, parse_json
from dagnats.model.task import TaskPayload
from dagnats.worker.control import ControlLink, ControlPlane, SyncControlPlane, control_of
from dagnats.worker.outcome import Continue, Pause, TaskCancelled, seconds
from dagnats.worker.values import decoder, encode_output

T = TypeVar("T")

_log = logging.getLogger("dagnats.worker.task")
_log.setLevel(logging.INFO)

MAX_SIGNAL_WAIT_S = 3_600.0
"""Longest wait for a signal, in seconds (``wire.md`` 6.3)."""


class Link(ControlLink, Protocol):
    """What a context needs of the worker it runs in."""

    loop: asyncio.AbstractEventLoop

    def stream(self, run_id: str, step_id: str, data: bytes) -> None:
        """Publish a part of the step's output to whoever listens."""
        ...

    async def save_checkpoint(self, key: str, data: bytes) -> None:
        """Store a checkpoint."""
        ...

    async def load_checkpoint(self, key: str) -> bytes | None:
        """A checkpoint, or None."""
        ...

    async def take_signal(self, run_id: str, name: str, limit_s: float) -> bytes:
        """Wait for a signal and consume it; raises TimeoutError after ``limit_s`` seconds."""
        ...

    async def sleep(self, delay_s: float) -> None:
        """Wait for so many seconds."""
        ...

    async def send_signal(self, run_id: str, name: str, data: bytes) -> None:
        """Store a signal."""
        ...


class Ticket:
    """The running task behind a context: whether it is still wanted, and its pulse."""

    def __init__(self) -> None:
        self.cancelled = False
        self.asked: Continue | Pause | None = None
        self._waiting: set[concurrent.futures.Future[Any]] = set()

    def beat(self) -> None:
        """Tell the queue that work goes on."""

    def recall(self) -> None:
        """The task is no longer wanted: wake whatever the handler waits for."""
        self.cancelled = True
        for future in tuple(self._waiting):
            future.cancel()

    def wait(self, future: concurrent.futures.Future[T]) -> T:
        """The result of a call into the event loop, from the handler's thread."""
        if self.cancelled:
            future.cancel()
        self._waiting.add(future)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise TaskCancelled("the task was recalled") from None
        finally:
            self._waiting.discard(future)


class _Context:
    """What the contexts of async and plain handlers have in common."""

    def __init__(self, payload: TaskPayload, ticket: Ticket, link: Link) -> None:
        self._payload = payload
        self._ticket = ticket
        self._link = link

    @property
    def run_id(self) -> str:
        """The run this task belongs to."""
        return self._payload.run_id

    @property
    def step_id(self) -> str:
        """The step, or one item of a map step as ``{step}.map.{index}``."""
        return self._payload.step_id

    @property
    def workflow(self) -> str:
        """Name of the workflow; empty if the engine did not say."""
        return self._payload.workflow_name

    @property
    def log(self) -> logging.Logger:
        """A logger whose records ``dagnats logs`` shows with the run and step they are about.

        So does what any other logger says while the task is worked on, if its level lets it.
        """
        return _log

    @property
    def attempt(self) -> int:
        """Number of this dispatch of the step, from 1. A redelivery after a crash keeps it."""
        return self._payload.attempt or 1

    @property
    def iteration(self) -> int:
        """Iteration of a loop step, from 0."""
        return self._payload.iteration

    @property
    def metadata(self) -> dict[str, str]:
        """The step's metadata."""
        return self._payload.metadata

    @property
    def input(self) -> Any:
        """The input as plain Python values; None if there is none."""
        data = self._payload.input
        return None if is_absent(data) else parse_json(bytes(data))

    @property
    def idempotency_key(self) -> str:
        """Names this piece of work: the same in every attempt and redelivery.

        A handler may run more than once (a crash after its effect, before its result is
        recorded). Hand this key to whatever it changes outside, and the effect happens once.
        """
        of = f"{self.run_id}/{self.step_id}"
        return f"{of}/{self.iteration}" if self.iteration else of

    @property
    def cancelled(self) -> bool:
        """Whether the task is no longer wanted."""
        return self._ticket.cancelled

    def raise_if_cancelled(self) -> None:
        """Raise TaskCancelled if the task is no longer wanted.

        Raises:
            TaskCancelled: it is not.
        """
        if self._ticket.cancelled:
            raise TaskCancelled("the task was recalled")

    def continue_with(self, value: Any = ABSENT) -> Continue:
        """Ask for another iteration of a loop step: ``return ctx.continue_with(value)``."""
        self._ticket.asked = Continue(value)
        return self._ticket.asked

    def pause(self, delay: float | timedelta) -> Pause:
        """Ask for the same task again later: ``return ctx.pause(delay)``.

        Args:
            delay: seconds or a ``timedelta``, at most one hour.
        """
        self._ticket.asked = Pause(delay)
        return self._ticket.asked

    @property
    def _key(self) -> str:
        return f"{self.run_id}.{self.step_id}"


class TaskContext(_Context):
    """What an async handler can ask and do about its task."""

    def heartbeat(self) -> None:
        """Tell the queue that work goes on. The worker does so by itself while the loop turns."""
        self._ticket.beat()

    def stream(self, value: Any) -> None:
        """Send a part of the output to whoever listens on the step's stream; nothing is kept.

        Args:
            value: bytes or text as they are, anything else as JSON.

        Raises:
            TooLargeError: it exceeds the server's limit.
        """
        self._link.stream(self.run_id, self.step_id, _bytes(value))

    async def checkpoint(self, value: Any) -> None:
        """Remember ``value`` for later attempts and iterations of this step; the last one counts.

        Args:
            value: bytes as they are, anything else as JSON.
        """
        data = value if isinstance(value, bytes) else _json(value)
        await self._link.save_checkpoint(self._key, data)

    async def load_checkpoint(self, kind: Any = Any) -> Any:
        """What :meth:`checkpoint` remembered, as ``kind``; None if there is nothing.

        Args:
            kind: the type to read it as; ``bytes`` gives what is stored, unread.
        """
        data = await self._link.load_checkpoint(self._key)
        return None if data is None else _read(data, kind)

    async def wait_for_signal(
        self,
        name: str,
        timeout: float | timedelta = MAX_SIGNAL_WAIT_S,  # noqa: ASYNC109 - says what it is
        kind: Any = Any,
    ) -> Any:
        """Wait for a signal to this run, and consume it: another wait needs another signal.

        Args:
            name: the signal's name.
            timeout: seconds or a ``timedelta``, at most one hour.
            kind: the type to read its value as; ``bytes`` gives what was sent, unread.

        Raises:
            TimeoutError: none came in time.
        """
        limit = _signal_wait(timeout)
        try:
            data = await self._link.take_signal(self.run_id, name, limit)
        except TimeoutError:
            raise TimeoutError(f"signal {name!r} timed out after {limit:g} s") from None
        return _read(data, kind)

    async def send_signal(self, run_id: str, name: str, value: Any = None) -> None:
        """Send a signal to a run.

        Args:
            run_id: which run.
            name: the signal's name.
            value: bytes as they are, anything else as JSON.
        """
        data = value if isinstance(value, bytes) else _json(value)
        await self._link.send_signal(run_id, name, data)

    async def sleep(self, delay: float | timedelta) -> None:
        """Like ``asyncio.sleep``; in :mod:`dagnats.testing` it takes no time at all.

        Args:
            delay: seconds or a ``timedelta``.
        """
        await self._link.sleep(seconds(delay, "sleep"))

    @property
    def control(self) -> ControlPlane:
        """The control plane: register workflows, start runs and wait for them, see the budget.

        Raises:
            UsageError: the step does not ask for it, or its workflow is not granted it.
        """
        return control_of(self._payload, self._link)


class SyncTaskContext(_Context):
    """What a plain handler, which runs in a thread, can ask and do about its task.

    Every call that waits ends with TaskCancelled when the task is recalled.
    """

    def __init__(self, payload: TaskPayload, ticket: Ticket, link: Link) -> None:
        super().__init__(payload, ticket, link)
        self._async = TaskContext(payload, ticket, link)

    def _wait(self, call: Coroutine[Any, Any, T]) -> T:
        return self._ticket.wait(asyncio.run_coroutine_threadsafe(call, self._link.loop))

    @property
    def control(self) -> SyncControlPlane:
        """Like :attr:`TaskContext.control`."""
        return SyncControlPlane(self._async.control, self._wait)

    def heartbeat(self) -> None:
        """Tell the queue that work goes on. The worker does so by itself."""
        self._link.loop.call_soon_threadsafe(self._ticket.beat)

    def stream(self, value: Any) -> None:
        """Like :meth:`TaskContext.stream`."""

        async def send() -> None:
            self._async.stream(value)

        self._wait(send())

    def checkpoint(self, value: Any) -> None:
        """Like :meth:`TaskContext.checkpoint`."""
        self._wait(self._async.checkpoint(value))

    def load_checkpoint(self, kind: Any = Any) -> Any:
        """Like :meth:`TaskContext.load_checkpoint`."""
        return self._wait(self._async.load_checkpoint(kind))

    def wait_for_signal(
        self, name: str, timeout: float | timedelta = MAX_SIGNAL_WAIT_S, kind: Any = Any
    ) -> Any:
        """Like :meth:`TaskContext.wait_for_signal`."""
        return self._wait(self._async.wait_for_signal(name, timeout, kind))

    def send_signal(self, run_id: str, name: str, value: Any = None) -> None:
        """Like :meth:`TaskContext.send_signal`."""
        self._wait(self._async.send_signal(run_id, name, value))

    def sleep(self, delay: float | timedelta) -> None:
        """Like ``time.sleep``, but ends when the task is recalled.

        Args:
            delay: seconds or a ``timedelta``.

        Raises:
            TaskCancelled: the task was recalled meanwhile.
        """
        self._wait(self._async.sleep(delay))


def _signal_wait(timeout: float | timedelta) -> float:
    limit = seconds(timeout, "signal timeout")
    if limit > MAX_SIGNAL_WAIT_S:
        raise UsageError(
            f"signal timeout is {limit:g} s",
            f"wait for at most {MAX_SIGNAL_WAIT_S:g} s, or longer in a wait_for_event step",
        )
    return limit


def _json(value: Any) -> bytes:
    return b"null" if value is None else bytes(encode_output(value))


def _read(data: bytes, kind: Any) -> Any:
    return data if kind is bytes else decoder(kind)(data)


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else _json(value)
