"""Go's text forms of time and duration, as integers of nanoseconds here.

Times on the wire stay text (nine digits, any offset, year 1 for "unset" all survive a round
trip); these functions turn them into nanoseconds since 1970 and back.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated

import msgspec

NANOSECOND = 1
MICROSECOND = 1_000
MILLISECOND = 1_000_000
SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

ZERO_TIME = "0001-01-01T00:00:00Z"
"""Go's zero ``time.Time``: a time that was never set."""

DURATION = {"kind": "duration"}
"""Marks a field as a duration for readers and writers that treat those as text."""

Duration = Annotated[int, msgspec.Meta(extra=DURATION)]
"""Nanoseconds. In workflow files a Go-style string such as ``"1m30s"`` is accepted as well."""

_UNITS = {
    "ns": NANOSECOND,
    "us": MICROSECOND,
    "µs": MICROSECOND,
    "μs": MICROSECOND,
    "ms": MILLISECOND,
    "s": SECOND,
    "m": MINUTE,
    "h": HOUR,
}
_DAYS = {"d": DAY, "w": 7 * DAY}
_TERM = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([a-zµμ]*)")
_TIME = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.(\d{1,9})\d*)?"
    r"(?:Z|([+-])([01]\d|2[0-3]):([0-5]\d))",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INT64_MAX = (1 << 63) - 1


def parse_duration(text: str, *, days: bool = False) -> int:
    """Nanoseconds of a Go duration text such as ``1h30m`` or ``-1.5s``.

    Args:
        text: the duration.
        days: accept ``d`` and ``w`` as well, which Go does not.

    Raises:
        ValueError: with Go's wording, e.g. ``time: missing unit in duration "10"``.
    """
    units = _UNITS | _DAYS if days else _UNITS
    body = text[1:] if text[:1] in ("-", "+") else text
    if body == "0":
        return 0
    if not body or len(text) > 100:
        raise ValueError(f'time: invalid duration "{text[:100]}"')
    total, at = 0, 0
    while at < len(body):
        term = _TERM.match(body, at)
        if term is None:
            raise ValueError(f'time: invalid duration "{text}"')
        number, unit = term.groups()
        if not unit:
            raise ValueError(f'time: missing unit in duration "{text}"')
        if unit not in units:
            raise ValueError(f'time: unknown unit "{unit}" in duration "{text}"')
        whole, _, fraction = number.partition(".")
        scale = units[unit]
        total += int(whole or "0") * scale
        if fraction:
            total += int(fraction) * scale // 10 ** len(fraction)
        at = term.end()
    if total > _INT64_MAX:
        raise ValueError(f'time: invalid duration "{text}"')
    return -total if text[0] == "-" else total


def format_duration(nanoseconds: int) -> str:
    """Go's text of a duration: ``30m0s``, ``1m30s``, ``2.5s``, ``1.5ms``, ``0s``."""
    if nanoseconds == 0:
        return "0s"
    sign, value = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if value < SECOND:
        for unit, scale in (("ms", MILLISECOND), ("µs", MICROSECOND), ("ns", NANOSECOND)):
            if value >= scale:
                return f"{sign}{_decimal(value, scale)}{unit}"
    hours, rest = divmod(value, HOUR)
    minutes, rest = divmod(rest, MINUTE)
    text = f"{_decimal(rest, SECOND)}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    if hours:
        text = f"{hours}h{text}"
    return sign + text


def _decimal(value: int, scale: int) -> str:
    whole, fraction = divmod(value, scale)
    if not fraction:
        return str(whole)
    digits = f"{fraction:0{len(str(scale)) - 1}d}".rstrip("0")
    return f"{whole}.{digits}"


def parse_time(text: str) -> int | None:
    """Nanoseconds since 1970 of an RFC 3339 time; ``None`` for Go's zero time.

    Raises:
        ValueError: the text is not strict RFC 3339 (``T`` and a zone are required).
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f'not an RFC 3339 time: "{text[:64]}"')
    fraction, sign, offset_hours, offset_minutes = match.groups()
    if text[:4] <= "0001":
        return None
    seconds = _seconds_of(text[:19])
    if seconds is None:
        raise ValueError(f'not an RFC 3339 time: "{text[:64]}"')
    if sign:
        offset = int(offset_hours) * 3600 + int(offset_minutes) * 60
        seconds += offset if sign == "-" else -offset
    return seconds * SECOND + int((fraction or "0").ljust(9, "0"))


@lru_cache(4096)
def _seconds_of(text: str) -> int | None:
    """Seconds since 1970; ``None`` when there is no such day or time. Many times share a second."""
    try:
        moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        return None
    return (moment - _EPOCH) // timedelta(seconds=1)


def read_time(text: str) -> int | None:
    """Like :func:`parse_time`, for wire data: anything unreadable counts as unset."""
    try:
        return parse_time(text) if text else None
    except ValueError:
        return None


def format_time(nanoseconds: int) -> str:
    """RFC 3339 in UTC, up to nine fractional digits, trailing zeros removed, as Go writes it."""
    seconds, fraction = divmod(nanoseconds, SECOND)
    if not fraction:
        return _second_text(seconds) + "Z"
    return f"{_second_text(seconds)}.{fraction:09d}".rstrip("0") + "Z"


@lru_cache(maxsize=1024)
def _second_text(seconds: int) -> str:
    """Many things happen in one second, and its text is the dear part."""
    return (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat()
