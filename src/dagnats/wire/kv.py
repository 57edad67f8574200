"""Buckets: typed key-value storage on a JetStream stream."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar, cast

import nats.errors
from msgspec import Struct
from nats.aio.msg import Msg

from dagnats.errors import ConflictError, InvalidError, UnreachableError
from dagnats.model.codec import decode, encode
from dagnats.model.times import read_time
from dagnats.wire.connection import Bus
from dagnats.wire.direct import Stored, fetch, walk
from dagnats.wire.errors import MissingError
from dagnats.wire.publisher import Outgoing, Publisher, PublishError
from dagnats.wire.subjects import is_key

T = TypeVar("T")
_PAGE = 500
_EXPECTED = "Nats-Expected-Last-Subject-Sequence"
_NEWEST = 128
_WIDEST = 4096
"""Sequences looked at together by :meth:`Bucket.newest`, at first and at most."""
_MARGIN, _SPARE = 1.25, 16
"""How many entries are asked for beyond those expected in a range."""
_WATCHED = 10_000
"""Changes that may wait for a watcher."""

Keys = Callable[[], Awaitable[set[str]]]


class Entry(Struct, Generic[T], frozen=True):
    """A value with its key, the sequence it was written at, and when (ns since 1970)."""

    key: str
    value: T
    revision: int
    timestamp_ns: int = 0


class Deleted(Struct, frozen=True):
    """A key that is gone."""

    key: str


class Bucket(Generic[T]):
    """One bucket.

    Args:
        bus: the connection.
        publisher: where writes go.
        name: the bucket's name.
        kind: a struct (JSON), ``bytes`` or ``str``.

    Attributes:
        unreadable: entries met so far whose value could not be decoded; listings leave them out.
    """

    def __init__(self, bus: Bus, publisher: Publisher, name: str, kind: type[T]) -> None:
        self._bus = bus
        self._publisher = publisher
        self.name = name
        self._stream = f"KV_{name}"
        self._prefix = f"$KV.{name}."
        self._decode: Callable[[bytes], T] = _decoder(kind)
        self.unreadable = 0

    def subject(self, key: str) -> str:
        """The subject of a key.

        Raises:
            InvalidError: the key has characters a bucket does not take.
        """
        if not is_key(key):
            raise InvalidError(f"{key[:64]!r} cannot be a key of {self.name}")
        return self._prefix + key

    def message(self, key: str, value: T) -> Outgoing:
        """A write of ``value``, to be published with others."""
        return Outgoing(self.subject(key), _encoded(value))

    def revised(self, key: str, value: T, revision: int) -> Outgoing:
        """A write of ``value`` that is refused unless the key is still at ``revision``."""
        return Outgoing(self.subject(key), _encoded(value), headers={_EXPECTED: str(revision)})

    def erasure(self, key: str) -> Outgoing:
        """A deletion of ``key``, to be published with others."""
        return Outgoing(self.subject(key), b"", headers={"KV-Operation": "DEL"})

    async def get(self, key: str) -> Entry[T] | None:
        """The entry of a key.

        Raises:
            InvalidError: the value cannot be decoded.
        """
        bare = await self._raw(key)
        if bare is None or bare.value is None:
            return None
        return Entry(bare.key, self._decode(bare.value), bare.revision, bare.timestamp_ns)

    async def latest(self, key: str) -> tuple[T | None, int]:
        """The value of one key, and its revision; see :meth:`latest_many`."""
        return (await self.latest_many([key])).get(key, (None, 0))

    async def latest_many(self, keys: Collection[str]) -> dict[str, tuple[T | None, int]]:
        """The values of keys, and the revisions to give to :meth:`revised`.

        A key that was never written is missing; one whose value was deleted, or cannot be decoded,
        has none.
        """
        found: dict[str, tuple[T | None, int]] = {}
        async for bare in self._several(list(keys)):
            entry = self._readable(bare)
            found[bare.key] = (entry.value if entry else None), bare.revision
        return found

    async def _several(self, keys: list[str]) -> AsyncIterator[Entry[bytes | None]]:
        if len(keys) == 1:  # Half the trouble of asking for several.
            bare = await self._raw(keys[0])
            if bare is not None:
                yield bare
            return
        for at in range(0, len(keys), _PAGE):
            page = keys[at : at + _PAGE]
            body = {"multi_last": [self.subject(key) for key in page]}
            for stored in await fetch(self._bus, self._stream, body):
                yield self._entry(stored)

    async def get_many(self, keys: Iterable[str]) -> dict[str, Entry[T]]:
        """The readable entries of those keys that exist."""
        wanted = list(keys)
        there = {bare.key: bare async for bare in self._several(wanted)}
        if len(wanted) > 1:
            # The server leaves out a key that is written while it answers.
            left = await asyncio.gather(*(self._raw(key) for key in wanted if key not in there))
            there |= {bare.key: bare for bare in left if bare is not None}
        entries = (self._readable(bare) for bare in there.values())
        return {entry.key: entry for entry in entries if entry is not None}

    def _readable(self, bare: Entry[bytes | None]) -> Entry[T] | None:
        if bare.value is None:
            return None
        try:
            value = self._decode(bare.value)
        except InvalidError:
            self.unreadable += 1
            return None
        return Entry(bare.key, value, bare.revision, bare.timestamp_ns)

    async def state(self) -> tuple[int, int]:
        """Last sequence and number of messages: while both are the same, nothing has changed."""
        state = (await self._bus.api(f"STREAM.INFO.{self._stream}"))["state"]
        return int(state["last_seq"]), int(state["messages"])

    async def count(self, pattern: str = ">") -> int:
        """How many live entries match a subject pattern."""
        return len(await self.keys(pattern))

    async def watch(
        self, pattern: str = ">", *, from_now: bool = False
    ) -> AsyncGenerator[Entry[T] | Deleted]:
        """What is there (unless ``from_now``), then every change as it happens."""
        changes: asyncio.Queue[Msg] = asyncio.Queue(maxsize=_WATCHED)

        async def arrived(msg: Msg) -> None:
            await changes.put(msg)

        subscription = await self._bus.nc.subscribe(self._prefix + pattern, cb=arrived)
        try:
            if not from_now:
                async for entry in self.scan(pattern):
                    yield entry
            while True:
                changed = self._changed(await changes.get())
                if changed is not None:
                    yield changed
        finally:
            await subscription.unsubscribe()

    def stored(self, msg: Stored) -> tuple[int, Entry[T] | Deleted | None]:
        """Sequence and content of a message of the stream; ``None`` if nobody can read it."""
        bare = self._entry(msg)
        return bare.revision, Deleted(bare.key) if bare.value is None else self._readable(bare)

    def _changed(self, msg: Msg) -> Entry[T] | Deleted | None:
        key = msg.subject[len(self._prefix) :]
        if (msg.headers or {}).get("KV-Operation"):
            return Deleted(key)
        return self._readable(Entry(key, msg.data, 0, time.time_ns()))

    async def put(self, key: str, value: T) -> int:
        """Write; the new revision."""
        return (await self._publisher.publish(self.message(key, value))).seq

    async def create(self, key: str, value: T) -> int:
        """Write if the key does not exist.

        Raises:
            ConflictError: it exists.
        """
        present = await self._raw(key)
        if present is None:
            return await self.update(key, value, 0)
        if present.value is not None:
            raise ConflictError(f"{key} exists in {self.name}")
        return await self.update(key, value, present.revision)

    async def update(self, key: str, value: T, revision: int) -> int:
        """Write if the key is still at ``revision`` (0: does not exist).

        Raises:
            ConflictError: it is not.
        """
        return await self._guarded(self.subject(key), _encoded(value), revision, {})

    async def delete(self, key: str, revision: int | None = None) -> None:
        """Delete, if given only while still at ``revision``.

        Raises:
            ConflictError: it has moved on.
        """
        if revision is None:
            await self._publisher.publish(self.erasure(key))
        else:
            await self._guarded(self.subject(key), b"", revision, {"KV-Operation": "DEL"})

    async def _guarded(
        self, subject: str, data: bytes, revision: int, headers: dict[str, str]
    ) -> int:
        headers = {_EXPECTED: str(revision), **headers}
        try:
            return (await self._publisher.publish(Outgoing(subject, data, headers=headers))).seq
        except PublishError as error:
            if "wrong last sequence" in error.message:
                raise ConflictError(f"{subject} was changed by somebody else") from None
            raise

    async def keys(self, pattern: str = ">") -> list[str]:
        """The live keys that match a subject pattern."""
        async with self.touched(pattern) as touched:
            live = {e.key: e.value is not None async for e in self._walk(pattern)}
            moved = await self.get_many(await touched())
        return [key for key, alive in (live | dict.fromkeys(moved, True)).items() if alive]

    async def scan(self, pattern: str = ">") -> AsyncIterator[Entry[T]]:
        """Every readable live entry, in order of last write; those written meanwhile at the end."""
        seen: set[str] = set()
        async with self.touched(pattern) as touched:
            async for entry in self._walk(pattern):
                seen.add(entry.key)
                readable = self._readable(entry)
                if readable is not None:
                    yield readable
            for entry in (await self.get_many(await touched() - seen)).values():
                yield entry

    @asynccontextmanager
    async def touched(
        self, pattern: str = ">"
    ) -> AsyncGenerator[Callable[[], Awaitable[set[str]]]]:
        """Notice which keys are written while the block runs: a walk misses those that move.

        What is handed out gives the keys so far. Somebody tried to write them; whether they did,
        a look at the key tells.
        """
        keys: set[str] = set()

        def arrived(subject: str, reply: str, data: bytes, headers: bytes) -> None:
            del reply, data, headers
            keys.add(subject[len(self._prefix) :])

        async def so_far() -> set[str]:
            await self._flush()  # Everything sent to us before the answer has arrived.
            # What was on its way into the stream when we began to listen was never sent to us.
            async for stored in walk(self._bus, self._stream, self._prefix + pattern, mark):
                keys.add(stored.subject[len(self._prefix) :])
            return set(keys)

        subscription = await self._bus.nc.open_lane(self._prefix + pattern, arrived)
        try:
            await self._flush()
            mark = int((await self._bus.api(f"STREAM.INFO.{self._stream}"))["state"]["last_seq"])
            yield so_far
        finally:
            await subscription.unsubscribe()
            self._bus.nc.close_lane(subscription)

    async def _flush(self) -> None:
        try:
            await self._bus.nc.flush(timeout=5)
        except (nats.errors.Error, TimeoutError) as error:
            raise UnreachableError(f"no answer from NATS: {error or 'timed out'}") from None

    async def newest(self) -> AsyncIterator[Entry[T]]:
        """Every readable live entry, last written first; stop reading whenever you have enough.

        What is written meanwhile is not seen, not even in its former place: see :meth:`touched`.
        """
        state = (await self._bus.api(f"STREAM.INFO.{self._stream}"))["state"]
        high, first, width, share = state["last_seq"], state["first_seq"], _NEWEST, 1.0
        while high >= first and state["messages"]:
            low = max(first, high - width + 1)
            batch = await self._range(low, high, share)
            for bare in reversed(batch):
                readable = self._readable(bare)
                if readable is not None:
                    yield readable
            share = len(batch) / (high - low + 1)
            # Rewritten keys leave holes; where they are many, look further at a time.
            width = min(_WIDEST, max(width * 2, int(_NEWEST / max(share, 0.01))))
            high = low - 1

    async def _raw(self, key: str) -> Entry[bytes | None] | None:
        subject = f"$JS.API.DIRECT.GET.{self._stream}.{self.subject(key)}"
        try:
            return self._bare(await self._bus.nc.request(subject, timeout=5.0))
        except nats.errors.NoRespondersError:
            raise MissingError(
                f"bucket {self.name} is not provisioned", "run 'dagnats serve'"
            ) from None
        except (nats.errors.Error, TimeoutError) as error:
            raise UnreachableError(f"no answer from {self.name}: {error or 'timed out'}") from None

    def _bare(self, msg: Msg) -> Entry[bytes | None] | None:
        headers = msg.headers or {}
        if headers.get("Status"):
            return None
        gone = headers.get("KV-Operation") in ("DEL", "PURGE")
        return Entry(
            headers["Nats-Subject"][len(self._prefix) :],
            None if gone else msg.data,
            int(headers["Nats-Sequence"]),
            read_time(headers.get("Nats-Time-Stamp", "")) or 0,
        )

    def _entry(self, stored: Stored) -> Entry[bytes | None]:
        gone = stored.has(b"KV-Operation")  # DEL or PURGE; nothing else is ever marked.
        return Entry(
            stored.subject[len(self._prefix) :],
            None if gone else stored.data,
            stored.seq,
            stored.timestamp_ns,
        )

    async def _walk(self, pattern: str) -> AsyncIterator[Entry[bytes | None]]:
        state = (await self._bus.api(f"STREAM.INFO.{self._stream}"))["state"]
        last = state["last_seq"] if state["messages"] else 0
        after = state["first_seq"] - 1
        if last <= after:
            return
        async for stored in walk(self._bus, self._stream, self._prefix + pattern, after):
            entry = self._entry(stored)
            if entry.revision > last:
                return
            yield entry

    async def _range(self, low: int, high: int, share: float) -> list[Entry[bytes | None]]:
        """What lies between two sequences, of which about this share hold something."""
        found: list[Entry[bytes | None]] = []
        while low <= high:
            count = int((high - low + 1) * min(1.0, share * _MARGIN)) + _SPARE
            body = {"seq": low, "next_by_subj": f"{self._prefix}>", "batch": count}
            batch = [self._entry(stored) for stored in await fetch(self._bus, self._stream, body)]
            found += [entry for entry in batch if entry.revision <= high]
            if len(batch) < count:
                break
            low = batch[-1].revision + 1
        return found


def _decoder(kind: type[T]) -> Callable[[bytes], T]:
    if kind is bytes:
        return lambda data: cast("T", data)
    if kind is str:
        return lambda data: cast("T", data.decode(errors="replace"))
    return lambda data: decode(data, kind)


def _encoded(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else encode(value)
