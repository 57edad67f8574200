"""The trace of a run: what took how long, because of what."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from dagnats.model.spans import Span, Value
from dagnats.model.times import MILLISECOND, format_time
from dagnats.services.session import Session

MAX_SPANS = 10_000
"""Spans of one run that are read (``cli-beyond.md`` A2)."""

UNSET = "unset"


class SpanRow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One span of a run.

    Args:
        status: ``ok``, ``error`` or ``unset``.
        message: why, when it is an error.
        service: which process tells.
    """

    trace_id: str
    span_id: str
    parent_span_id: str = ""
    name: str
    duration_ms: float
    status: str
    start_time: str
    service: str
    message: str = ""
    attributes: dict[str, Value] = {}


class Branch(Struct, frozen=True):
    """A span in the tree of its trace.

    Args:
        row: the span.
        last: for each level down to this one, whether the branch is the last of its level.
    """

    row: SpanRow
    last: tuple[bool, ...]


async def run_trace(session: Session, run_id: str) -> list[SpanRow]:
    """The spans of a run, first begun first; empty when it was not traced, or too long ago.

    A busy server traces some runs only.
    """
    spans = await session.stores.spans.of_run(run_id, MAX_SPANS)
    # Told twice after a crash, or once more when a failed run was taken up again.
    newest = {(span.trace_id, span.span_id): span for span in spans}
    return [_row(span) for span in sorted(newest.values(), key=_order)]


def _order(span: Span) -> tuple[int, int, str]:
    # What lasts longer comes first: it encloses what begins in the same moment.
    return span.start_ns, -span.end_ns, span.span_id


def _row(span: Span) -> SpanRow:
    return SpanRow(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_span_id=span.parent_id,
        name=span.name,
        duration_ms=max(0, span.end_ns - span.start_ns) / MILLISECOND,
        status=span.status or UNSET,
        start_time=format_time(span.start_ns),
        service=span.service,
        message=span.message,
        attributes=span.attributes,
    )


def trees(rows: list[SpanRow]) -> dict[str, list[Branch]]:
    """The spans of each trace as a tree, from the top down.

    A span whose parent is not there stands at the top.
    """
    found: dict[str, list[Branch]] = {}
    for trace_id in dict.fromkeys(row.trace_id for row in rows):
        found[trace_id] = list(_tree([row for row in rows if row.trace_id == trace_id]))
    return found


def _tree(rows: list[SpanRow]) -> Iterator[Branch]:
    known = {row.span_id for row in rows}
    children: dict[str, list[SpanRow]] = {}
    for row in rows:
        parent = row.parent_span_id if row.parent_span_id in known - {row.span_id} else ""
        children.setdefault(parent, []).append(row)
    left: list[Branch] = _branches(children.get("", []), ())
    while left:
        branch = left.pop()
        yield branch
        left += _branches(children.pop(branch.row.span_id, []), branch.last)


def _branches(rows: list[SpanRow], above: tuple[bool, ...]) -> list[Branch]:
    """Siblings, the last first: they are taken from the end."""
    made = [Branch(row, (*above, index == len(rows) - 1)) for index, row in enumerate(rows)]
    return made[::-1]
