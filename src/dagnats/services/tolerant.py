"""Reading what another server may never have made.

A DagNats server of another make, or an older one of ours, lacks some buckets and streams. For a
reader a bucket that does not exist is an empty one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypeVar

from dagnats.services.session import Session
from dagnats.wire.errors import MissingError
from dagnats.wire.kv import Bucket, Entry
from dagnats.wire.publisher import NoStreamError
from dagnats.wire.subjects import is_key

T = TypeVar("T")


async def entry_of(bucket: Bucket[T], key: str) -> Entry[T] | None:
    """The entry of a key; ``None`` also when the bucket does not exist or cannot hold the key."""
    if not is_key(key):
        return None
    try:
        return await bucket.get(key)
    except MissingError:
        return None


async def value_of(bucket: Bucket[T], key: str) -> T | None:
    """The value of a key; ``None`` also when the bucket does not exist or cannot hold the key."""
    entry = await entry_of(bucket, key)
    return None if entry is None else entry.value


async def keys_of(bucket: Bucket[T], pattern: str = ">") -> list[str]:
    """The live keys; none when the bucket does not exist."""
    try:
        return await bucket.keys(pattern)
    except MissingError:
        return []


async def entries_of(bucket: Bucket[T], pattern: str = ">") -> AsyncIterator[Entry[T]]:
    """Every readable entry; none when the bucket does not exist."""
    try:
        async for entry in bucket.scan(pattern):
            yield entry
    except MissingError:
        return


async def put_if_there(bucket: Bucket[T], key: str, value: T) -> None:
    """Write, unless the bucket does not exist on this server."""
    try:
        await bucket.put(key, value)
    except NoStreamError:
        return


async def api_or_none(
    session: Session, call: str, body: dict[str, Any] | None = None
) -> dict[str, Any] | None:
    """The answer of the JetStream API; ``None`` when what was asked about does not exist."""
    try:
        return await session.bus.api(call, body)
    except MissingError:
        return None
