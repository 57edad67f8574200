"""The HTTP API as a room of the server: uvicorn in our own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Generator

import uvicorn
from starlette.types import ASGIApp

from dagnats.errors import DagnatsError
from dagnats.model.times import SECOND
from dagnats.server.bridge.bridge import Bridge
from dagnats.server.http import metrics as http_metrics
from dagnats.server.http.access import Access
from dagnats.server.http.app import application, routes_of
from dagnats.server.http.gate import Gate
from dagnats.server.http.health import HealthCheck
from dagnats.server.http.limits import RateLimit
from dagnats.server.http.metrics import Metrics
from dagnats.server.http.operations import operations_in
from dagnats.server.http.protocol import Protocol
from dagnats.server.http.routes import (
    bulk,
    dead,
    events,
    operators,
    runs,
    triggers,
    workflows,
)
from dagnats.server.http.routes.bridge import bridge_operations
from dagnats.server.http.routes.system import system_operations
from dagnats.server.http.triggers import trigger_routes
from dagnats.server.rooms import Context
from dagnats.services.session import Session

log = logging.getLogger("dagnats.http")

DRAIN_S = 5
"""How long requests may take to end when the server stops, in seconds."""

KEEP_ALIVE_S = 30
"""How long an idle connection stays open, in seconds."""

BACKLOG = 1024
"""Connections that may wait to be accepted."""


class HttpRoom:
    """Serves the API from start to stop.

    Args:
        context: of the server.

    Attributes:
        bind: host and port.
    """

    name = "http api"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._session = Session(context.session.bus, context.session.stores, actor="http")
        self.bind = host, port = context.http_bind
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self._closing = asyncio.Event()
        self._metrics = Metrics(self._session)
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            DagnatsError: the address cannot be used.
        """
        # What uvicorn would say, the gate has said or nobody wants to know.
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
        listener = _listen(*self.bind)
        server = self._server = _Server(_config(self._app()))
        self._task = asyncio.create_task(server.serve([listener]), name="http")
        while not server.started and not self._task.done():  # noqa: ASYNC110 - uvicorn has no event
            await asyncio.sleep(0.005)
        if self._task.done():
            self._task.result()
            raise DagnatsError("the HTTP API did not start", "see the log")

    async def stop(self) -> None:
        """Let requests end, then close."""
        if self._server is None or self._task is None:
            return
        self._closing.set()
        self._metrics.close()
        self._server.should_exit = True
        await self._task

    def _app(self) -> ASGIApp:
        context, settings, session = self._context, self._context.settings, self._session
        listed = operations_in(workflows, bulk, runs, events, dead, triggers, operators)
        bridge = Bridge(session, settings.bridge_ack_wait / SECOND)
        listed += bridge_operations(bridge)
        metrics = self._metrics
        health = HealthCheck(session, None if settings.nats_url else settings.data_dir)
        about = system_operations(
            health, metrics, lambda: context.ready, settings.otlp_endpoint, listed
        )
        access = Access(
            api_token=settings.api_token,
            bridge_token=settings.bridge_token,
        )
        routes = routes_of([*listed, *about], session, self._closing)
        if context.triggers is not None:
            routes += trigger_routes(context.triggers, self._closing)
        app = application(routes)
        return Gate(app, access, RateLimit(settings.http_rate_limit), http_metrics.observe)


class _Server(uvicorn.Server):
    """Leaves the signals to ``serve``."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        loop="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=DRAIN_S,
        h11_max_incomplete_event_size=64 * 1024,
        backlog=BACKLOG,
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise DagnatsError(
            f"cannot listen on {host}:{port}: {error.strerror or error}", "choose another http_addr"
        ) from None
    listener.setblocking(False)
    return listener
