"""What an HTTP caller gets: the answers of the trigger itself, and those of the runs it starts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import Struct

from dagnats.engine.inputs import run_outputs
from dagnats.engine.plan import Plan
from dagnats.engine.run import Run
from dagnats.errors import InvalidError
from dagnats.model.codec import Wire, decode
from dagnats.model.run import RunStatus, StepState, StepStatus, WorkflowRun, is_terminal
from dagnats.model.workflow import RespondConfig, StepType, WorkflowDef

RUN_ID = "X-Dagnats-Run-Id"
JSON = "application/json"
PROBLEM = "application/problem+json"

RETRY_AFTER_S = "1"
"""What a caller is told to wait when NATS did not take the start."""

_NAME = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]{1,128}")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]{0,4096}")
_OURS = frozenset({"connection", "content-length", "keep-alive", "transfer-encoding", "upgrade"})
"""Headers that belong to the connection; a workflow does not set them."""

_BODILESS = (204, 304)


class HttpRequest(Struct, frozen=True, kw_only=True):
    """A request as a trigger sees it.

    Args:
        method: upper case.
        path: decoded, without the query.
        query: decoded pairs in order.
        headers: pairs in order, names in any case.
        body: all of it.
    """

    method: str
    path: str
    query: list[tuple[str, str]] = []
    headers: list[tuple[str, str]] = []
    body: bytes = b""


class HttpResponse(Struct, frozen=True):
    """The answer to a request, complete."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = {}


class Reply(Wire):
    """What a ``respond`` step sends (``wire.md`` 9.5)."""

    status: int = 0
    headers: dict[str, str] = {}
    content_type: str = ""
    body: bytes = b""


def refusal(status: int, detail: str, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """A problem document of a request that starts nothing."""
    phrase = HTTPStatus(status).phrase
    body = {
        "type": "about:blank",
        "title": phrase,
        "status": status,
        "detail": detail,
        "code": phrase.lower().replace(" ", "_"),
    }
    return HttpResponse(
        status, msgspec.json.encode(body), {"Content-Type": PROBLEM, **(headers or {})}
    )


def accepted(run_id: str) -> HttpResponse:
    """The answer to a webhook that started a run."""
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    return HttpResponse(200, b"ok", headers | ({RUN_ID: run_id} if run_id else {}))


def ended_badly(status: int, error: str, run_id: str) -> HttpResponse:
    """The answer when a run gives none: ``workflow_failed``, ``workflow_timeout``, ..."""
    body = msgspec.json.encode({"error": error, "run_id": run_id})
    return HttpResponse(status, body, {"Content-Type": JSON, RUN_ID: run_id})


def replied(data: bytes, run_id: str) -> HttpResponse:
    """The answer that a ``respond`` step sent."""
    try:
        return _answer(decode(data, Reply), run_id)
    except InvalidError:
        return ended_badly(502, "malformed_response", run_id)


def _answer(reply: Reply, run_id: str) -> HttpResponse:
    status = reply.status or 200
    headers = {name: value for name, value in reply.headers.items() if name.lower() not in _OURS}
    clean = all(_NAME.fullmatch(n) and _VALUE.fullmatch(v) for n, v in headers.items())
    kind = reply.content_type or JSON
    if not clean or not _VALUE.fullmatch(kind) or not 200 <= status <= 599:
        return ended_badly(502, "malformed_response", run_id)
    if not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = kind
    headers[RUN_ID] = run_id
    return HttpResponse(status, b"" if status in _BODILESS else reply.body, headers)


def answer_of(snapshot: WorkflowRun, definition: WorkflowDef) -> HttpResponse | None:
    """What the caller gets as far as the run has come; ``None``: it has to wait.

    A ``respond`` step that has completed determines it, else the end of the run. So an answer
    that got lost, or a request that is repeated, gets the same once more.

    Args:
        snapshot: of the run.
        definition: that the run is pinned to.
    """
    plan = Plan(definition, snapshot.dynamic_steps)
    responded = [
        (state.finished_at, step_id)
        for step_id, state in snapshot.steps.items()
        if state.status == StepStatus.COMPLETED
        and (step := plan.steps.get(step_id)) is not None
        and step.type == StepType.RESPOND
    ]
    if responded:
        step_id = min(responded)[1]
        return _responded(plan, step_id, snapshot.steps[step_id], snapshot.run_id)
    if not is_terminal(snapshot.status):
        return None
    if snapshot.status == RunStatus.COMPLETED:
        outputs = bytes(run_outputs(Run(snapshot, plan)))
        return HttpResponse(200, outputs, {"Content-Type": JSON, RUN_ID: snapshot.run_id})
    if snapshot.status == RunStatus.CANCELLED:
        return ended_badly(503, "workflow_cancelled", snapshot.run_id)
    return ended_badly(500, "workflow_failed", snapshot.run_id)


def _responded(plan: Plan, step_id: str, state: StepState, run_id: str) -> HttpResponse:
    config = plan.config(step_id, RespondConfig)
    reply = Reply(
        status=config.status,
        headers=config.headers,
        content_type=config.content_type,
        body=state.output or b"null",
    )
    return _answer(reply, run_id)


def envelope_data(request: HttpRequest) -> dict[str, Any]:
    """The request as the ``data`` of an HTTP trigger's envelope (``wire.md`` 9.3)."""
    data: dict[str, Any] = {"method": request.method, "path": request.path}
    for name, pairs in (("query", request.query), ("headers", _canonical(request.headers))):
        first: dict[str, str] = {}
        for key, value in pairs:
            first.setdefault(key, value)
        if first:
            data[name] = first
    if request.body:
        data["body"] = request.body
    return data


def _canonical(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Header names as Go writes them: ``x-request-id`` is ``X-Request-Id``."""
    return [("-".join(p.capitalize() for p in name.split("-")), value) for name, value in headers]
