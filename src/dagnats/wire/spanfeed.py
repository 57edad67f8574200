"""The spans in stream TELEMETRY."""

from __future__ import annotations

from dagnats.errors import InvalidError
from dagnats.model.codec import decode
from dagnats.model.spans import Span, SpanRecord, of_record
from dagnats.wire import subjects
from dagnats.wire.connection import Bus
from dagnats.wire.direct import walk
from dagnats.wire.errors import MissingError

TELEMETRY = "TELEMETRY"


class Spans:
    """Spans of runs.

    Args:
        bus: the connection.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def of_run(self, run_id: str, limit: int) -> list[Span]:
        """The first ``limit`` spans of a run, in the order in which they were stored."""
        found: list[Span] = []
        try:
            await self._bus.api(f"STREAM.INFO.{TELEMETRY}")
        except MissingError:
            return found  # A server that keeps no telemetry.
        async for msg in walk(self._bus, TELEMETRY, subjects.spans(run_id), 0):
            span = _span(msg.subject, msg.data)
            if span is not None:
                found.append(span)
            if len(found) == limit:
                break
        return found


def _span(subject: str, data: bytes) -> Span | None:
    try:
        span = of_record(decode(data, SpanRecord), subject.split(".")[2])
    except InvalidError:
        return None
    return span if span.trace_id and span.span_id else None
