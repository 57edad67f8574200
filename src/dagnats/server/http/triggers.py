"""Webhooks and HTTP triggers: what comes in below ``/hooks/`` and ``/api/`` goes to triggers."""

from __future__ import annotations

import asyncio
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from dagnats.errors import DagnatsError
from dagnats.runtime.triggers.answers import HttpRequest, HttpResponse
from dagnats.server.http.access import TRIGGERS
from dagnats.server.http.presence import while_there
from dagnats.server.http.problems import problem_response
from dagnats.server.http.reading import read_at_most


class Answering(Protocol):
    """What answers requests to triggers."""

    def body_limit(self, method: str, path: str) -> int:
        """Largest body in bytes; of one that is larger, one byte more is wanted."""
        ...

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """The answer to a request. Ending it early leaves its run alone."""
        ...


class TriggerFace:
    """Hands requests to the triggers, every method.

    Args:
        answering: the triggers.
        closing: set when the server stops.
    """

    def __init__(self, answering: Answering, closing: asyncio.Event) -> None:
        self._answering = answering
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive, send)
        try:
            response = await self._answer(request)
        except DagnatsError as error:
            response = problem_response(error)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        method, path = request.method.upper(), str(request.scope["path"])
        body = await read_at_most(request, self._answering.body_limit(method, path) + 1)
        asked = HttpRequest(
            method=method,
            path=path,
            query=request.query_params.multi_items(),
            headers=[
                (name.decode("latin-1"), value.decode("latin-1"))
                for name, value in request.headers.raw
            ],
            body=body,
        )
        stopped = HttpResponse(503, b"", {"Retry-After": "1"})
        answer = await while_there(request, self._closing, self._answering.handle(asked), stopped)
        return Response(answer.body, answer.status, answer.headers)


def trigger_routes(answering: Answering, closing: asyncio.Event) -> list[BaseRoute]:
    """The routes below which triggers answer."""
    face = TriggerFace(answering, closing)
    return [Route(f"{prefix}{{rest:path}}", face) for prefix in TRIGGERS]
