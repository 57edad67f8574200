"""Times as the tables show them: UTC, 24 hours (``cli.md`` 1.10)."""

from __future__ import annotations

from datetime import UTC, datetime

from dagnats.model.times import MILLISECOND, SECOND, format_duration, read_time


def date_time(text: str) -> str:
    """``YYYY-MM-DD HH:MM:SS`` of an RFC 3339 time; ``-`` when it is unset."""
    return _formatted(text, "%Y-%m-%d %H:%M:%S")


def minute(text: str) -> str:
    """``YYYY-MM-DD HH:MM`` of an RFC 3339 time; ``-`` when it is unset."""
    return _formatted(text, "%Y-%m-%d %H:%M")


def clock(text: str) -> str:
    """``HH:MM:SS`` of an RFC 3339 time; ``-`` when it is unset."""
    return _formatted(text, "%H:%M:%S")


def _formatted(text: str, pattern: str) -> str:
    instant = read_time(text)
    if instant is None:
        return "-"
    return datetime.fromtimestamp(instant // SECOND, tz=UTC).strftime(pattern)


def elapsed(nanoseconds: int) -> str:
    """A duration cut to milliseconds, or to tenths of a second from ten seconds on."""
    if 0 < nanoseconds < MILLISECOND:
        return "<1ms"
    step = MILLISECOND if nanoseconds < 10 * SECOND else SECOND // 10
    return format_duration(max(nanoseconds, 0) // step * step)


def between(start: str, end: str, now: int) -> str:
    """How long something took from ``start`` to ``end``, or to ``now`` while it goes on."""
    begin = read_time(start)
    if begin is None:
        return ""
    return elapsed((read_time(end) or now) - begin)
