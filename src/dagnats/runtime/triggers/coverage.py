"""Which part of a subject pattern lies in which stream."""

from __future__ import annotations

from collections.abc import Iterable


def overlap(one: str, other: str) -> str:
    """The pattern of the subjects that match both patterns; empty when there are none."""
    left, right = one.split("."), other.split(".")
    common: list[str] = []
    for index in range(max(len(left), len(right))):
        if index >= len(left) or index >= len(right):
            return ""
        a, b = left[index], right[index]
        if a == ">" or b == ">":
            rest = right[index:] if a == ">" else left[index:]
            return ".".join(common + rest)
        if a != b and "*" not in (a, b):
            return ""
        common.append(b if a == "*" else a)
    return ".".join(common)


def matches(pattern: str, subject: str) -> bool:
    """Whether a subject without wildcards matches a pattern."""
    return overlap(pattern, subject) == subject


def parts(pattern: str, subjects: Iterable[str]) -> list[str]:
    """The parts of a pattern that a stream with these subjects holds, sorted."""
    return sorted({found for subject in subjects if (found := overlap(pattern, subject))})
