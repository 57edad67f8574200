"""Metrics as they lie on the wire: the JSON of Go's OpenTelemetry SDK (``wire.md`` 11.3)."""

from __future__ import annotations

from typing import Any

from dagnats.model.times import format_time
from dagnats.telemetry.metrics import BOUNDS_MS, Gauge, Histogram, Labels, Metric, Point


def record_of(metric: Metric, service: str, now_ns: int) -> dict[str, Any] | None:
    """A metric with all of its series; ``None`` while it has none.

    Args:
        metric: of this process.
        service: who says so.
        now_ns: the time, ns since 1970.
    """
    frame = {"StartTime": format_time(metric.since_ns), "Time": format_time(now_ns)}
    points = [
        {"Attributes": _attributes(metric.labels, labels), **frame, **values}
        for labels, values in _points(metric)
    ]
    if not points:
        return None
    data: dict[str, Any] = {"DataPoints": points}
    if not isinstance(metric, Gauge):
        data["Temporality"] = "CumulativeTemporality"
    if metric.monotonic:
        data["IsMonotonic"] = True
    return {
        "name": metric.name,
        "description": metric.help,
        "unit": "ms" if isinstance(metric, Histogram) else "",
        "serviceName": service,
        "data": data,
        "timestamp": format_time(now_ns),
    }


def _points(metric: Metric) -> list[tuple[Labels, dict[str, Any]]]:
    if isinstance(metric, Histogram):
        return [(labels, _spread(point)) for labels, point in sorted(metric.points.items())]
    values: dict[Labels, float] = getattr(metric, "values", {})
    return [(labels, {"Value": value}) for labels, value in sorted(values.items())]


def _spread(point: Point) -> dict[str, Any]:
    return {
        "Count": point.count,
        "Bounds": list(BOUNDS_MS),
        "BucketCounts": list(point.counts),
        "Min": point.least,
        "Max": point.most,
        "Sum": point.total,
    }


def _attributes(names: Labels, values: Labels) -> list[dict[str, Any]]:
    return [
        {"Key": name, "Value": {"Type": "STRING", "Value": value}}
        for name, value in zip(names, values, strict=True)
    ]
