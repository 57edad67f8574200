"""Telemetry by OTLP over HTTP, with the exporters of the OpenTelemetry SDK.

Imported only when an endpoint is configured. The variables of the SDK (headers, certificates,
compression, one endpoint per signal) hold here as everywhere.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from dagnats.errors import NotFoundError
from dagnats.model.records import LogRecord
from dagnats.model.spans import ERROR, OK, Span
from dagnats.model.times import read_time
from dagnats.runtime.keeper import Keeper
from dagnats.telemetry.metrics import BOUNDS_MS, METRICS, Gauge, Histogram, Labels, Metric

try:
    from opentelemetry._logs import LogRecord as OtelRecord
    from opentelemetry._logs import SeverityNumber
    from opentelemetry.context import Context
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk._logs import ReadableLogRecord
    from opentelemetry.sdk.metrics import export as points
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import (
        NonRecordingSpan,
        SpanContext,
        SpanKind,
        Status,
        StatusCode,
        TraceFlags,
        set_span_in_context,
    )
except ImportError:
    raise NotFoundError(
        "otlp_endpoint needs the OpenTelemetry SDK, which is not installed",
        "pip install 'dagnats[otlp]'",
    ) from None

log = logging.getLogger("dagnats.telemetry")

EVERY_S = 2.0
"""How often spans and log records are sent, in seconds."""

METRICS_S = 10.0
"""How often metrics are sent, in seconds (``engine.md`` TEL-1)."""

HELD = 10_000
"""Spans, and log records, that wait while nobody answers; the oldest go first."""

LAST_S = 2.0
"""How long the last word of a process may take, in seconds."""

BATCH = 512
_SCOPE = InstrumentationScope("dagnats")
_CUMULATIVE = points.AggregationTemporality.CUMULATIVE
_SEVERITY = {
    "DEBUG": SeverityNumber.DEBUG,
    "INFO": SeverityNumber.INFO,
    "WARN": SeverityNumber.WARN,
    "ERROR": SeverityNumber.ERROR,
}


class Otlp:
    """Sends spans, log records and metrics to a collector.

    Args:
        endpoint: base address, such as ``http://localhost:4318``.
        service: the name of this process.
    """

    def __init__(self, endpoint: str, service: str = "dagnats") -> None:
        # What the SDK has to say about a collector that is away, we say once.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._resource = Resource.create({"service.name": service})
        self._traces = OTLPSpanExporter(endpoint=_address(endpoint, "traces"))
        self._logs = OTLPLogExporter(endpoint=_address(endpoint, "logs"))
        self._metrics = OTLPMetricExporter(endpoint=_address(endpoint, "metrics"))
        self._endpoint = endpoint
        self._spans: deque[Span] = deque(maxlen=HELD)
        self._records: deque[LogRecord] = deque(maxlen=HELD)
        self._measured = time.monotonic()
        self._away = False
        self._sending = threading.Lock()
        self._keeper = Keeper("otlp", self._run, log)

    def span(self, span: Span) -> None:
        """Take a span that has ended."""
        self._spans.append(span)

    def record(self, record: LogRecord) -> None:
        """Take a log record."""
        self._records.append(record)

    def start(self) -> None:
        """Begin to send."""
        self._keeper.start()

    async def stop(self) -> None:
        """Send what waits, as far as somebody takes it in time, and end."""
        await self._keeper.stop()
        last = asyncio.ensure_future(asyncio.to_thread(self._send, last=True))
        await asyncio.wait({last}, timeout=LAST_S)
        for exporter in (self._traces, self._logs, self._metrics):
            exporter.shutdown()  # One that is still trying gives up.
        await asyncio.wait({last}, timeout=LAST_S)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            await asyncio.to_thread(self._send)

    def _send(self, *, last: bool = False) -> None:
        """Send what waits; runs in a thread, since the exporters wait for answers."""
        with self._sending:
            self._send_all(last)

    def _send_all(self, last: bool) -> None:
        well = self._drain(self._spans, lambda batch: self._traces.export(_spans(self, batch)))
        well &= self._drain(self._records, lambda batch: self._logs.export(_records(self, batch)))
        now = time.monotonic()
        if last or now - self._measured >= METRICS_S:
            self._measured = now
            data = _metrics(self._resource, time.time_ns())
            well &= self._metrics.export(data).name == "SUCCESS"
        if not well and not self._away:
            log.warning("telemetry cannot be sent", extra={"about": {"endpoint": self._endpoint}})
        self._away = not well

    @staticmethod
    def _drain(waiting: deque[Any], export: Callable[[list[Any]], Any]) -> bool:
        """Send what waits in batches; what is refused waits on, and the rest behind it."""
        while waiting:
            batch = [waiting[at] for at in range(min(BATCH, len(waiting)))]
            if export(batch).name != "SUCCESS":
                return False
            for _ in batch:
                if waiting:
                    waiting.popleft()
        return True

    @property
    def resource(self) -> Resource:
        """What all of it is about."""
        return self._resource


def _address(endpoint: str, signal: str) -> str | None:
    """Where a signal goes; the SDK's own variable for it wins."""
    if os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT"):
        return None
    return f"{endpoint.rstrip('/')}/v1/{signal}"


def _context(trace_id: str, span_id: str) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=flags)


def _spans(otlp: Otlp, spans: Sequence[Span]) -> list[ReadableSpan]:
    codes = {OK: StatusCode.OK, ERROR: StatusCode.ERROR}
    return [
        ReadableSpan(
            name=span.name,
            context=_context(span.trace_id, span.span_id),
            parent=_context(span.trace_id, span.parent_id) if span.parent_id else None,
            resource=otlp.resource,
            attributes=dict(span.attributes),
            kind=SpanKind[span.kind.upper()],
            status=Status(
                codes.get(span.status, StatusCode.UNSET),
                span.message or None if span.status == ERROR else None,
            ),
            start_time=span.start_ns,
            end_time=span.end_ns,
            instrumentation_scope=_SCOPE,
        )
        for span in spans
    ]


def _where(record: LogRecord) -> Context | None:
    """The span that was open when a record was made."""
    if not (record.trace_id and record.span_id):
        return None
    return set_span_in_context(NonRecordingSpan(_context(record.trace_id, record.span_id)))


def _records(otlp: Otlp, records: Sequence[LogRecord]) -> list[ReadableLogRecord]:
    return [
        ReadableLogRecord(
            OtelRecord(
                timestamp=read_time(record.timestamp) or 0,
                context=_where(record),
                severity_text=record.severity,
                severity_number=_SEVERITY.get(record.severity, SeverityNumber.UNSPECIFIED),
                body=record.body,
                attributes={**record.attributes, "component": record.service_name},
            ),
            otlp.resource,
            _SCOPE,
        )
        for record in records
    ]


def _metrics(resource: Resource, now: int) -> points.MetricsData:
    made = [
        points.Metric(metric.name, metric.help, _unit(metric), _data(metric, now))
        for metric in METRICS
    ]
    scope = points.ScopeMetrics(_SCOPE, made, "")
    return points.MetricsData([points.ResourceMetrics(resource, [scope], "")])


def _unit(metric: Metric) -> str:
    return "ms" if isinstance(metric, Histogram) else ""


def _data(metric: Metric, now: int) -> points.Sum | points.Gauge | points.Histogram:
    def about(labels: Labels) -> dict[str, str]:
        return dict(zip(metric.labels, labels, strict=True))

    if isinstance(metric, Histogram):
        return points.Histogram(
            [
                points.HistogramDataPoint(
                    about(labels),
                    metric.since_ns,
                    now,
                    point.count,
                    point.total,
                    list(point.counts),
                    list(BOUNDS_MS),
                    point.least,
                    point.most,
                )
                for labels, point in list(metric.points.items())
            ],
            _CUMULATIVE,
        )
    values: dict[Labels, float] = getattr(metric, "values", {})
    numbers = [
        points.NumberDataPoint(about(labels), metric.since_ns, now, value)
        for labels, value in list(values.items())
    ]
    if isinstance(metric, Gauge):
        return points.Gauge(numbers)
    return points.Sum(numbers, _CUMULATIVE, metric.monotonic)
