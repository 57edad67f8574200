"""The same operation on many runs."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Raw, Struct

from dagnats.server.http.operations import Body, Call, operation
from dagnats.services import run_bulk
from dagnats.services.run_bulk import BulkQuery, BulkRetried, RetriedRun
from dagnats.services.run_query import parse_bound

TAG = "bulk"


class CancelBody(Body, frozen=True, kw_only=True):
    """Live runs of a workflow, by status and creation time (RFC 3339, inclusive)."""

    workflow_id: str
    status: Literal["running", "pending", "all", ""] = "all"
    after: str | None = None
    before: str | None = None
    dry_run: bool = False


class StartManyBody(Body, frozen=True, kw_only=True):
    """One run per input; all are checked before any starts."""

    workflow_id: str
    inputs: Annotated[list[Raw], Meta(min_length=1)]


class RetryManyBody(Body, frozen=True, kw_only=True):
    """Failed runs of a workflow: `rerun` them anew, or `replay` them where they failed."""

    workflow_id: str
    mode: Literal["rerun", "replay"]
    after: str | None = None
    before: str | None = None
    dry_run: bool = False


class Cancelled(Struct, omit_defaults=True, kw_only=True):
    """Ids of the runs that were cancelled, or would be; `skipped` had ended meanwhile."""

    cancelled: list[str]
    skipped: list[str] = []
    total: int
    dry_run: bool


class StartedMany(Struct, kw_only=True):
    """Ids of the runs, in the order of the inputs."""

    run_ids: list[str]
    total: int


class Retried(Struct, omit_defaults=True, kw_only=True):
    """The runs that were retried, or would be; `skipped` had nothing to replay."""

    retried: list[RetriedRun]
    skipped: list[str] = []
    total: int
    dry_run: bool
    failed: list[run_bulk.BulkFailure] = []


@operation("POST", "/runs/cancel", tag=TAG, missing=400)
async def cancel_runs(call: Call, body: CancelBody) -> Cancelled:
    """Cancel every live run that matches."""
    query = _query(body.workflow_id, body.after, body.before, body.status or "all")
    done = await run_bulk.cancel_all(call.session, query, body.dry_run)
    return Cancelled(
        cancelled=done.cancelled, skipped=done.skipped, total=done.total, dry_run=done.dry_run
    )


@operation("POST", "/runs/bulk", tag=TAG, status=201, missing=400)
async def start_runs(call: Call, body: StartManyBody) -> StartedMany:
    """Start a run per input."""
    inputs = [bytes(given) for given in body.inputs]
    done = await run_bulk.bulk_start(call.session, body.workflow_id, inputs)
    return StartedMany(run_ids=done.run_ids, total=done.total)


@operation("POST", "/runs/retry", tag=TAG, missing=400)
async def retry_runs(call: Call, body: RetryManyBody) -> Retried:
    """Retry every failed run that matches."""
    query = _query(body.workflow_id, body.after, body.before)
    done: BulkRetried = await run_bulk.retry_all(call.session, query, body.mode, body.dry_run)
    return Retried(
        retried=done.retried,
        skipped=done.skipped,
        total=done.total,
        dry_run=done.dry_run,
        failed=done.failed,
    )


def _query(workflow: str, after: str | None, before: str | None, status: str = "all") -> BulkQuery:
    return BulkQuery(
        workflow=workflow,
        status=status,
        after=parse_bound(after or "", "after"),
        before=parse_bound(before or "", "before"),
    )
