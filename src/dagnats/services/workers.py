"""Who is there to do the work, and what each is doing."""

from __future__ import annotations

from msgspec import Struct

from dagnats.errors import AmbiguousError, NotFoundError
from dagnats.model.records import WorkerRegistration
from dagnats.model.run import RunStatus, StepStatus
from dagnats.model.times import SECOND
from dagnats.services.run_query import RunQuery, scan_runs
from dagnats.services.session import Session
from dagnats.services.tolerant import entries_of, value_of

STALE_AFTER = 60 * SECOND
"""A worker that was not heard of for this long is gone (``wire.md`` 13.1)."""


class RunningStep(Struct, frozen=True):
    """A step that a worker has in hand."""

    run_id: str
    workflow: str
    step_id: str
    started_at: str


class WorkerDetail(Struct, frozen=True):
    """One worker.

    Args:
        worker: what it says of itself.
        running: the steps it has in hand, as far as snapshots tell.
        cancelled_tasks_skipped: tasks it left alone because their run was cancelled.
    """

    worker: WorkerRegistration
    running: list[RunningStep]
    cancelled_tasks_skipped: int


async def list_workers(session: Session) -> list[WorkerRegistration]:
    """The workers heard of within the last minute, by id."""
    newest = session.now() - STALE_AFTER
    found = [
        entry.value
        async for entry in entries_of(session.stores.workers)
        if entry.timestamp_ns >= newest
    ]
    return sorted(found, key=lambda worker: worker.worker_id)


async def get_worker(session: Session, worker_id: str) -> WorkerDetail:
    """One worker by id or by a prefix that means one only.

    Raises:
        NotFoundError: no such worker is alive.
        AmbiguousError: several are.
    """
    workers = await list_workers(session)
    exact = [worker for worker in workers if worker.worker_id == worker_id]
    found = exact or [worker for worker in workers if worker.worker_id.startswith(worker_id)]
    if not found or not worker_id:
        raise NotFoundError(
            f'worker "{worker_id[:64]}" not found', "list them with 'dagnats workers list'"
        )
    if len(found) > 1:
        names = ", ".join(worker.worker_id for worker in found[:5])
        raise AmbiguousError(f'"{worker_id}" matches {len(found)} workers', names)
    worker = found[0]
    status = await value_of(session.stores.worker_status, worker.worker_id)
    return WorkerDetail(
        worker,
        await _running(session, worker.worker_id),
        status.cancelled_tasks_skipped if status else 0,
    )


async def _running(session: Session, worker_id: str) -> list[RunningStep]:
    found = [
        RunningStep(run.run_id, run.workflow_id, step_id, state.started_at)
        async for run in scan_runs(session, RunQuery(status=RunStatus.RUNNING))
        for step_id, state in run.steps.items()
        if state.status == StepStatus.RUNNING and state.worker_id == worker_id
    ]
    return sorted(found, key=lambda step: (step.started_at, step.run_id, step.step_id))


async def cancelled_tasks_skipped(session: Session) -> int:
    """Tasks of cancelled runs that all workers together left alone."""
    total = 0
    async for entry in entries_of(session.stores.worker_status):
        total += entry.value.cancelled_tasks_skipped
    return total
