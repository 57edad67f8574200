"""Connections to the server in memory: delays, lost acknowledgements, cuts, and sudden death."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import nats.errors

from dagnats.wire.connection import Bus, ConnectOptions

from .loop import VirtualLoop
from .server import EMPTY, Server


class Msg:
    """A message as a client gets it."""

    __slots__ = ("data", "headers", "reply", "subject")

    def __init__(self, subject: str, reply: str, data: bytes, headers: dict[str, str]) -> None:
        self.subject = subject
        self.reply = reply
        self.data = data
        self.headers = headers


class Subscription:
    """What a subscriber holds."""

    def __init__(self, client: Client, sid: int) -> None:
        self._client = client
        self.sid = sid

    async def unsubscribe(self) -> None:
        self._client.drop(self.sid)

    async def drain(self) -> None:
        self._client.drop(self.sid)


Callback = Callable[[Msg], Coroutine[Any, Any, None]]
Receive = Callable[[str, str, bytes, bytes], None]


class Reply:
    """Answers one message of a client, for as long as that connection lives."""

    def __init__(self, client: Client, inbox: str, asked: str) -> None:
        self._client = client
        self._inbox = inbox
        self._asked = asked
        self._epoch = client.epoch

    @property
    def alive(self) -> bool:
        """Whether anybody listens."""
        client = self._client
        return client.is_connected and client.epoch == self._epoch and client.hears(self._inbox)

    def __call__(self, _: str, ack: str, data: bytes, headers: dict[str, str]) -> None:
        if self.alive:
            self._client.answer(self._inbox, data, headers, ack, self._asked)


class Faults:
    """How bad the network is.

    Args:
        rng: decides.
        slow: share of messages that take long.
        deaf: share of publishes whose acknowledgement is lost.
    """

    def __init__(self, rng: random.Random, slow: float = 0.02, deaf: float = 0.0) -> None:
        self.rng = rng
        self.slow = slow
        self.deaf = deaf

    def delay(self) -> float:
        """Seconds a message takes."""
        if self.rng.random() < self.slow:
            return self.rng.uniform(0.001, 0.2)
        return self.rng.uniform(0.00002, 0.0004)


class Client:
    """One connection: what ``dagnats.wire`` needs of ``nats.aio.client.Client``.

    Both directions keep their order, as TCP does. A cut loses whatever is under way.
    """

    max_payload = 1_048_576
    pending_data_size = 0
    connected_server_version = "2.15.1"

    def __init__(self, loop: VirtualLoop, server: Server, faults: Faults, name: str) -> None:
        self.loop = loop
        self.server = server
        self.faults = faults
        self.name = name
        self.is_connected = True
        self.is_closed = False
        self.fuse: int | None = None
        self.died: Callable[[], None] = lambda: None
        self.on_cut: list[Callable[[], None]] = []
        self.on_join: list[Callable[[], None]] = []
        self.epoch = 0
        self._waiting: list[tuple[str, bytes, str, dict[str, str]]] = []
        self._callbacks: dict[int, tuple[str, Callable[[Msg], None], int]] = {}
        self._local = 0
        self._inbox = 0
        self._up = self._down = 0.0

    # --- faults -------------------------------------------------------------------------------

    def kill(self) -> None:
        """The process is gone: nothing leaves or arrives any more, and nobody is told."""
        self.on_cut.clear()
        self.cut()
        self.is_closed = True
        self._callbacks.clear()

    def freeze(self, long: float) -> None:
        """What arrives and what leaves is held back for so many seconds: a stopped process."""
        until = self.loop.now + long
        self._up, self._down = max(self._up, until), max(self._down, until)

    def cut(self) -> None:
        """The connection is lost, with all that is under way."""
        if not self.is_connected:
            return
        self.is_connected = False
        self.epoch += 1
        for _, _, sid in self._callbacks.values():
            self.server.unsubscribe(sid)
        for callback in list(self.on_cut):
            callback()

    def join(self) -> None:
        """The connection is there again."""
        if self.is_connected or self.is_closed:
            return
        self.is_connected = True
        self._up = self._down = self.loop.now
        for local, (pattern, callback, _) in list(self._callbacks.items()):
            sid = self.server.subscribe(pattern, self._receiver(local))
            self._callbacks[local] = (pattern, callback, sid)
        waiting, self._waiting = self._waiting, []
        for message in waiting:
            self._send(*message)
        for callback in list(self.on_join):
            callback()

    # --- the client's interface ---------------------------------------------------------------

    def new_inbox(self) -> str:
        self._inbox += 1
        return f"_INBOX.{self.name}.{self._inbox}"

    async def publish(
        self,
        subject: str,
        data: bytes = b"",
        reply: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        if self.is_closed:
            raise nats.errors.ConnectionClosedError
        if self.is_connected:
            self._send(subject, data, reply, headers or EMPTY)
        else:
            self._waiting.append((subject, data, reply, headers or EMPTY))

    async def subscribe(self, pattern: str, cb: Callback, **_: Any) -> Subscription:
        def call(msg: Msg) -> None:
            try:
                cb(msg).send(None)
            except StopIteration:
                return
            raise AssertionError("a callback that waits would have to be a task")

        return self._subscribe(pattern, call)

    async def open_lane(self, pattern: str, receive: Receive) -> Subscription:
        def call(msg: Msg) -> None:
            receive(msg.subject, msg.reply, msg.data, _block(msg.headers))

        return self._subscribe(pattern, call)

    def close_lane(self, subscription: Subscription) -> None:
        self.drop(subscription.sid)

    def _subscribe(self, pattern: str, call: Callable[[Msg], None]) -> Subscription:
        self._local += 1
        local = self._local
        sid = self.server.subscribe(pattern, self._receiver(local)) if self.is_connected else 0
        self._callbacks[local] = (pattern, call, sid)
        return Subscription(self, local)

    def send(self, commands: bytes) -> None:
        """The protocol's bytes of many messages."""
        if self.is_closed:
            raise nats.errors.ConnectionClosedError
        for message in _messages(commands):
            if self.is_connected:
                self._send(*message)
            else:
                self._waiting.append(message)

    async def flush_lane(self) -> None:
        return

    def drop(self, local: int) -> None:
        found = self._callbacks.pop(local, None)
        if found is not None:
            self.server.unsubscribe(found[2])

    async def request(self, subject: str, data: bytes = b"", timeout: float = 5.0) -> Msg:
        answer: asyncio.Future[Msg] = self.loop.create_future()

        async def arrived(msg: Msg) -> None:
            if not answer.done():
                answer.set_result(msg)

        subscription = await self.subscribe(inbox := self.new_inbox(), arrived)
        try:
            await self.publish(subject, data, inbox)
            async with asyncio.timeout(timeout):
                msg = await answer
        except TimeoutError:
            raise nats.errors.TimeoutError from None
        finally:
            await subscription.unsubscribe()
        if msg.headers.get("Status") == "503":
            raise nats.errors.NoRespondersError
        return msg

    async def flush(self, timeout: float = 5.0) -> None:
        if not self.is_connected:
            raise nats.errors.TimeoutError
        await self.request("$PING", timeout=timeout)

    async def close(self) -> None:
        self.kill()

    # --- both directions ----------------------------------------------------------------------

    def _send(self, subject: str, data: bytes, reply: str, headers: dict[str, str]) -> None:
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse <= 0:
                self.fuse = None
                self.kill()
                self.loop.call_soon(self.died)
                return
        self._up = max(self._up, self.loop.now) + self.faults.delay()
        self.loop.call_at(self._up, self._arrive, subject, data, reply, headers, self.epoch)

    def _arrive(
        self, subject: str, data: bytes, reply: str, headers: dict[str, str], epoch: int
    ) -> None:
        if epoch != self.epoch:
            return
        answer = Reply(self, reply, subject) if reply else None
        if subject == "$PING" and answer is not None:
            answer("", "", b"", EMPTY)
        elif not self.server.publish(subject, data, headers, answer) and answer is not None:
            answer("", "", b"", {"Status": "503"})

    def hears(self, inbox: str) -> bool:
        """Whether there is a subscription for an inbox."""
        return any(_covers(pattern, inbox) for pattern, _, _ in self._callbacks.values())

    def answer(
        self, inbox: str, data: bytes, headers: dict[str, str], ack: str = "", asked: str = ""
    ) -> None:
        """Send to an inbox of this client. Published messages may lose their acknowledgement."""
        heard = asked.startswith("$") or not self.faults.deaf
        if not heard and self.faults.rng.random() < self.faults.deaf:
            return
        subject = inbox
        if "" in headers:  # A consumer's message comes under its own subject.
            headers = dict(headers)
            subject = headers.pop("")
        for local, (pattern, _, _) in list(self._callbacks.items()):
            if _covers(pattern, inbox):
                self._receive(local, subject, ack, data, headers)

    def _receiver(self, local: int) -> Callable[[str, str, bytes, dict[str, str]], None]:
        def receive(subject: str, reply: str, data: bytes, headers: dict[str, str]) -> None:
            self._receive(local, subject, reply, data, headers)

        return receive

    def _receive(
        self, local: int, subject: str, reply: str, data: bytes, headers: dict[str, str]
    ) -> None:
        if not self.is_connected:
            return
        self._down = max(self._down, self.loop.now) + self.faults.delay()
        msg = Msg(subject, reply, data, headers)
        self.loop.call_at(self._down, self._call, local, msg, self.epoch)

    def _call(self, local: int, msg: Msg, epoch: int) -> None:
        found = self._callbacks.get(local)
        if found is None or epoch != self.epoch:
            return
        found[1](msg)


def _block(headers: dict[str, str]) -> bytes:
    """The header block as it comes from a server."""
    if not headers:
        return b""
    lines = [f"{name}: {value}" for name, value in headers.items() if name != "Status"]
    status = f" {headers['Status']}" if "Status" in headers else ""
    return "\r\n".join([f"NATS/1.0{status}", *lines, "", ""]).encode()


def _covers(pattern: str, inbox: str) -> bool:
    return pattern == inbox or (pattern.endswith(".*") and inbox.startswith(pattern[:-1]))


def _messages(commands: bytes) -> Iterator[tuple[str, bytes, str, dict[str, str]]]:
    """The messages in the protocol's bytes: subject, data, reply, headers."""
    at = 0
    while at < len(commands):
        end = commands.index(b"\r\n", at)
        line = commands[at:end].decode().split()
        first, last = end + 2, end + 2 + int(line[-1])
        headers: dict[str, str] = EMPTY
        with_headers = line[0] == "HPUB"
        reply = line[2] if len(line) == 4 + with_headers else ""
        if with_headers:
            body = first + int(line[-2])
            rows = commands[first:body].decode().split("\r\n")[1:-2]
            headers = dict(row.split(": ", 1) for row in rows)
            first = body
        yield line[1], commands[first:last], reply, headers
        at = last + 2


def bus_of(client: Client) -> Bus:
    """The real bus on a connection in memory."""
    bus = Bus(client, ConnectOptions(name=client.name))  # type: ignore[arg-type]

    def cut() -> None:
        for callback in list(bus.on_disconnect):
            callback()

    def joined() -> None:
        for callback in list(bus.on_reconnect):
            callback()

    client.on_cut.append(cut)
    client.on_join.append(joined)
    return bus
