"""Runs: starting, reading, acting on one."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Raw, Struct

from dagnats.errors import InvalidError
from dagnats.model.codec import ABSENT, is_absent
from dagnats.model.records import ScheduledRun
from dagnats.model.run import WorkflowRun
from dagnats.server.http import cursors
from dagnats.server.http.operations import Body, Call, Query, operation
from dagnats.services import run_events, run_query, run_why, runs, schedules
from dagnats.services.run_documents import RunDocument, run_document
from dagnats.services.run_query import RunQuery
from dagnats.services.run_why import Reason
from dagnats.services.runs import MAX_SIGNAL_BYTES, Retried

TAG = "runs"
MAX_PAGE = 10_000

Limit = Annotated[
    int, Meta(ge=1, description=f"how many at most; more than {MAX_PAGE} count as {MAX_PAGE}")
]
Cursor = Annotated[str, Meta(description="where the page begins: from the Link header")]


class RunsQuery(Query, frozen=True, kw_only=True):
    """Which runs are wanted; times are RFC 3339 and inclusive."""

    workflow: str = ""
    status: str = ""
    after: str = ""
    before: str = ""
    limit: Limit = 1000
    cursor: Cursor = ""


class StartBody(Body, frozen=True, kw_only=True):
    """A run to start; with `run_at` (RFC 3339) later than now it is scheduled."""

    workflow: str
    input: Raw = ABSENT
    run_at: str | None = None


class RunStarted(Struct, omit_defaults=True, kw_only=True):
    """A run that was started; `status` is `scheduled` or `existing` where it was not."""

    run_id: str
    status: str = ""


class RunCancelled(Struct, kw_only=True):
    """A run that was cancelled."""

    run_id: str
    status: str


class RetryBody(Body, frozen=True, kw_only=True):
    """Another input than the original run's."""

    input: Raw = ABSENT


class SignalSent(Struct, kw_only=True):
    """A signal that was sent."""

    run_id: str
    signal: str
    status: str


class Outputs(Struct, kw_only=True, omit_defaults=True):
    """What the terminal steps of a completed run put out; each a JSON value."""

    run_id: str
    status: str
    outputs: dict[str, Raw] | None = None


@operation("GET", "/runs", tag=TAG)
async def list_runs(call: Call, query: RunsQuery) -> list[WorkflowRun]:
    """Runs, newest first. If there are more, a `Link` header names the next page."""
    wanted = RunQuery(
        workflow=query.workflow,
        status=query.status,
        after=run_query.parse_bound(query.after, "after"),
        before=run_query.parse_bound(query.before, "before"),
        limit=min(query.limit, MAX_PAGE),
        below=cursors.read_run(query.cursor),
    )
    page = await run_query.list_runs(call.session, wanted)
    if page.truncated:
        call.next_page(cursors.of_run(page.runs[-1]))
    return [run_document(run) for run in page.runs]


@operation("POST", "/runs", tag=TAG, status=201, missing=400)
async def start_run(call: Call, body: StartBody) -> RunStarted:
    """Start a run, or schedule it."""
    given = None if is_absent(body.input) else bytes(body.input)
    at = runs.near(body.run_at or "", call.session.now())
    done = await runs.start_run(call.session, body.workflow, given, at)
    return RunStarted(run_id=done.run_id, status="" if done.status == "started" else done.status)


@operation("GET", "/runs/{run_id}", tag=TAG)
async def get_run(call: Call, run_id: str) -> RunDocument:
    """One run by its full id, with the id of its trace."""
    run = await run_query.appearing_run(call.session, run_id)
    trace = await run_events.trace_id(call.session, run)
    return RunDocument.of(run_document(run), trace)


@operation("POST", "/runs/{run_id}/cancel", tag=TAG)
async def cancel_run(call: Call, run_id: str) -> RunCancelled:
    """Cancel a run, or a scheduled one before it begins."""
    done = await runs.cancel_run(call.session, run_id)
    return RunCancelled(run_id=done.run_id, status="cancelled")


@operation("POST", "/runs/{run_id}/retry", tag=TAG, status=201)
async def retry_run(call: Call, run_id: str, body: RetryBody = RetryBody()) -> Retried:  # noqa: B008 - frozen
    """Start a run of the same workflow with the same input, or another one."""
    given = None if is_absent(body.input) else bytes(body.input)
    return await runs.retry_run(call.session, run_id, given)


@operation("POST", "/runs/{run_id}/signal/{name:path}", tag=TAG, limit=MAX_SIGNAL_BYTES, schema=Raw)
async def signal_run(call: Call, run_id: str, name: str, body: bytes) -> SignalSent:
    """Send a named signal to a live run; the body is its payload, any JSON value."""
    done = await runs.signal_run(call.session, run_id, name, body or b"null")
    return SignalSent(run_id=done.run_id, signal=done.signal, status="sent")


@operation("GET", "/runs/{run_id}/outputs", tag=TAG)
async def run_outputs(call: Call, run_id: str) -> Outputs:
    """The outputs of the steps nobody depends on, once the run is completed."""
    done = await run_events.run_outputs(call.session, run_id)
    values = None
    if done.outputs is not None:
        values = {step: _json(text) for step, text in done.outputs.items()}
    return Outputs(run_id=done.run_id, status=done.status, outputs=values)


@operation("GET", "/runs/{run_id}/why", tag=TAG)
async def why(call: Call, run_id: str) -> list[Reason]:
    """Why a run stands where it stands, with the evidence."""
    return await run_why.why(call.session, run_id)


@operation("GET", "/runs/{run_id}/scheduled", tag=TAG)
async def get_scheduled(call: Call, run_id: str) -> ScheduledRun:
    """The record of a scheduled run."""
    return await schedules.get_schedule(call.session, run_id)


@operation("DELETE", "/runs/{run_id}/scheduled", tag=TAG)
async def cancel_scheduled(call: Call, run_id: str) -> dict[str, str]:
    """Keep a scheduled run from starting."""
    record = await schedules.get_schedule(call.session, run_id)
    if not await schedules.cancel_schedule(call.session, run_id):
        raise InvalidError(f'cannot cancel: status is "{record.status}"')
    return {"status": "cancelled"}


def _json(text: str) -> Raw:
    """An output as JSON; what another worker wrote that is no JSON becomes a JSON string."""
    try:
        msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return Raw(msgspec.json.encode(text))
    return Raw(text.encode())
