"""Workers, queues, approvals, the state of it all."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Raw, Struct

from dagnats.errors import ConflictError, NotFoundError, RefusedError
from dagnats.model.codec import ABSENT, is_absent
from dagnats.model.records import ApprovalToken, ScheduledRun, WorkerRegistration
from dagnats.server.http.operations import Body, Call, Query, operation
from dagnats.server.http.problems import HttpError
from dagnats.services import infos, run_steps, schedules, status, workers
from dagnats.services.infos import QueueRow
from dagnats.services.run_steps import Decided
from dagnats.services.status import Status
from dagnats.services.workers import WorkerDetail

TAG = "operations"
MAX_DECISION = 1 << 20
"""Largest body of a decision, in bytes."""


class StatusQuery(Query, frozen=True, kw_only=True):
    """`detail`: look at queues, dead letters and the engine's lag as well."""

    detail: bool = False


class WorkflowQuery(Query, frozen=True, kw_only=True):
    """Only those of one workflow."""

    workflow: str = ""


class DecisionQuery(Query, frozen=True, kw_only=True):
    """The single-use token of the approval, and the decision."""

    token: Annotated[str, Meta(description="single-use token")] = ""
    action: Annotated[str, Meta(description="approve or reject")] = ""


class DecisionBody(Body, frozen=True, kw_only=True):
    """An operator's decision; `body` is the step's output, or the reason of its failure."""

    action: Literal["approve", "reject"]
    body: Raw = ABSENT


class DecisionMade(Struct, kw_only=True):
    """An approval that was decided: `approved` or `rejected`."""

    run_id: str
    status: str
    step: str


@operation("GET", "/status", tag=TAG)
async def get_status(call: Call, query: StatusQuery) -> Status:
    """The health of the system in one answer."""
    return await status.get_status(call.session, query.detail)


@operation("GET", "/workers", tag=TAG)
async def list_workers(call: Call) -> list[WorkerRegistration]:
    """The workers heard of within the last minute."""
    return await workers.list_workers(call.session)


@operation("GET", "/workers/{worker_id}", tag=TAG)
async def get_worker(call: Call, worker_id: str) -> WorkerDetail:
    """One worker by id or unique prefix, and the steps it has in hand."""
    return await workers.get_worker(call.session, worker_id)


@operation("GET", "/queues", tag=TAG)
async def list_queues(call: Call) -> list[QueueRow]:
    """Every task queue."""
    return await infos.list_queues(call.session)


@operation("GET", "/schedules", tag=TAG)
async def list_schedules(call: Call, query: WorkflowQuery) -> list[ScheduledRun]:
    """The runs still to start, soonest first."""
    return await schedules.list_schedules(call.session, query.workflow)


@operation("GET", "/approvals", tag=TAG)
async def list_approvals(call: Call) -> list[ApprovalToken]:
    """What waits for somebody's decision, longest first; the tokens are masked."""
    return await run_steps.pending_approvals(call.session)


@operation("POST", "/approvals/{run_id}/{step:path}", tag=TAG, limit=MAX_DECISION)
async def decide_as_operator(
    call: Call, run_id: str, step: str, body: DecisionBody
) -> DecisionMade:
    """Approve or reject without the approval's token, as an operator."""
    given = None if is_absent(body.body) else bytes(body.body)
    decide = run_steps.approve if body.action == "approve" else run_steps.reject
    return _made(await decide(call.session, run_id, step, given))


@operation(
    "POST",
    "/runs/{run_id}/approval/{step:path}",
    tag=TAG,
    access="approval",
    limit=MAX_DECISION,
    schema=Raw,
)
async def decide_by_token(
    call: Call, run_id: str, step: str, query: DecisionQuery, body: bytes | None = None
) -> DecisionMade:
    """Approve or reject with the single-use token of the approval, which stands for a login."""
    if not query.token:
        raise HttpError(400, "token is required")
    if query.action not in ("approve", "reject"):
        raise HttpError(400, f"action must be 'approve' or 'reject', got \"{query.action[:64]}\"")
    decide = run_steps.approve if query.action == "approve" else run_steps.reject
    try:
        return _made(await decide(call.session, run_id, step, body, query.token))
    except RefusedError as error:
        raise HttpError(401, error.message) from None
    except NotFoundError:
        raise HttpError(401, "token not found or expired") from None
    except ConflictError as error:
        # The answer to an expired token is that of one that never was.
        status_code = 401 if "expired" in error.message else 409
        raise HttpError(status_code, error.message) from None


def _made(decided: Decided) -> DecisionMade:
    return DecisionMade(run_id=decided.run_id, status=decided.status, step=decided.step_id)
