"""The ASGI application: routes made from the operations, errors made into problem details."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dagnats.errors import DagnatsError, NotFoundError
from dagnats.model.codec import encode
from dagnats.server.http.gate import ClientGoneError
from dagnats.server.http.operations import Call, Operation
from dagnats.server.http.problems import HttpError, problem_response
from dagnats.services.session import Session
from dagnats.telemetry.context import TRACEPARENT, clean_traceparent
from dagnats.telemetry.spans import TRACER

log = logging.getLogger("dagnats.http")


def routes_of(
    operations: Iterable[Operation], session: Session, closing: asyncio.Event
) -> list[BaseRoute]:
    """A route per path, in the order of the operations; ``closing``: see :class:`Call`."""
    by_path: dict[str, dict[str, Operation]] = {}
    for each in operations:
        by_path.setdefault(each.path, {})[each.method] = each
    return [
        Route(path, _endpoint(methods, session, closing), methods=list(methods))
        for path, methods in by_path.items()
    ]


def application(routes: list[BaseRoute]) -> Starlette:
    """An application whose every error is a problem detail."""
    handlers: dict[Any, Any] = {HTTPException: _http_error, Exception: _fault}
    return Starlette(routes=routes, exception_handlers=handlers)


def _endpoint(
    methods: dict[str, Operation], session: Session, closing: asyncio.Event
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        operation = methods["GET" if request.method == "HEAD" else request.method]
        call = Call(request, session, closing)
        try:
            answer = await _traced(operation, call)
        except NotFoundError as error:
            return problem_response(error, operation.missing)
        except DagnatsError as error:
            return _failed(operation, error)
        if isinstance(answer, Response):
            answer.headers.update(call.headers)
            return answer
        status = call.status or operation.status
        return Response(encode(answer), status, call.headers, operation.media)

    return endpoint


async def _traced(operation: Operation, call: Call) -> Any:
    """Run an operation; what changes something belongs to the trace of its caller, or begins one.

    Tasks are left out: each belongs to the trace of its run.
    """
    if operation.method == "GET" or operation.access == "bridge":
        return await operation.run(call)
    parent = clean_traceparent(call.request.headers.get(TRACEPARENT, ""))
    name = f"dagnats.api {operation.method} {operation.path}"
    with TRACER.span(name, "server", parent):
        return await operation.run(call)


def _failed(operation: Operation, error: DagnatsError) -> Response:
    response = problem_response(error)
    if response.status_code >= 500:
        log.warning("%s: %s", operation.name, error.message)
    return response


async def _http_error(request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: no such path, or a method the path does not know."""
    raised = cast("HTTPException", error)
    path = request.url.path[:128]
    texts = {
        404: (f"there is nothing at {path}", "see /docs for the paths"),
        405: (f"{path} does not take {request.method[:16]}", "see /docs for the methods"),
    }
    text, hint = texts.get(raised.status_code, (raised.detail, ""))
    headers = dict(raised.headers or {})
    if "Allow" in headers:
        headers["Allow"] = ", ".join(sorted(headers["Allow"].split(", ")))
    return problem_response(HttpError(raised.status_code, text, hint, headers))


async def _fault(request: Request, error: Exception) -> Response:
    """A fault of ours: the log knows it, the client learns only that there was one."""
    if not isinstance(error, ClientGoneError):
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem_response(HttpError(500, "internal error", "see the server's log"))
