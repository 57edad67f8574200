"""Putting right what follows from the history."""

from __future__ import annotations

from dagnats.errors import ConflictError, NotFoundError, RefusedError
from dagnats.services import audit
from dagnats.services.doctor.findings import Cure, Repair
from dagnats.services.doctor.records import expected, find_case
from dagnats.services.run_query import RUN_PREFIX
from dagnats.services.run_steps import override_step
from dagnats.services.session import Session
from dagnats.wire.topology import provision

REASON = "the doctor found its task or timer lost"


async def apply(session: Session, repair: Repair) -> None:
    """Do one repair; the audit keeps it.

    Raises:
        DagnatsError: it could not be done.
    """
    match repair.cure:
        case Cure.PROVISION:
            await provision(session.bus)
        case Cure.SNAPSHOT:
            await _rebuild(session, repair.run_id)
        case Cure.RETRY:
            await override_step(session, repair.run_id, repair.step, "retry", REASON)
    await audit.record(session, f"doctor.{repair.cure.value}", repair.run_id or "topology")


async def _rebuild(session: Session, run_id: str) -> None:
    """Write the snapshot that the history makes; an engine that holds another reads it anew."""
    case = await find_case(session, run_id)
    if case is None:
        raise NotFoundError(f"run {run_id} is gone")
    kept = await session.stores.engine_state.get("secret")
    rebuilt = expected(case, kept.value if kept else b"")
    rebuilt.trace_parent = case.run.trace_parent  # The engine gave it; the log does not have it.
    try:
        await session.stores.runs.update(RUN_PREFIX + run_id, rebuilt, case.revision)
    except ConflictError:
        raise RefusedError(f"run {run_id} moves: look again", "run the doctor again") from None
