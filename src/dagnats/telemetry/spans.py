"""Spans of this process: begun, ended, and handed to whoever keeps them.

Nothing is recorded until somebody takes spans, and then only so many traces a second as
:data:`TRACES_PER_SECOND` says: a busy deployment is sampled, a quiet one is traced completely. Who
begins a trace decides for everybody (the sampled flag of W3C trace context).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator
from contextvars import ContextVar

from msgspec import Struct, field

from dagnats.model.spans import ERROR, RUN_ID, Span, Value
from dagnats.telemetry.context import (
    is_sampled,
    make_traceparent,
    new_span_id,
    new_trace_id,
    span_id_of,
    trace_id_of,
)

TRACES_PER_SECOND = 20.0
"""Traces this process begins a second, on average; those begun elsewhere are followed anyway."""

SERVER = "dagnats"
"""The service of spans that a server makes."""

BURST = 100
"""Traces it may begin at once after a quiet time."""


class Scope(Struct, frozen=True):
    """What goes on here.

    Args:
        traceparent: the context of the current span.
        attributes: what log records are about.
        span: the current span, if it is recorded here.
    """

    traceparent: str = ""
    attributes: dict[str, str] = field(default_factory=dict[str, str])
    span: Open | None = None


SCOPE: ContextVar[Scope | None] = ContextVar("dagnats_scope", default=None)
"""Set while a task or a request is worked on."""


class Tracer:
    """Makes spans.

    Attributes:
        sink: takes spans that have ended; ``None``: nobody does, and nothing is recorded.
    """

    def __init__(self) -> None:
        self.sink: Callable[[Span], None] | None = None
        self._tokens = float(BURST)
        self._filled = time.monotonic()

    def samples(self) -> bool:
        """Whether a trace that begins now is to be recorded."""
        if self.sink is None:
            return False
        now = time.monotonic()
        self._tokens = min(BURST, self._tokens + (now - self._filled) * TRACES_PER_SECOND)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def follows(self, traceparent: str) -> bool:
        """Whether spans of this trace are to be recorded."""
        return self.sink is not None and is_sampled(traceparent)

    @staticmethod
    def now() -> int:
        """The time, ns since 1970."""
        return time.time_ns()

    def emit(self, span: Span) -> None:
        """Hand on a span that has ended."""
        if self.sink is not None:
            self.sink(span)

    @contextlib.contextmanager
    def span(
        self,
        name: str,
        kind: str,
        parent: str = "",
        attributes: dict[str, Value] | None = None,
        *,
        service: str = SERVER,
    ) -> Generator[Open]:
        """A span round a block; an error that leaves the block is the span's.

        Args:
            name: what is done.
            kind: as in :class:`Span`.
            parent: context it belongs to; empty: a trace begins here.
            attributes: what it is about.
            service: whose span it is.
        """
        recorded = self._wanted(parent)
        opened = Open(name, kind, parent, attributes or {}, recorded=recorded, service=service)
        before = SCOPE.get()
        about = before.attributes if before else {}
        token = SCOPE.set(Scope(opened.traceparent, about, opened if recorded else None))
        try:
            yield opened
        except Exception as error:
            opened.fail(str(error) or type(error).__name__)
            raise
        finally:
            SCOPE.reset(token)
            if opened.recorded:
                self.emit(opened.closed())

    def _wanted(self, parent: str) -> bool:
        return self.follows(parent) if trace_id_of(parent) else self.samples()


class Open:
    """A span that has begun.

    Attributes:
        recorded: whether anybody will see it.
        traceparent: the context to pass on: its own, or the parent's when it is not recorded.
        attributes: may be added to.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        parent: str,
        attributes: dict[str, Value],
        *,
        recorded: bool,
        service: str = SERVER,
    ) -> None:
        self.recorded = recorded
        self.attributes = attributes
        self._service = service
        self._name, self._kind, self._parent = name, kind, span_id_of(parent)
        self._start = time.time_ns()
        self._error = ""
        self.traceparent = parent
        if recorded:
            self._trace = trace_id_of(parent) or new_trace_id()
            self._span = new_span_id()
            self.traceparent = make_traceparent(self._trace, self._span)

    def fail(self, message: str) -> None:
        """It did not go well."""
        self._error = message

    def closed(self) -> Span:
        """The span as it ends now."""
        return Span(
            trace_id=self._trace,
            span_id=self._span,
            parent_id=self._parent,
            name=self._name,
            kind=self._kind,
            start_ns=self._start,
            end_ns=time.time_ns(),
            attributes=self.attributes,
            status=ERROR if self._error else "",
            message=self._error[:1000],
            service=self._service,
        )


def context_for(run_id: str) -> str:
    """The context that a run started here belongs to; the current span is about it from now on.

    Args:
        run_id: of the run.
    """
    scope = SCOPE.get()
    if scope is None:
        return ""
    if scope.span is not None:
        scope.span.attributes.setdefault(RUN_ID, run_id)
    return scope.traceparent


TRACER = Tracer()
"""The tracer of this process."""
