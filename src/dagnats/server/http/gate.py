"""What every request passes before it reaches a handler: access, limits, a count for /metrics."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dagnats.errors import DagnatsError
from dagnats.server.http.access import Access
from dagnats.server.http.limits import InFlight, RateLimit
from dagnats.server.http.problems import HttpError, problem_response

MAX_IN_FLIGHT = 256
"""Requests worked on at once. More would only wait for each other, and for NATS."""

MAX_WAITING = 512
"""Requests at once that wait by design: event streams, polls, HTTP triggers."""

WRITE_TIMEOUT_S = 30.0
"""How long a client may take to read a piece of an answer, in seconds."""

_FREE = ("/health", "/ready")
"""Not limited: they must answer when nothing else does, and cost nothing."""


class ClientGoneError(Exception):
    """The client does not read its answer: the connection is given up."""


Observe = Callable[[str, int, float], None]
"""Told the method, the status and the seconds of each request."""


class Gate:
    """ASGI middleware.

    Args:
        app: what comes behind it.
        access: who may call what.
        rate: the limit per client.
        observe: is told of every request.
    """

    def __init__(self, app: ASGIApp, access: Access, rate: RateLimit, observe: Observe) -> None:
        self._app = app
        self._access = access
        self._rate = rate
        self._observe = observe
        self.busy = InFlight(MAX_IN_FLIGHT)
        self.waiting = InFlight(MAX_WAITING)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            return
        began, answer = time.perf_counter(), _Answer(send)
        try:
            await self._pass(scope, receive, answer)
        except Exception:  # noqa: BLE001 - Starlette has answered and logged it; it only raises again
            return
        finally:
            self._observe(scope["method"], answer.status, time.perf_counter() - began)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, path = Headers(scope=scope), str(scope["path"])
        try:
            self._access.check(scope["method"], path, headers)
            self._limit(scope, path)
        except DagnatsError as error:
            await _refuse(error)(scope, receive, send)
            return
        lane = self.waiting if waits(path, headers) else self.busy
        if not lane.enter():
            error = HttpError(429, f"{lane.most} requests are being worked on", "try again")
            await _refuse(error)(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            lane.leave()

    def _limit(self, scope: Scope, path: str) -> None:
        if path.startswith(_FREE):
            return
        client = (scope.get("client") or ("",))[0]
        wait = self._rate.wait_s(client)
        if wait:
            after = {"Retry-After": str(math.ceil(wait))}
            raise HttpError(429, "too many requests", "slow down", after)


def _refuse(error: DagnatsError) -> Response:
    return problem_response(error)


def waits(path: str, headers: Headers) -> bool:
    """Whether a request may last by design; those that do not are never held up by those."""
    return path.startswith(("/v1/", "/api/")) or "text/event-stream" in headers.get("accept", "")


class _Answer:
    """Passes an answer on: notes its status, and gives up on a client that does not read it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 499  # Nothing was sent: the client went away.

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await self._send(message)
        except TimeoutError:
            raise ClientGoneError from None
