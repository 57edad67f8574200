"""The fast lane delivers and sends what the library would, and survives more."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.msg import Msg
from nats.protocol.parser import Parser

from dagnats.errors import InvalidError, TooLargeError
from dagnats.wire.lane import LaneClient
from dagnats.wire.publisher import Outgoing, command
from dagnats.wire.stores import Stores
from tests.conftest import eventually

HEADERS = {"A": "1", "Nats-Msg-Id": "x.y"}

COMMANDS = [
    b"MSG a.b 1 3\r\nabc\r\n",
    b"MSG a.b 2 re.ply 0\r\n\r\n",
    b"HMSG c 1 12 14\r\nNATS/1.0\r\n\r\nxy\r\n",
    b"HMSG c 3 re 20 27\r\nNATS/1.0\r\nkey: v\r\n\r\n\r\n\r\nMSG\r\n",
    b"MSG q 1 12\r\nMSG a 1 1\r\n.\r\n",
    b"PING\r\n",
    b"+OK\r\n",
]


class Heard:
    """Stands where the parser expects its client, and writes down what it is told."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        self.heard.append((sid, subject, reply, data, headers or b""))

    async def _process_ping(self) -> None:
        self.heard.append("ping")


@given(st.lists(st.sampled_from(COMMANDS), max_size=12), st.integers(1, 40))
def test_whatever_the_pieces_both_parsers_hear_the_same(commands: list[bytes], size: int) -> None:
    stream = b"".join(commands)
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]

    async def heard(fast: bool) -> list[object]:
        client = Heard()
        parser = LaneClient()._ps if fast else Parser()
        parser.nc = client
        if fast:
            parser._deliver = client._process_msg
        for piece in pieces:
            await parser.parse(piece)
        return client.heard

    assert asyncio.run(heard(True)) == asyncio.run(heard(False))


async def test_both_ways_of_sending_arrive_alike(stores: Stores) -> None:
    client, arrived = stores.bus.nc, list[Msg]()

    async def keep(msg: Msg) -> None:
        arrived.append(msg)

    await client.subscribe("x.>", cb=keep)
    headers = {"A": "1"}
    await client.publish("x.1", b"one", "re", {"Nats-Msg-Id": "i", **headers})
    client.send(b"".join(command(Outgoing("x.1", b"one", "i", headers), "re", 1000)))
    client.send(b"".join(command(Outgoing("x.1", b""), "re", 1000)))

    async def all_there() -> bool:
        return len(arrived) == 3

    await eventually(all_there)
    seen = [(msg.subject, msg.reply, msg.data, msg.headers) for msg in arrived]
    assert seen[0] == seen[1]
    assert seen[2] == ("x.1", "re", b"", None)


async def test_a_callback_that_fails_ends_nothing(stores: Stores) -> None:
    heard: list[bytes] = []

    def receive(subject: str, reply: str, data: bytes, headers: bytes) -> None:
        del subject, reply, headers
        if data == b"bad":
            raise ValueError(data)
        heard.append(data)

    await stores.bus.nc.open_lane("x", receive)
    for body in (b"bad", b"good"):
        await stores.bus.publish("x", body)

    async def arrived() -> bool:
        return heard == [b"good"]

    await eventually(arrived)


async def test_a_flush_that_was_given_up_does_not_end_the_connection(stores: Stores) -> None:
    for _ in range(20):
        flush = asyncio.create_task(stores.bus.nc.flush())
        await asyncio.sleep(0)
        flush.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await flush
    await stores.bus.nc.flush()
    assert (await stores.bus.api("INFO"))["streams"] > 0


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (Outgoing("a b", b""), InvalidError),
        (Outgoing("a\r\nPUB b 0\r\n", b""), InvalidError),
        (Outgoing("", b""), InvalidError),
        (Outgoing("a", b"", "id\r\nX: y"), InvalidError),
        (Outgoing("a", b"", "", {"X": "y\nZ: z"}), InvalidError),
        (Outgoing("a", b"", "", {"X\r\nY": "z"}), InvalidError),
        (Outgoing("a", b"x" * 101), TooLargeError),
        (Outgoing("a", b"x" * 80, "an id that counts as well"), TooLargeError),
    ],
)
def test_nothing_that_breaks_the_protocol_is_sent(message: Outgoing, error: type) -> None:
    with pytest.raises(error):
        command(message, "re", 100)
