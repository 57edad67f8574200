"""A pull consumer read in batches, without a task or a future per message (``perf.md`` B)."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec
import nats.errors

from dagnats.wire.connection import Bus

EXPIRY = 3.0
"""Seconds a pull request lives. A server's restart forgets it, so this bounds the gap."""


class Delivery:
    """One message of a pull consumer."""

    __slots__ = (
        "_bus",
        "consumer_seq",
        "data",
        "delivered",
        "headers",
        "reply",
        "stream_seq",
        "subject",
        "timestamp_ns",
    )

    def __init__(
        self, bus: Bus, subject: str, reply: str, data: bytes, headers: bytes = b""
    ) -> None:
        self._bus = bus
        self.subject = subject
        self.reply = reply
        self.data = data
        self.headers = headers
        # $JS.ACK.<stream>.<consumer>.<delivered>.<seq>.<consumer seq>.<time>.<pending>; newer
        # servers put domain and account before the stream, and a token at the end.
        parts = reply.split(".")
        first = 4 if len(parts) < 11 else 6
        self.delivered = int(parts[first])
        self.stream_seq = int(parts[first + 1])
        self.consumer_seq = int(parts[first + 2])
        self.timestamp_ns = int(parts[first + 3])

    @property
    def consumer(self) -> str:
        """The consumer it came from."""
        parts = self.reply.split(".")
        return parts[3 if len(parts) < 11 else 5]

    def header(self, name: str) -> str:
        """The value of a header, empty when it is not there; looked for only when asked."""
        for line in self.headers.split(b"\r\n"):
            key, colon, value = line.partition(b":")
            if colon and key == name.encode():
                return value.strip().decode(errors="replace")
        return ""

    def ack(self) -> None:
        """Done; with an ack-all consumer, everything before as well."""
        self._bus.publish_soon(self.reply, b"+ACK")

    def nak(self, delay_ns: int = 0) -> None:
        """Deliver again after ``delay_ns``."""
        body = b"-NAK" if delay_ns <= 0 else b'-NAK {"delay":%d}' % delay_ns
        self._bus.publish_soon(self.reply, body)

    def in_progress(self) -> None:
        """Still at work: the ack wait starts again."""
        self._bus.publish_soon(self.reply, b"+WPI")


class Puller:
    """Keeps pull requests outstanding and hands over what has arrived.

    Args:
        bus: the connection.
        stream: the stream's name.
        consumer: the consumer's name.
        batch: how many messages may be under way to us, or with us and not released.
        manual: the taker calls :meth:`release` when a message no longer counts against ``batch``;
            otherwise taking it is enough.
    """

    def __init__(
        self, bus: Bus, stream: str, consumer: str, *, batch: int = 500, manual: bool = False
    ) -> None:
        self._bus = bus
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._inbox = bus.nc.new_inbox()
        self._batch = batch
        self._manual = manual
        self._held = 0
        self._asked = 0
        self._round = 0
        self._arrived: list[Delivery] = []
        self._arrival = asyncio.Event()
        self._refill = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Subscribe and begin to pull."""
        self._subscription = await self._bus.nc.open_lane(f"{self._inbox}.*", self._on_message)
        self._bus.on_reconnect.append(self._forget)
        self._task = asyncio.create_task(self._pull(), name=f"pull {self._next}")

    async def stop(self) -> None:
        """Stop pulling. What has arrived can still be taken; the rest is delivered to others."""
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._bus.on_reconnect.remove(self._forget)
        if self._bus.nc.is_connected:
            # Not unsubscribe(): what is under way would be lost until its ack wait ends.
            with contextlib.suppress(nats.errors.Error, TimeoutError):
                await self._subscription.drain()
        self._bus.nc.close_lane(self._subscription)
        self._task = None

    async def take(self) -> list[Delivery]:
        """Everything that has arrived; waits until there is something."""
        while not self._arrived:
            self._arrival.clear()
            await self._arrival.wait()
        return self.take_now()

    def take_now(self) -> list[Delivery]:
        """Everything that has arrived, which may be nothing."""
        taken, self._arrived = self._arrived, []
        if not self._manual:
            self.release(len(taken))
        return taken

    def release(self, count: int = 1) -> None:
        """``count`` messages no longer count against the batch."""
        self._held -= count
        self._refill.set()

    def _on_message(self, subject: str, reply: str, data: bytes, headers: bytes) -> None:
        if reply:
            self._asked = max(0, self._asked - 1)
            self._held += 1
            self._arrived.append(Delivery(self._bus, subject, reply, data, headers))
            self._arrival.set()
        elif subject == f"{self._inbox}.{self._round}":
            # The newest request has ended: expired, or refused for want of its consumer.
            self._asked = 0
        if self._asked <= self._batch // 2:
            self._refill.set()

    def _forget(self) -> None:
        self._asked = 0
        self._refill.set()

    async def _pull(self) -> None:
        while True:
            room = self._batch - self._held - self._asked
            if room > 0 and self._asked <= self._batch // 2:
                await self._ask(room)
            self._refill.clear()
            try:
                async with asyncio.timeout(EXPIRY + 0.5):
                    await self._refill.wait()
            except TimeoutError:
                self._asked = 0  # The request was lost with its server.
            if self._asked == 0:
                await asyncio.sleep(0.005)  # A refused request must not be repeated in a frenzy.

    async def _ask(self, count: int) -> None:
        self._round += 1
        self._asked += count
        body = {"batch": count, "expires": int(EXPIRY * 1e9)}
        await self._bus.nc.publish(
            self._next, msgspec.json.encode(body), f"{self._inbox}.{self._round}"
        )
