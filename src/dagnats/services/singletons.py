"""Singleton locks: which run holds which, and breaking one."""

from __future__ import annotations

from msgspec import Struct

from dagnats.errors import InvalidError, NotFoundError
from dagnats.services import audit
from dagnats.services.session import Session
from dagnats.services.tolerant import entries_of, entry_of

MAX_KEY = 256
"""Longest key that is accepted, in characters (``cli-beyond.md`` A7)."""


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
            SingletonRow(entry.key, entry.value.run_id)
            async for entry in entries_of(session.stores.singletons)
            if not workflow or entry.key == workflow or entry.key.startswith(f"{workflow}.")
        ],
        key=lambda row: row.key,
    )


async def release_singleton(session: Session, key: str) -> ReleasedLock:
    """Break a lock, so that another run may take it.

    Raises:
        InvalidError: the key is too long.
        NotFoundError: there is no such lock.
        ConflictError: the lock passed to another run meanwhile.
    """
    if len(key) > MAX_KEY:
        raise InvalidError(f"key exceeds max length ({MAX_KEY})")
    entry = await entry_of(session.stores.singletons, key)
    if entry is None:
        raise NotFoundError(
            f'no lock found for key "{key}"', "list them with 'dagnats singleton list'"
        )
    await session.stores.singletons.delete(key, entry.revision)
    await audit.record(session, "singleton.release", key, {"run_id": entry.value.run_id})
    return ReleasedLock(key)
