"""How the server is: health, metrics, and what this API is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from starlette.responses import RedirectResponse, Response

from dagnats.server.http import docs, openapi
from dagnats.server.http.health import HealthCheck
from dagnats.server.http.metrics import MEDIA as METRICS_MEDIA
from dagnats.server.http.metrics import Metrics
from dagnats.server.http.operations import Call, Operation, operation, operation_of
from dagnats.services import triggers
from dagnats.services.cluster import (
    ClusterHealth,
    TelemetryHealth,
    cluster_health,
    telemetry_health,
)

TAG = "server"


def _text(text: str, status: int = 200) -> Response:
    return Response(f"{text}\n", status, media_type="text/plain")


def system_operations(
    health: HealthCheck,
    metrics: Metrics,
    ready: Callable[[], bool],
    otlp_endpoint: str,
    listed: Iterable[Operation],
) -> list[Operation]:
    """The operations about the server itself.

    Args:
        health: the checks behind /health and /ready.
        metrics: what a scrape gets.
        ready: whether everything has started and nothing stops.
        otlp_endpoint: where telemetry goes besides NATS; empty: nowhere.
        listed: all other operations, for the documents.
    """

    @operation("GET", "/", tag=TAG, access="open", media="text/html")
    async def root(call: Call) -> Response:
        """The documentation."""
        del call
        return RedirectResponse("/docs", 302)

    @operation("GET", "/health", tag=TAG, access="open", media="text/plain")
    async def get_health(call: Call) -> Response:
        """Whether the server can do its work: `ok`, or 503 with what is wrong."""
        del call
        found = await health.now()
        return _text("ok") if found.ok else _text("\n".join(found.problems), 503)

    @operation("GET", "/ready", tag=TAG, access="open", media="text/plain")
    async def get_ready(call: Call) -> Response:
        """Whether everything has started and is healthy: `ready`, or 503 with what is wrong."""
        del call
        found = await health.now()
        if not ready():
            return _text("not ready", 503)
        return _text("ready") if found.ok else _text("\n".join(found.problems), 503)

    @operation("GET", "/health/cluster", tag=TAG, access="open")
    async def get_cluster(call: Call) -> ClusterHealth:
        """How the NATS servers are: 503 when streams are without a leader or behind."""
        found = await cluster_health(call.session)
        call.status = 200 if found.ok else 503
        return found

    @operation("GET", "/health/telemetry", tag=TAG, access="open")
    async def get_telemetry(call: Call) -> TelemetryHealth:
        """Whether logs, spans and metrics find room."""
        return await telemetry_health(call.session, otlp_endpoint)

    @operation("GET", "/metrics", tag=TAG, media="text/plain")
    async def get_metrics(call: Call) -> Response:
        """Metrics in Prometheus' text format."""
        del call
        return Response(await metrics.text(), media_type=METRICS_MEDIA)

    @operation("GET", "/openapi.json", tag=TAG)
    async def get_openapi(call: Call) -> dict[str, Any]:
        """The API as an OpenAPI 3.1 document, with the HTTP triggers there are."""
        return openapi.document(everything, await triggers.list_triggers(call.session))

    @operation("GET", "/docs", tag=TAG, access="open", media="text/html")
    async def get_docs(call: Call) -> Response:
        """The API as a page."""
        del call
        headers = {"Content-Security-Policy": docs.CONTENT_SECURITY}
        return Response(page, 200, headers, "text/html; charset=utf-8")

    handlers = (
        *(root, get_health, get_ready, get_cluster, get_telemetry),
        *(get_metrics, get_openapi, get_docs),
    )
    mine = [operation_of(handler) for handler in handlers]
    everything = [*listed, *mine]
    page = docs.page(openapi.document(everything)).encode()
    return mine
