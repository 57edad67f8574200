"""Spans: what took how long, because of what. As ours, and as they lie on the wire.

On the wire a span is the protojson of OpenTelemetry's ``Span`` (``wire.md`` 11.1): ids in base64,
times as text. Readers of another make skip spans with keys they do not know, so there are no more.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable
from typing import Any

from msgspec import Struct, field

from dagnats.model.codec import Wire

Value = str | int | float | bool

KINDS = ("internal", "server", "client", "producer", "consumer")
OK, ERROR = "ok", "error"

RUN_ID = "run_id"
STEP_ID = "step_id"


class Span(Struct, kw_only=True):
    """One span that has ended.

    Args:
        trace_id: 32 hex digits.
        span_id: 16 hex digits.
        parent_id: 16 hex digits; empty for the first of a trace.
        name: what it is.
        kind: one of :data:`KINDS`.
        start_ns, end_ns: ns since 1970.
        attributes: what it is about; ``run_id`` decides where it is kept.
        status: ``ok``, ``error`` or empty.
        message: why, when the status is ``error``.
        service: who says so.
    """

    trace_id: str
    span_id: str
    parent_id: str = ""
    name: str
    kind: str = "internal"
    start_ns: int
    end_ns: int = 0
    attributes: dict[str, Value] = {}
    status: str = ""
    message: str = ""
    service: str = "dagnats"


class AnyValue(Wire, rename="camel"):
    """A value of an attribute; one key is set."""

    string_value: str | None = None
    int_value: str | int | None = None
    double_value: float | None = None
    bool_value: bool | None = None


class KeyValue(Wire):
    """An attribute."""

    key: str = ""
    value: AnyValue = field(default_factory=AnyValue)


class StatusRecord(Wire):
    """How a span ended."""

    message: str = ""
    code: str | int = ""


class SpanRecord(Wire, rename="camel"):
    """A span on the wire."""

    trace_id: str = ""
    span_id: str = ""
    trace_state: str = ""
    parent_span_id: str = ""
    name: str = ""
    kind: str | int = ""
    start_time_unix_nano: str | int = ""
    end_time_unix_nano: str | int = ""
    attributes: list[KeyValue] = []
    status: StatusRecord = field(default_factory=StatusRecord)


def to_record(span: Span) -> SpanRecord:
    """A span as it lies on the wire."""
    code = {OK: "STATUS_CODE_OK", ERROR: "STATUS_CODE_ERROR"}.get(span.status, "")
    return SpanRecord(
        trace_id=_base64(span.trace_id),
        span_id=_base64(span.span_id),
        parent_span_id=_base64(span.parent_id),
        name=span.name,
        kind=f"SPAN_KIND_{span.kind.upper()}",
        start_time_unix_nano=str(span.start_ns),
        end_time_unix_nano=str(span.end_ns),
        attributes=[KeyValue(key=k, value=_value(v)) for k, v in span.attributes.items()],
        status=StatusRecord(message=span.message, code=code),
    )


def of_record(record: SpanRecord, service: str = "") -> Span:
    """A span as it was read; what makes no sense is empty."""
    return Span(
        trace_id=_hex(record.trace_id),
        span_id=_hex(record.span_id),
        parent_id=_hex(record.parent_span_id),
        name=record.name,
        kind=_kind(record.kind),
        start_ns=_number(record.start_time_unix_nano),
        end_ns=_number(record.end_time_unix_nano),
        attributes=dict(_attributes(record.attributes)),
        status=_status(record.status.code),
        message=record.status.message,
        service=service,
    )


def _base64(digits: str) -> str:
    return b64encode(bytes.fromhex(digits)).decode()


def _hex(text: str) -> str:
    try:
        return b64decode(text, validate=True).hex()
    except (Base64Error, ValueError):
        return ""


def _number(value: str | int) -> int:
    return int(value) if isinstance(value, int) or value.isdecimal() else 0


def _kind(value: str | int) -> str:
    if isinstance(value, int):  # protojson may give the number of an enum
        return KINDS[value - 1] if 1 <= value <= len(KINDS) else ""
    kind = value.removeprefix("SPAN_KIND_").lower()
    return kind if kind in KINDS else ""


def _status(code: str | int) -> str:
    return {"STATUS_CODE_OK": OK, "STATUS_CODE_ERROR": ERROR, 1: OK, 2: ERROR}.get(code, "")


def _value(value: Value) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=str(value))
    return (
        AnyValue(double_value=value) if isinstance(value, float) else AnyValue(string_value=value)
    )


def _attributes(pairs: Iterable[KeyValue]) -> Iterable[tuple[str, Any]]:
    for pair in pairs:
        value = pair.value
        if value.int_value is not None:
            yield pair.key, _number(value.int_value)
            continue
        given = (value.string_value, value.double_value, value.bool_value)
        yield pair.key, next((one for one in given if one is not None), "")
