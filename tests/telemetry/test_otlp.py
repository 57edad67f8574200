"""What a collector gets, in OpenTelemetry's own protobuf."""

from __future__ import annotations

import asyncio
import gzip
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from dagnats.runtime.telemetry import otlp
from dagnats.runtime.telemetry.exporter import Telemetry
from dagnats.telemetry.metrics import METRICS
from dagnats.telemetry.spans import SCOPE, TRACER, Scope
from dagnats.wire.stores import Stores

KINDS = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/logs": ExportLogsServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
}
PARENT = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"


class Collector:
    def __init__(self) -> None:
        self.got: dict[str, list[Any]] = {path: [] for path in KINDS}
        self.status = 200
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                if collector.status == 200:
                    message = KINDS[self.path]()
                    message.ParseFromString(body)
                    collector.got[self.path].append(message)
                self.send_response(collector.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


async def test_a_collector_gets_spans_records_and_metrics(
    stores: Stores, collector: Collector
) -> None:
    telemetry = Telemetry(stores, endpoint=collector.url)
    telemetry.start()
    METRICS.counter("otlp.test", "A test.", ("kind",)).add(3, "a")
    METRICS.histogram("otlp.spread", "A test.").observe(7)
    METRICS.gauge("otlp.level", "A test.").set(1.5)
    with TRACER.span("outer", "server", PARENT, {"run_id": "r1", "n": 1}) as span:
        SCOPE.set(Scope(span.traceparent, {"run_id": "r1"}))
        logging.getLogger("dagnats.engine").error("it broke", extra={"about": {"a": "b"}})
        SCOPE.set(None)
        span.fail("no luck")
    await telemetry.stop()

    (request,) = collector.got["/v1/traces"]
    (resource,) = request.resource_spans
    assert resource.resource.attributes[-1].value.string_value
    (got,) = resource.scope_spans[0].spans
    assert (got.trace_id.hex(), got.parent_span_id.hex()) == ("ab" * 16, "cd" * 8)
    assert (got.name, got.status.code, got.status.message) == ("outer", 2, "no luck")
    assert {pair.key for pair in got.attributes} == {"run_id", "n"}

    (request,) = collector.got["/v1/logs"]
    records = request.resource_logs[0].scope_logs[0].log_records
    record = next(one for one in records if one.body.string_value == "it broke")
    assert (record.trace_id.hex(), record.severity_text) == ("ab" * 16, "ERROR")
    about = {pair.key: pair.value.string_value for pair in record.attributes}
    assert about == {"a": "b", "run_id": "r1", "component": "engine"}

    (request,) = collector.got["/v1/metrics"]
    metrics = {one.name: one for one in request.resource_metrics[0].scope_metrics[0].metrics}
    assert metrics["otlp.test"].sum.data_points[0].as_double == 3 or (
        metrics["otlp.test"].sum.data_points[0].as_int == 3
    )
    assert metrics["otlp.test"].sum.is_monotonic
    assert metrics["otlp.spread"].histogram.data_points[0].count == 1
    assert metrics["otlp.level"].gauge.data_points[0].as_double == 1.5


async def test_a_collector_that_is_away_is_told_once_and_loses_nothing(
    stores: Stores, collector: Collector, monkeypatch, caplog
) -> None:
    monkeypatch.setattr(otlp, "EVERY_S", 0.05)
    collector.status = 400
    telemetry = Telemetry(stores, endpoint=collector.url)
    telemetry.start()
    with TRACER.span("kept", "server", PARENT):
        await asyncio.sleep(0)
    await asyncio.sleep(0.5)
    collector.status = 200
    await telemetry.stop()
    told = [record for record in caplog.records if record.message == "telemetry cannot be sent"]
    assert len(told) == 1
    names = [
        span.name
        for request in collector.got["/v1/traces"]
        for span in request.resource_spans[0].scope_spans[0].spans
    ]
    assert names == ["kept"]
