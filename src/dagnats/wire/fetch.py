"""One pull from several consumers at once, for callers that come and go."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import msgspec
import nats.errors
from msgspec import Struct
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from dagnats.wire.connection import Bus
from dagnats.wire.puller import Delivery

ROUND_S = 1.0
"""How long a pull request waits, in seconds: what comes after its caller has left, goes back."""

ANSWER_S = 2.0
"""How long the server may take to say that it has nothing, in seconds."""

PAUSE_S = 0.05
"""Pause before requests are repeated that were refused."""

GONE = "503"
"""The status of a request to a consumer that does not exist."""


class Fetched(Struct, frozen=True):
    """What came.

    Args:
        deliveries: the messages, each with the consumer it is from.
        gone: consumers that do not exist any more.
    """

    deliveries: list[tuple[str, Delivery]]
    gone: set[str]


class Fetch:
    """One call's share of the queues.

    Args:
        bus: the connection.
        stream: where the consumers are.
        consumers: their names, in the order in which they are asked.
        most: how many messages at most.
    """

    _lingering: ClassVar[set[asyncio.Task[None]]] = set()

    def __init__(self, bus: Bus, stream: str, consumers: Sequence[str], most: int) -> None:
        self._bus = bus
        self._prefix = f"$JS.API.CONSUMER.MSG.NEXT.{stream}."
        self._consumers = consumers
        self._most = most
        self._inbox = bus.nc.new_inbox()
        self._asked: dict[str, int] = {}
        self._got: list[tuple[str, Delivery]] = []
        self._gone: set[str] = set()
        self._change = asyncio.Event()
        self._closed = False

    async def take(self, wait_s: float) -> Fetched:
        """Messages that are there, else the first that come within ``wait_s`` seconds.

        Cancelling it hands back what has come.
        """
        subscription = await self._bus.nc.subscribe(f"{self._inbox}.*", cb=self._on_message)
        taken: list[tuple[str, Delivery]] = []
        try:
            await self._what_is_there()
            if not self._got and wait_s > 0:
                await self._what_comes(wait_s)
            taken, self._got = self._got[: self._most], self._got[self._most :]
        finally:
            self._closed = True
            for _, delivery in self._got:
                delivery.nak()
            task = asyncio.create_task(self._linger(subscription), name="fetch")
            self._lingering.add(task)
            task.add_done_callback(self._lingering.discard)
        return Fetched(taken, self._gone)

    async def _linger(self, subscription: Subscription) -> None:
        """Hand back what is still under way to us: it would be lost until its ack wait ends."""
        if self._asked:
            await asyncio.sleep(ROUND_S + 0.5)
        with contextlib.suppress(nats.errors.Error):
            await subscription.unsubscribe()

    async def _what_is_there(self) -> None:
        for index, consumer in enumerate(self._consumers):
            room = self._most - len(self._got)
            if room <= 0:
                return
            await self._ask(index, {"batch": room, "no_wait": True}, room)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ANSWER_S):
                    await self._until(lambda consumer=consumer: consumer not in self._asked)

    async def _what_comes(self, wait_s: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        while not self._got and (left := deadline - loop.time()) > 0:
            began, expires = loop.time(), max(0.01, min(ROUND_S, left))
            body = {"batch": self._most, "expires": int(expires * 1e9)}
            for index in range(len(self._consumers)):
                await self._ask(index, body, self._most)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(expires + 0.5):
                    await self._until(lambda: bool(self._got) or not self._asked)
            if not self._got and loop.time() - began < PAUSE_S:
                await asyncio.sleep(PAUSE_S)

    async def _ask(self, index: int, body: Mapping[str, object], batch: int) -> None:
        consumer = self._consumers[index]
        self._asked[consumer] = batch
        data = msgspec.json.encode(body)
        await self._bus.nc.publish(self._prefix + consumer, data, f"{self._inbox}.{index}")

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._change.clear()
            await self._change.wait()

    async def _on_message(self, msg: Msg) -> None:
        if msg.reply:
            self._take(Delivery(self._bus, msg.subject, msg.reply, msg.data))
        else:
            self._ended(msg)
        self._change.set()

    def _take(self, delivery: Delivery) -> None:
        consumer = delivery.consumer
        left = self._asked.pop(consumer, 1) - 1
        if left > 0:
            self._asked[consumer] = left
        if self._closed:
            delivery.nak()
        else:
            self._got.append((consumer, delivery))

    def _ended(self, msg: Msg) -> None:
        """A request has expired, found nothing, or was refused."""
        consumer = self._consumers[int(msg.subject.rpartition(".")[2])]
        self._asked.pop(consumer, None)
        if (msg.headers or {}).get("Status") == GONE:
            self._gone.add(consumer)
