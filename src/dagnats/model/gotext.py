"""Go's ``%v`` text of a decoded JSON value, which feeds keys on the wire (``wire.md`` 0)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, cast


def go_text(value: Any) -> str:
    """The text Go prints for a JSON value: numbers are always float64.

    Args:
        value: what a JSON decoder made, however deep.
    """
    text: list[str] = []
    left: list[Any] = [value]
    while left:
        item = left.pop()
        parts = _parts(item)
        if parts is None:
            text.append(_scalar(item))
        else:
            left.extend(reversed(parts))
    return "".join(text)


def _parts(value: Any) -> list[Any] | None:
    """An object or array in pieces; punctuation is a string, which prints bare. Else ``None``."""
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        parts: list[Any] = ["map["]
        for index, key in enumerate(sorted(members)):
            parts += [f"{' ' if index else ''}{key}:", members[key]]
        return [*parts, "]"]
    if isinstance(value, list):
        items = cast("list[Any]", value)
        parts = ["["]
        for index, item in enumerate(items):
            parts += [" ", item] if index else [item]
        return [*parts, "]"]
    return None


def _scalar(value: Any) -> str:
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _number(value)
    return str(value)


def _number(value: float) -> str:
    """Shortest digits that round-trip; exponent form unless -4 <= exponent < 6."""
    try:
        value = float(value)
    except OverflowError:
        return "+Inf" if value > 0 else "-Inf"
    if value != value or value in (float("inf"), float("-inf")):
        return {"inf": "+Inf", "-inf": "-Inf"}.get(repr(value), "NaN")
    if value == 0:
        return "-0" if repr(value)[0] == "-" else "0"
    sign, digits, scale = Decimal(repr(value)).as_tuple()
    text = "".join(map(str, digits)).rstrip("0")
    exponent = len(digits) + int(scale) - 1
    if -4 <= exponent < 6:
        body = format(Decimal(repr(value)).copy_abs().normalize(), "f")
    else:
        mantissa = text[0] + ("." + text[1:] if len(text) > 1 else "")
        body = f"{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    return ("-" if sign else "") + body
