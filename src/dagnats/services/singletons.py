"""Singleton locks: which run holds which, and breaking one."""

from __future__ import annotations

import hashlib

from msgspec import Struct

from dagnats.errors import InvalidError, NotFoundError
from dagnats.model.codec import Wire, decode, encode
from dagnats.model.records import BrokenLock
from dagnats.services import audit
from dagnats.services.session import Session
from dagnats.services.tolerant import entries_of, entry_of, put_if_there

MAX_KEY = 256
"""Longest key that is accepted, in characters (``cli-beyond.md`` A7)."""


class _Lock(Wire):
    """A lock as our engine records it."""

    name: str
    value: str


class SingletonRow(Struct, frozen=True):
    """A lock and the run that holds it."""

    key: str
    run_id: str


class ReleasedLock(Struct, frozen=True):
    """A lock that was broken."""

    key: str
    released: bool = True


async def list_singletons(session: Session, workflow: str = "") -> list[SingletonRow]:
    """The locks, by key; those of one workflow if one is named."""
    return sorted(
        [
            SingletonRow(key, run_id)
            for key, run_id in (await _locks(session)).items()
            if not workflow or key == workflow or key.startswith(f"{workflow}.")
        ],
        key=lambda row: row.key,
    )


async def _locks(session: Session) -> dict[str, str]:
    """Holders by key. Our engine keeps its locks in a bucket of its own, where keys may be any
    text; the bucket that all know has those that can be keys there.
    """
    found = {e.key: e.value.run_id async for e in entries_of(session.stores.singletons)}
    async for entry in entries_of(session.stores.engine_state, "locks.*"):
        try:
            record = decode(entry.value, _Lock)
        except InvalidError:
            continue  # Written by a newer version.
        found[record.name] = record.value
    return found


async def release_singleton(session: Session, key: str) -> ReleasedLock:
    """Break a lock, so that another run may take it.

    Raises:
        InvalidError: the key is too long.
        NotFoundError: there is no such lock.
        ConflictError: the lock passed to another run meanwhile.
    """
    if len(key) > MAX_KEY:
        raise InvalidError(f"key exceeds max length ({MAX_KEY})")
    holder = (await _locks(session)).get(key)
    if holder is None:
        raise NotFoundError(
            f'no lock found for key "{key}"', "list them with 'dagnats singleton list'"
        )
    order = f"unlock.{hashlib.sha256(key.encode()).hexdigest()[:32]}"
    broken = encode(BrokenLock(key=key, run_id=holder))
    await put_if_there(session.stores.engine_control, order, broken)
    entry = await entry_of(session.stores.singletons, key)
    if entry is not None and entry.value.run_id == holder:
        await session.stores.singletons.delete(key, entry.revision)
    await audit.record(session, "singleton.release", key, {"run_id": holder})
    return ReleasedLock(key)
