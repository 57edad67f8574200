"""Everything a process tells about itself, sent to TELEMETRY: log, spans, metrics."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dagnats.errors import DagnatsError
from dagnats.model.codec import encode
from dagnats.model.spans import RUN_ID, Span, to_record
from dagnats.runtime.keeper import Keeper
from dagnats.runtime.telemetry.logs import ROOT, LogHandler, OfTasks
from dagnats.runtime.telemetry.metric_records import record_of
from dagnats.runtime.telemetry.spool import Spool
from dagnats.telemetry.metrics import METRICS
from dagnats.telemetry.spans import TRACER
from dagnats.wire import msgids, subjects
from dagnats.wire.publisher import Outgoing
from dagnats.wire.stores import Stores

if TYPE_CHECKING:
    from dagnats.runtime.telemetry.otlp import Otlp

log = logging.getLogger("dagnats.telemetry")

METRICS_S = 10.0
"""How often metrics are sent, in seconds (``engine.md`` TEL-1)."""

REPEAT_S = 60.0
"""How often one that has not changed is sent again."""


class Telemetry:
    """Sends what this process tells.

    Args:
        stores: the connection, provisioned.
        service: the name of the process: ``dagnats`` or ``worker``.
        endpoint: of an OTLP collector that gets everything as well; empty: there is none.

    Raises:
        NotFoundError: there is an endpoint, but what is needed to use it is not installed.
    """

    def __init__(
        self,
        stores: Stores,
        service: str = "dagnats",
        endpoint: str = "",
    ) -> None:
        self._service = service
        self._otlp = _otlp(endpoint, service) if endpoint else None
        self._logs = Spool(stores.publisher, "telemetry logs")
        self._rest = Spool(stores.publisher, "telemetry")
        self._before: Callable[[Span], None] | None = None
        self._sent: dict[str, tuple[float, Any]] = {}
        self._keeper = Keeper("metrics", self._measure, log)
        foreign = service if service != "dagnats" else "server"
        self._handler = LogHandler(
            self._logs, foreign, self._otlp.record if self._otlp is not None else None
        )
        # A server listens to its own loggers, a worker to what its handlers log as well.
        self._logger = logging.getLogger(ROOT if service == "dagnats" else "")
        if service != "dagnats":
            self._handler.addFilter(OfTasks())
            self._handler.setLevel(logging.INFO)

    def start(self) -> None:
        """Listen, and begin to send."""
        self._logger.addHandler(self._handler)
        # A worker may live in the process of a server, which goes on when the worker is gone.
        self._before, TRACER.sink = TRACER.sink, self._take
        self._logs.start()
        self._rest.start()
        self._keeper.start()
        if self._otlp is not None:
            self._otlp.start()

    async def stop(self) -> None:
        """Send what waits, unless that takes too long, and listen no more."""
        self._logger.removeHandler(self._handler)
        if TRACER.sink == self._take:
            TRACER.sink = self._before
        await self._keeper.stop()
        await self._logs.stop()
        await self._rest.stop()
        if self._otlp is not None:
            await self._otlp.stop()

    def _take(self, span: Span) -> None:
        self._rest.put(span_message(span))
        if self._otlp is not None:
            self._otlp.span(span)

    async def _measure(self) -> None:
        while True:
            await asyncio.sleep(METRICS_S)
            for refresh in tuple(METRICS.before):
                # What cannot be looked at has no value just now; the rest is sent all the same.
                with contextlib.suppress(DagnatsError, TimeoutError):
                    await refresh()
            for message in self._changed(time.time_ns()):
                self._rest.put(message)

    def _changed(self, now_ns: int) -> list[Outgoing]:
        """The metrics that are worth sending."""
        messages: list[Outgoing] = []
        now = time.monotonic()
        for metric in METRICS:
            record = record_of(metric, self._service, now_ns)
            if record is None:
                continue
            values = [
                {key: value for key, value in point.items() if key != "Time"}
                for point in record["data"]["DataPoints"]
            ]
            sent, before = self._sent.get(metric.name, (0.0, None))
            if values == before and now - sent < REPEAT_S:
                continue
            self._sent[metric.name] = (now, values)
            messages.append(
                Outgoing(
                    subjects.metric(self._service, metric.name),
                    encode(record),
                    msgids.metric(metric.name, now_ns, len(messages)),
                )
            )
        return messages


def _otlp(endpoint: str, service: str) -> Otlp:
    from dagnats.runtime.telemetry.otlp import Otlp

    return Otlp(endpoint, service)


def span_message(span: Span) -> Outgoing:
    """A span for TELEMETRY."""
    run_id = str(span.attributes.get(RUN_ID, ""))
    return Outgoing(
        subjects.span(span.service, run_id),
        encode(to_record(span)),
        msgids.span(span.trace_id, span.span_id),
    )
