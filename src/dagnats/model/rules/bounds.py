"""Bounds where the reference has none, so that every reader can decode what we store."""

from __future__ import annotations

from collections.abc import Iterator

from dagnats.model.times import format_duration

MAX_COUNT = (1 << 31) - 1
"""Largest count."""

MAX_DURATION = (1 << 63) - 1
"""Longest duration, in ns (about 292 years)."""


def duration_problems(label: str, value: int) -> Iterator[str]:
    """What is wrong with an optional duration.

    Args:
        label: what it is, e.g. ``step "a" Timeout``.
        value: nanoseconds; 0 is none.
    """
    if value < 0:
        yield f"{label} must not be negative, got {format_duration(value)}"
    elif value > MAX_DURATION:
        yield f"{label} is longer than {format_duration(MAX_DURATION)}"
