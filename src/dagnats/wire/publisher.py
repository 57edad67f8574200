"""JetStream publishing with one inbox for all acks (``perf.md`` B: 5 x ``js.publish``)."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
import nats.errors
from msgspec import Struct

from dagnats.errors import DagnatsError, InvalidError, TooLargeError
from dagnats.wire.lane import LaneClient

ACK_TIMEOUT = 5.0
"""Seconds without any acknowledgement; then the publisher's work has to be done anew."""

WINDOW = 4096
"""Messages that may be under way at once: a hundred thousand would take the server's memory."""

BACKLOG = 16 * 1024 * 1024
"""Bytes that may wait for the socket before a publisher waits as well."""

NO_RESPONDERS = b"NATS/1.0 503"
"""How nats-server says that nobody listens on a subject."""

_NOBODY: dict[str, object] = {"description": "no stream takes messages on it"}
_UNREADABLE: dict[str, object] = {"description": "an unreadable acknowledgement"}
_FORBIDDEN: dict[str, object] = {"description": "this login may not publish there"}
_DISCONNECTED: dict[str, object] = {"description": "the connection was lost"}
_SUBJECT = re.compile(r"[^\s\x00]+")


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

    nc: LaneClient
    on_disconnect: list[Callable[[], None]]

    @property
    def max_payload(self) -> int:
        """The largest message the server takes, in bytes."""
        ...


class _Batch:
    """Messages on their way, and the answers so far."""

    __slots__ = ("acks", "done", "left", "messages")

    def __init__(self, messages: Sequence[Outgoing]) -> None:
        self.messages = messages
        self.acks: list[Ack | None] = [None] * len(messages)
        self.left = len(messages)
        self.done = asyncio.get_running_loop().create_future()

    def answer(self, place: int, ack: Ack) -> None:
        self.acks[place] = ack
        self.left -= 1
        if not self.left and not self.done.done():
            self.done.set_result(None)


class Publisher:
    """Publishes and waits for acknowledgements.

    Args:
        bus: the connection.
    """

    def __init__(self, bus: Connection) -> None:
        self._bus = bus
        self._prefix = bus.nc.new_inbox() + "."
        self._waiting: dict[str, tuple[_Batch, int]] = {}
        self._counter = 0
        self._ready = False
        self.silent: dict[str, float] = {}
        """First subject tokens on which the last publish was never answered, and when
        (monotonic seconds). A stream that hit a full disk answers nothing (``reliability.md`` 3.3).
        """

    async def start(self) -> None:
        """Subscribe to the inbox."""
        await self._bus.nc.open_lane(f"{self._prefix}*", self._on_ack)
        self._bus.on_disconnect.append(self._fail_all)
        self._ready = True

    def _on_ack(self, subject: str, reply: str, data: bytes, headers: bytes) -> None:
        del reply
        waiting = self._waiting.pop(subject, None)
        if waiting is None:
            return
        batch, place = waiting
        try:
            ack = _acks.decode(data)
        except msgspec.MsgspecError:
            ack = Ack(error=_NOBODY if headers.startswith(NO_RESPONDERS) else _UNREADABLE)
        batch.answer(place, ack)

    def _fail_all(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for batch, place in waiting.values():
            batch.answer(place, Ack(error=_DISCONNECTED))

    def refuse(self, subject: str) -> None:
        """The login may not publish on this subject (in lower case, as nats-py tells it)."""
        for reply, (batch, place) in list(self._waiting.items()):
            if batch.messages[place].subject.lower() == subject:
                del self._waiting[reply]
                batch.answer(place, Ack(error=_FORBIDDEN))

    async def publish(self, message: Outgoing) -> Ack:
        """Publish one message. See :meth:`publish_all`."""
        return (await self.publish_all([message]))[0]

    async def publish_all(self, messages: Sequence[Outgoing]) -> list[Ack]:
        """Publish messages in order and wait for all acknowledgements.

        Raises:
            TooLargeError: a message exceeds the server's limit; nothing behind it was published.
            PublishError: one was refused or not acknowledged in time; others may be stored.
        """
        if not self._ready:
            await self.start()
        acks: list[Ack] = []
        for place in range(0, len(messages), WINDOW):
            acks += await self._publish(messages[place : place + WINDOW])
        return acks

    async def _publish(self, messages: Sequence[Outgoing]) -> list[Ack]:
        batch = _Batch(messages)
        await self._send(batch)
        await self._answered(batch)
        if batch.left or self.silent:
            self._note_silence(batch)
        return _checked(batch)

    async def _answered(self, batch: _Batch) -> None:
        """Wait for all answers, as long as some come: a disk may be slow, and the batch large."""
        try:
            while batch.left:
                before = batch.left
                await asyncio.wait({batch.done}, timeout=ACK_TIMEOUT)
                if batch.left == before:
                    return
        finally:
            if batch.left:
                self._forget(batch)

    async def _send(self, batch: _Batch) -> None:
        first = self._counter
        commands = self._encoded(batch.messages)
        for place in range(len(batch.messages)):
            self._waiting[f"{self._prefix}{first + place + 1}"] = batch, place
        try:
            self._bus.nc.send(commands)
        except nats.errors.Error as error:
            self._forget(batch)
            raise PublishError(f"cannot publish: {error}") from None
        if self._bus.nc.pending_data_size > BACKLOG:
            await self._bus.nc.flush_lane()

    def _encoded(self, messages: Sequence[Outgoing]) -> bytes:
        limit, parts = self._bus.max_payload, list[bytes]()
        for message in messages:
            self._counter += 1
            parts += command(message, f"{self._prefix}{self._counter}", limit)
        return b"".join(parts)

    def _forget(self, batch: _Batch) -> None:
        gone = [reply for reply, (other, _) in self._waiting.items() if other is batch]
        for reply in gone:
            del self._waiting[reply]

    def _note_silence(self, batch: _Batch) -> None:
        for message, ack in zip(batch.messages, batch.acks, strict=True):
            place = message.subject.partition(".")[0]
            if ack is None:
                self.silent[place] = time.monotonic()
            else:
                self.silent.pop(place, None)


def _checked(batch: _Batch) -> list[Ack]:
    acks: list[Ack] = []
    for message, ack in zip(batch.messages, batch.acks, strict=True):
        if ack is None:
            count = len(batch.messages)
            raise PublishError(f"{batch.left} of {count} messages were not acknowledged")
        if ack.error is not None:
            text = f"{message.subject}: {ack.error.get('description', 'refused')}"
            if ack.error is _NOBODY:
                raise NoStreamError(text, "run 'dagnats serve': it makes the streams")
            raise PublishError(text)
        acks.append(ack)
    return acks


def command(message: Outgoing, reply: str, limit: int) -> tuple[bytes, ...]:
    """The protocol's bytes of one message.

    Args:
        message: what to send.
        reply: where the answer goes.
        limit: the server's ``max_payload`` in bytes; headers count too.

    Raises:
        TooLargeError: it exceeds the limit.
        InvalidError: the subject or a header would break the protocol.
    """
    data, headers = message.data, b""
    if message.msg_id or message.headers:
        headers = _headers(message)
    size = len(headers) + len(data)
    if size > limit:
        raise TooLargeError(
            f"message of {size} bytes on {message.subject} exceeds the server's limit of "
            f"{limit} bytes",
            "make it smaller, or raise max_payload of the server",
        )
    if not _SUBJECT.fullmatch(message.subject):
        raise InvalidError(f'cannot publish on "{message.subject}": white space in the subject')
    if headers:
        line = f"HPUB {message.subject} {reply} {len(headers)} {size}\r\n"
        return line.encode(), headers, data, b"\r\n"
    return f"PUB {message.subject} {reply} {size}\r\n".encode(), data, b"\r\n"


def _headers(message: Outgoing) -> bytes:
    text = f"Nats-Msg-Id: {message.msg_id}\r\n" if message.msg_id else ""
    if message.headers:
        text += "".join(f"{name}: {value}\r\n" for name, value in message.headers.items())
    lines = 1 + len(message.headers) - (not message.msg_id)
    if text.count("\n") != lines or text.count("\r") != lines:
        raise InvalidError(f"a line break in a header of a message on {message.subject}")
    return f"NATS/1.0\r\n{text}\r\n".encode()
