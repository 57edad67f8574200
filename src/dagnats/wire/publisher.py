"""JetStream publishing with one inbox for all acks (``perf.md`` B: 5 x ``js.publish``)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from msgspec import Struct
from nats.aio.client import Client
from nats.aio.msg import Msg

from dagnats.errors import DagnatsError, TooLargeError

ACK_TIMEOUT = 5.0
"""Seconds to wait for acknowledgements; then the publisher's work has to be done anew."""

NO_RESPONDERS = "503"
"""The status with which nats-server says that nobody listens on a subject."""


class PublishError(DagnatsError):
    """A message was refused, or its acknowledgement did not come."""

    code = "publish"


class NoStreamError(PublishError):
    """No stream or bucket takes messages on that subject."""


class Outgoing(Struct, frozen=True):
    """A message for a stream. ``msg_id`` makes a repeat harmless."""

    subject: str
    data: bytes
    msg_id: str = ""
    headers: dict[str, str] = {}


class Ack(Struct):
    """What the stream answered."""

    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: dict[str, object] | None = None


_acks = msgspec.json.Decoder(Ack)


class Connection(Protocol):
    """What a publisher needs of a connection."""

    nc: Client
    on_disconnect: list[Callable[[], None]]

    @property
    def max_payload(self) -> int:
        """The largest message the server takes, in bytes."""
        ...


class Publisher:
    """Publishes and waits for acknowledgements.

    Args:
        bus: the connection.
    """

    def __init__(self, bus: Connection) -> None:
        self._bus = bus
        self._prefix = bus.nc.new_inbox()
        self._waiting: dict[str, asyncio.Future[Ack]] = {}
        self._counter = 0
        self._ready = False
        self.silent: dict[str, float] = {}
        """First subject tokens on which the last publish was never answered, and since when
        (monotonic seconds). A stream that hit a full disk answers nothing (``reliability.md`` 3.3).
        """

    async def start(self) -> None:
        """Subscribe to the inbox."""
        await self._bus.nc.subscribe(f"{self._prefix}.*", cb=self._on_ack)
        self._bus.on_disconnect.append(self._fail_all)
        self._ready = True

    async def _on_ack(self, msg: Msg) -> None:
        waiting = self._waiting.pop(msg.subject, None)
        if waiting is None or waiting.done():
            return
        try:
            waiting.set_result(_acks.decode(msg.data))
        except msgspec.MsgspecError:
            status = (msg.headers or {}).get("Status", "")
            kind = NoStreamError if status == NO_RESPONDERS else PublishError
            waiting.set_exception(kind(f"no stream took the message (status {status})"))

    def _fail_all(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(PublishError("the connection was lost"))

    async def publish(self, message: Outgoing) -> Ack:
        """Publish one message. See :meth:`publish_all`."""
        return (await self.publish_all([message]))[0]

    async def publish_all(self, messages: Sequence[Outgoing]) -> list[Ack]:
        """Publish messages in order and wait for all acknowledgements.

        Raises:
            TooLargeError: a message exceeds the server's limit; nothing was published.
            PublishError: one was refused or not acknowledged in time; others may be stored.
        """
        limit = self._bus.max_payload
        for message in messages:
            size = _size(message)
            if size > limit:
                raise TooLargeError(
                    f"message of {size} bytes on {message.subject} exceeds the "
                    f"server's limit of {limit} bytes",
                    "make it smaller, or raise max_payload of the server",
                )
        if not self._ready:
            await self.start()
        futures = [await self._send(message) for message in messages]
        if not futures:
            return []
        _, late = await asyncio.wait(futures, timeout=ACK_TIMEOUT)
        if late or self.silent:
            self._note_silence(messages, futures)
        if late:
            raise PublishError(f"{len(late)} of {len(messages)} messages were not acknowledged")
        # Every outcome is looked at before any is raised: one nobody asked for is a warning.
        failures = [error for future in futures if (error := future.exception()) is not None]
        if failures:
            raise failures[0]
        acks = [future.result() for future in futures]
        for message, ack in zip(messages, acks, strict=True):
            self._check(message, ack)
        return acks

    def _note_silence(
        self, messages: Sequence[Outgoing], futures: Sequence[asyncio.Future[Ack]]
    ) -> None:
        for message, future in zip(messages, futures, strict=True):
            if not future.done():
                self.silent.setdefault(message.subject.partition(".")[0], time.monotonic())
            else:
                self.silent.pop(message.subject.partition(".")[0], None)

    async def _send(self, message: Outgoing) -> asyncio.Future[Ack]:
        self._counter += 1
        reply = f"{self._prefix}.{self._counter}"
        future: asyncio.Future[Ack] = asyncio.get_running_loop().create_future()
        self._waiting[reply] = future
        headers = message.headers
        if message.msg_id:
            headers = {"Nats-Msg-Id": message.msg_id, **headers}
        await self._bus.nc.publish(message.subject, message.data, reply, headers or None)
        return future

    @staticmethod
    def _check(message: Outgoing, ack: Ack) -> None:
        if ack.error is not None:
            reason = ack.error.get("description", "refused")
            raise PublishError(f"{message.subject}: {reason}")


def _size(message: Outgoing) -> int:
    """Bytes that count towards ``max_payload``: the data and, where there are any, the headers."""
    if not (message.headers or message.msg_id):
        return len(message.data)
    fields = sum(len(name) + len(value) + 4 for name, value in message.headers.items())
    return len(message.data) + 12 + fields + len(message.msg_id) + 15
