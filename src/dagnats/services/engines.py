"""Which engine is active, and which stand by."""

from __future__ import annotations

from msgspec import Struct

from dagnats.errors import NotFoundError
from dagnats.runtime.lease import LEASE, STANDBY
from dagnats.services.session import Session


class EngineInfo(Struct, frozen=True, kw_only=True):
    """One engine.

    Args:
        state: ``active`` or ``standby``.
        host, pid: where it runs.
        since: when it began to be active, or to stand by.
        epoch: which one in the succession of active engines it is; 0 when standing by.
    """

    id: str
    state: str
    host: str
    pid: int
    since: str
    epoch: int = 0


async def list_engines(session: Session) -> list[EngineInfo]:
    """Every engine that was heard of within ten seconds, the active one first."""
    found: list[EngineInfo] = []
    try:
        async for entry in session.stores.leases.scan():
            if entry.key == LEASE or entry.key.startswith(STANDBY):
                member = entry.value
                found.append(
                    EngineInfo(
                        id=member.id,
                        state="active" if entry.key == LEASE else "standby",
                        host=member.host,
                        pid=member.pid,
                        since=member.since,
                        epoch=member.epoch if entry.key == LEASE else 0,
                    )
                )
    except NotFoundError:
        return []  # A server of another make.
    return sorted(found, key=lambda info: (info.state, info.host, info.pid))
