"""A fast lane through nats-py, for the few subscriptions and publishes that every step pays for.

nats-py spends some 25 us on a message: two regular expressions, a parsed header dictionary, a
queue, a task's wake-up. A lane hands the bytes of a message straight to a callback, and sends many
messages as one write; connection, login, reconnect and everything else stay the library's.
``benchmarks/lane.py`` compares the two. This uses what the library does not promise to keep, so the
dependency is pinned to its minor version, and ``tests/wire/test_lane.py`` holds both to each other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.protocol import parser

log = logging.getLogger("dagnats.wire")

T = TypeVar("T")

FLUSH_TIMEOUT_S = 10

Receive = Callable[[str, str, bytes, bytes], None]
"""Takes subject, reply subject, data and the header block (empty: none); must not block."""


class LaneClient(Client):
    """A client with lanes."""

    def __init__(self) -> None:
        super().__init__()
        self._lanes: dict[int, Receive] = {}
        self._ps = _LaneParser(self._process_msg, self)

    async def open_lane(self, subject: str, receive: Receive) -> Subscription:
        """Subscribe; whatever arrives goes to ``receive`` at once."""
        subscription = await self.subscribe(
            subject, cb=_never, pending_msgs_limit=-1, pending_bytes_limit=-1
        )
        self._lanes[_sid(subscription)] = receive
        return subscription

    def close_lane(self, subscription: Subscription) -> None:
        """Forget the callback of a subscription that has ended."""
        self._lanes.pop(_sid(subscription), None)

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        receive = self._lanes.get(sid)
        if receive is None:
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        try:
            receive(subject.decode(), reply.decode(), data, headers or b"")
        except Exception:
            # One message nobody can take must not end the connection for all others.
            log.exception("a message on %s was dropped", subject.decode(errors="replace"))

    async def request(self, *args: Any, **options: Any) -> Msg:
        """As the library's, but a cancellation that comes with the answer is not lost."""
        return await _heeded(super().request(*args, **options))

    async def flush(self, timeout: int = FLUSH_TIMEOUT_S) -> None:  # noqa: ASYNC109
        """As the library's, but a cancellation that comes with the answer is not lost."""
        await _heeded(super().flush(timeout))

    async def _process_pong(self) -> None:
        # A flush that was cancelled still gets its PONG, and nats-py's read loop dies of it.
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    def send(self, commands: bytes) -> None:
        """Send encoded commands; while reconnecting they are kept, as far as there is room.

        Raises:
            nats.errors.ConnectionClosedError: the connection is closed for good.
            nats.errors.OutboundBufferLimitError: too much is waiting for the connection.
        """
        if self.is_closed:
            raise nats.errors.ConnectionClosedError
        size = self._pending_data_size + len(commands)
        if size > self._max_pending_size and not self.is_connected:
            raise nats.errors.OutboundBufferLimitError
        self._pending.append(commands)
        self._pending_data_size = size
        if self._flush_queue is not None and self._flush_queue.empty() and self.is_connected:
            self._flush_queue.put_nowait(asyncio.get_running_loop().create_future())

    async def flush_lane(self) -> None:
        """Wait until what was sent has gone to the socket."""
        await self._flush_pending(force_flush=True)


async def _heeded(work: Awaitable[T]) -> T:
    """Before Python 3.12, ``wait_for`` swallows a cancellation that arrives with the result."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    result = await work
    if task and task.cancelling() > before:
        raise asyncio.CancelledError
    return result


def _sid(subscription: Subscription) -> int:
    return subscription._id  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


async def _never(message: Msg) -> None:
    """Messages of a lane never get as far as this."""
    del message


class _LaneParser(parser.Parser):
    """Takes complete messages apart itself and leaves everything else to the library."""

    def __init__(self, deliver: Callable[..., Awaitable[None]], nc: Client) -> None:
        super().__init__(nc)
        self._deliver = deliver

    async def parse(self, data: bytes = b"") -> None:
        """Deliver what has arrived; the rest of a message waits here for its end."""
        if self.state == parser.AWAITING_CONTROL_LINE:
            buf = self.buf
            buf += data
            done = await self._messages(buf)
            if buf is not self.buf:
                return  # Disconnected meanwhile.
            del buf[:done]
            if _is_message(buf) or not buf:
                return
            data = b""
        await super().parse(data)

    async def _messages(self, buf: bytearray) -> int:
        """Deliver the complete messages at the start of the buffer.

        Returns:
            The bytes they took.
        """
        done = 0
        while _is_message(buf, done):
            end = buf.find(b"\r\n", done)
            if end < 0:
                break
            line = bytes(buf[done:end]).split()
            first = end + 2
            last = first + int(line[-1])
            if len(buf) < last + 2:
                break
            with_headers = line[0] == b"HMSG"
            body = first + int(line[-2]) if with_headers else first
            # MSG subject sid [reply] size; HMSG subject sid [reply] header-size size
            reply = line[3] if len(line) == 5 + with_headers else b""
            await self._deliver(
                int(line[2]), line[1], reply, bytes(buf[body:last]), bytes(buf[first:body])
            )
            done = last + 2
        return done


def _is_message(buf: bytearray, at: int = 0) -> bool:
    return buf.startswith((b"MSG ", b"HMSG "), at)
