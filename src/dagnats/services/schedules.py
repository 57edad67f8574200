"""Runs that are to start later."""

from __future__ import annotations

import msgspec

from dagnats.errors import ConflictError, NotFoundError
from dagnats.model.records import ScheduledRun
from dagnats.model.times import read_time
from dagnats.services import audit
from dagnats.services.session import Session
from dagnats.services.tolerant import entries_of, entry_of

SCHEDULED = "scheduled"
CANCELLED = "cancelled"


async def list_schedules(session: Session, workflow: str = "") -> list[ScheduledRun]:
    """The runs still to start, soonest first."""
    found = [
        entry.value
        async for entry in entries_of(session.stores.scheduled)
        if entry.value.status == SCHEDULED and workflow in ("", entry.value.workflow_id)
    ]
    return sorted(found, key=lambda run: (read_time(run.run_at) or 0, run.run_id))


async def find_schedule(session: Session, run_id: str) -> ScheduledRun | None:
    """The record of a run still to start; ``None`` when there is none."""
    entry = await entry_of(session.stores.scheduled, run_id)
    return entry.value if entry and entry.value.status == SCHEDULED else None


async def get_schedule(session: Session, run_id: str) -> ScheduledRun:
    """The record of a scheduled run, cancelled ones included until they are cleared away.

    Raises:
        NotFoundError: there is none.
    """
    entry = await entry_of(session.stores.scheduled, run_id)
    if entry is None:
        raise NotFoundError(
            f'scheduled run "{run_id[:64]}" not found',
            "list them with 'dagnats run list --scheduled'",
        )
    return entry.value


async def cancel_schedule(session: Session, run_id: str) -> bool:
    """Keep a scheduled run from starting; ``False`` when it has begun, or was cancelled before."""
    entry = await entry_of(session.stores.scheduled, run_id)
    if entry is None or entry.value.status != SCHEDULED:
        return False
    cancelled = msgspec.structs.replace(entry.value, status=CANCELLED)
    try:
        await session.stores.scheduled.update(run_id, cancelled, entry.revision)
    except ConflictError:
        return False
    await audit.record(session, "run.cancel", run_id, {"scheduled": True})
    return True
