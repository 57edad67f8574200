"""Comparisons: ``skip_if`` on a parent's output, and the match of an event wait."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

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


def evaluate_skip(condition: SkipCondition, output: bytes) -> bool:
    """Whether a parent's output meets a ``skip_if``; whatever cannot be compared does not (IN-10)."""
    try:
        data = parse_json(output) if output else None
    except InvalidError:
        return False
    compare = SKIP_OPERATORS.get(condition.op)
    if compare is None or not isinstance(data, dict) or condition.field not in data:
        return False
    left, right = data[condition.field], condition.value
    if isinstance(left, bool) or isinstance(right, bool):
        same_kind = isinstance(left, bool) and isinstance(right, bool)
        return same_kind and condition.op in ("==", "!=") and compare(left, right)
    if _is_number(left) and _is_number(right):
        return compare(float(left), float(right))
    return isinstance(left, str) and isinstance(right, str) and compare(left, right)


def matches(left: Any, op: str, right: Any) -> bool:
    """Whether an event's value meets a wait. Numbers compare as numbers, and equal their text."""
    compare = WAIT_OPERATORS.get(op)
    if compare is None:
        return False
    first, second = _as_number(left), _as_number(right)
    if first is not None and second is not None:
        return compare(first, second)
    return compare(go_text(left), go_text(right))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _as_number(value: Any) -> float | None:
    if _is_number(value):
        return float(value)
    if isinstance(value, str) and len(value) <= 64:
        try:
            return float(value)
        except ValueError:
            return None
    return None
