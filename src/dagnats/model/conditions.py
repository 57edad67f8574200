"""Comparisons: ``skip_if`` on a parent's output, and the match of an event wait."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any, cast

from dagnats.errors import InvalidError
from dagnats.model.codec import parse_json
from dagnats.model.gotext import go_text
from dagnats.model.workflow import SkipCondition

Compare = Callable[[Any, Any], bool]

SKIP_OPERATORS: dict[str, Compare] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
WAIT_OPERATORS: dict[str, Compare] = SKIP_OPERATORS | {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}

_EQUALITY = frozenset({"==", "!=", "eq", "ne"})
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_FRACTION = re.compile(r"[.eE]")
MAX_DIGITS = 64
"""Longer texts are not read as numbers."""


def evaluate_skip(condition: SkipCondition, output: bytes) -> bool:
    """Whether a parent's output meets a ``skip_if``; what cannot be compared does not (IN-10)."""
    try:
        data = parse_json(output) if output else None
    except InvalidError:
        return False
    compare = SKIP_OPERATORS.get(condition.op)
    if compare is None or not isinstance(data, dict) or condition.field not in data:
        return False
    left, right = cast("dict[str, Any]", data)[condition.field], condition.value
    if isinstance(left, bool) and isinstance(right, bool):
        return condition.op in ("==", "!=") and compare(left, right)
    return _same_kind(left, right) and compare(left, right)


def matches(left: Any, op: str, right: Any) -> bool:
    """Whether an event's value meets a wait.

    Numbers compare as numbers and equal their text; other values are equal when their Go texts
    are. An order exists between two numbers and between two strings only.
    """
    compare = WAIT_OPERATORS.get(op)
    if compare is None:
        return False
    if _is_number(left) or _is_number(right):
        first, second = _as_number(left), _as_number(right)
        if first is not None and second is not None:
            return compare(first, second)
    if op in _EQUALITY:
        return compare(go_text(left), go_text(right))
    return isinstance(left, str) and isinstance(right, str) and compare(left, right)


def _same_kind(left: Any, right: Any) -> bool:
    both_numbers = _is_number(left) and _is_number(right)
    return both_numbers or (isinstance(left, str) and isinstance(right, str))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _as_number(value: Any) -> float | None:
    """The number a value is or spells as JSON does; ``007`` and ``nan`` are no numbers."""
    if _is_number(value):
        return value
    if isinstance(value, str) and len(value) <= MAX_DIGITS and _NUMBER.fullmatch(value):
        return float(value) if _FRACTION.search(value) else int(value)
    return None
