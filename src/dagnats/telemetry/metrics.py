"""Counters, gauges and histograms of this process, and their text for Prometheus.

Names are those of ``engine.md`` 12.1; dots become underscores in the text. Run ids are never
labels, and no metric grows beyond :data:`MAX_SERIES` combinations of labels.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterator

from msgspec import Struct, field

MAX_SERIES = 2_000
"""Combinations of labels kept per metric; what comes after is counted under ``other``."""

OTHER = "other"

BOUNDS_MS = (1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1e3, 2.5e3, 5e3, 1e4, 6e4, 6e5)
"""Upper bounds of histogram buckets, in milliseconds: from a quick step to a long one."""

Labels = tuple[str, ...]


class Point(Struct):
    """One series of a histogram: observations per bucket (the last one unbounded)."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_MS) + 1))
    total: float = 0.0
    count: int = 0
    least: float = float("inf")
    most: float = float("-inf")


class Metric:
    """What all kinds share.

    Args:
        name: as in ``engine.md`` 12.1.
        help: one line for people.
        labels: the names of the labels.
    """

    kind = "untyped"
    monotonic = False

    def __init__(self, name: str, help: str, labels: Labels = ()) -> None:  # noqa: A002
        self.name = name
        self.help = help
        self.labels = labels
        self.since_ns = time.time_ns()

    def _key(self, series: object, values: Labels) -> Labels:
        """The series of these label values, or the one for all that are too many."""
        assert len(values) == len(self.labels), f"{self.name} takes {self.labels}"
        assert isinstance(series, dict)
        if values in series or len(series) < MAX_SERIES:  # pyright: ignore[reportUnknownArgumentType]
            return values
        return (OTHER,) * len(values)

    def lines(self) -> Iterator[str]:
        """The metric in Prometheus' text format, without its heading."""
        raise AssertionError("a kind of metric gives its own lines")


class Counter(Metric):
    """Only ever grows."""

    kind = "counter"
    monotonic = True

    def __init__(self, name: str, help: str, labels: Labels = ()) -> None:  # noqa: A002
        super().__init__(name, help, labels)
        self.values: dict[Labels, float] = {} if labels else {(): 0}

    def add(self, amount: float = 1, *labels: str) -> None:
        """Count ``amount`` more."""
        key = self._key(self.values, labels)
        self.values[key] = self.values.get(key, 0) + amount

    def lines(self) -> Iterator[str]:
        """See :meth:`Metric.lines`."""
        yield from _plain(self, self.values)


class Gauge(Metric):
    """A value that goes up and down.

    Args:
        read: gives the value when it is asked for; then nobody sets it.
    """

    kind = "gauge"

    def __init__(
        self,
        name: str,
        help: str,  # noqa: A002
        labels: Labels = (),
        read: Callable[[], dict[Labels, float]] | None = None,
    ) -> None:
        super().__init__(name, help, labels)
        self._values: dict[Labels, float] = {}
        self.read = read

    @property
    def values(self) -> dict[Labels, float]:
        """The series as they stand now."""
        return self._values if self.read is None else self.read()

    def set(self, value: float, *labels: str) -> None:
        """Say what the value is."""
        self._values[self._key(self._values, labels)] = value

    def add(self, amount: float, *labels: str) -> None:
        """Move the value by ``amount``."""
        key = self._key(self._values, labels)
        self._values[key] = self._values.get(key, 0) + amount

    def drop(self, *labels: str) -> None:
        """Forget a series: the thing it was about is gone."""
        self._values.pop(labels, None)

    def lines(self) -> Iterator[str]:
        """See :meth:`Metric.lines`."""
        yield from _plain(self, self.values)


class Histogram(Metric):
    """How values, in milliseconds, are distributed."""

    kind = "histogram"

    def __init__(self, name: str, help: str, labels: Labels = ()) -> None:  # noqa: A002
        super().__init__(name, help, labels)
        self.points: dict[Labels, Point] = {}

    def observe(self, value: float, *labels: str) -> None:
        """Add one observation, in milliseconds."""
        key = self._key(self.points, labels)
        point = self.points.get(key)
        if point is None:
            point = self.points[key] = Point()
        point.counts[bisect_left(BOUNDS_MS, value)] += 1
        point.total += value
        point.count += 1
        point.least, point.most = min(point.least, value), max(point.most, value)

    def lines(self) -> Iterator[str]:
        """See :meth:`Metric.lines`."""
        name = prometheus_name(self.name)
        for labels, point in sorted(self.points.items()):
            running = 0
            for bound, count in zip((*BOUNDS_MS, float("inf")), point.counts, strict=True):
                running += count
                edge = "+Inf" if bound == float("inf") else _number(bound)
                yield f"{name}_bucket{_braces(self.labels, labels, edge)} {running}"
            yield f"{name}_sum{_braces(self.labels, labels)} {_number(point.total)}"
            yield f"{name}_count{_braces(self.labels, labels)} {point.count}"


class Registry:
    """The metrics of a process, by name. Asking for one that exists gives that one.

    Attributes:
        before: called before the metrics are sent, so that gauges about other things than this
            process are not stale.
    """

    def __init__(self) -> None:
        self._metrics: dict[str, Metric] = {}
        self.before: list[Callable[[], Awaitable[None]]] = []

    def __iter__(self) -> Iterator[Metric]:
        return iter([self._metrics[name] for name in sorted(self._metrics)])

    def counter(self, name: str, help: str, labels: Labels = ()) -> Counter:  # noqa: A002
        """A counter."""
        found = self._metrics.setdefault(name, Counter(name, help, labels))
        assert isinstance(found, Counter)
        return found

    def gauge(
        self,
        name: str,
        help: str,  # noqa: A002
        labels: Labels = (),
        read: Callable[[], dict[Labels, float]] | None = None,
    ) -> Gauge:
        """A gauge; a later ``read`` takes the place of an earlier one."""
        found = self._metrics.setdefault(name, Gauge(name, help, labels))
        assert isinstance(found, Gauge)
        found.read = read or found.read
        return found

    def histogram(self, name: str, help: str, labels: Labels = ()) -> Histogram:  # noqa: A002
        """A histogram."""
        found = self._metrics.setdefault(name, Histogram(name, help, labels))
        assert isinstance(found, Histogram)
        return found

    def render(self) -> str:
        """Everything in Prometheus' text format 0.0.4."""
        out: list[str] = []
        for metric in self:
            name = prometheus_name(metric.name)
            out += [f"# HELP {name} {metric.help}", f"# TYPE {name} {metric.kind}"]
            out += metric.lines()
        return "\n".join(out) + "\n"


METRICS = Registry()
"""The registry of this process."""


def prometheus_name(name: str) -> str:
    """A metric's name as Prometheus takes it."""
    return re.sub(r"[^a-zA-Z0-9_:]", "_", name)


def _plain(metric: Metric, values: dict[Labels, float]) -> Iterator[str]:
    name = prometheus_name(metric.name)
    for labels, value in sorted(values.items()):
        yield f"{name}{_braces(metric.labels, labels)} {_number(value)}"


def _braces(names: Labels, values: Labels, edge: str = "") -> str:
    pairs = [*zip(names, values, strict=True), *([("le", edge)] if edge else [])]
    inside = ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs)
    return f"{{{inside}}}" if inside else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
