"""JSON text of strangers as plain values: bounded, strict, and with every fault named.

Where Go's decoder and Python's look away (duplicate keys, NaN, halves of surrogate pairs) this
reader complains.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, cast

from dagnats.errors import InvalidError
from dagnats.model.paths import json_kind
from dagnats.model.problems import Problem, invalid, quote

MAX_BYTES = 8 * 1024 * 1024
"""Largest document: what the embedded server accepts as one message."""

MAX_DEPTH = 100
"""Deepest nesting. Far more than a workflow or a sane schema has, far less than a stack."""


MAX_DIGITS = 400
"""Longest integer: those of the largest float, and some more."""


def parse_document(data: bytes | str, what: str) -> Any:
    """The value of a JSON text.

    Args:
        data: the text; bytes are UTF-8, with or without a byte order mark.
        what: what it is, for messages, e.g. ``workflow file``.

    Raises:
        InvalidError: the text is not JSON, or two readers could understand it differently.
    """
    text = _text(data, what)
    twice: dict[int, list[str]] = {}
    try:
        tree = json.loads(
            text,
            object_pairs_hook=_noting(twice),
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_integer,
        )
    except json.JSONDecodeError as error:
        fault = (error.msg[0].lower() + error.msg[1:]).removesuffix(" at")
        raise InvalidError(
            f"{what} is not JSON: {fault} at line {error.lineno}, column {error.colno}",
            "correct the file there",
        ) from None
    except RecursionError:
        raise InvalidError(f"{what} is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:
        raise InvalidError(f"{what} is not JSON: {error!s:.120}", "correct the file") from None
    problems = tree_problems(tree, twice)
    if problems:
        raise invalid(problems)
    return tree


def tree_problems(tree: Any, twice: dict[int, list[str]] | None = None) -> list[Problem]:
    """What keeps decoded values from being JSON that everybody reads alike.

    Args:
        tree: dicts, lists and scalars from any decoder.
        twice: keys that stand twice, by the ``id`` of their dict.
    """
    problems: list[Problem] = []
    left: list[tuple[str, Any, int]] = [("", tree, 1)]
    while left:
        path, value, depth = left.pop()
        if depth > MAX_DEPTH:
            return [*problems, Problem(path[:80], f"nested deeper than {MAX_DEPTH} levels")]
        if isinstance(value, dict):
            members = cast("dict[Any, Any]", value)
            again = (twice or {}).get(id(members), ())
            problems += [Problem(join(path, key), "the key stands here twice") for key in again]
            for key, member in reversed(members.items()):
                if isinstance(key, str) and not _is_broken(key):
                    left.append((join(path, key), member, depth + 1))
                else:
                    problems.append(Problem(path, f"the key {quote(str(key))} is not text"))
        elif isinstance(value, list):
            items = cast("list[Any]", value)
            left += [(f"{path}[{i}]", items[i], depth + 1) for i in reversed(range(len(items)))]
        elif problem := _scalar_problem(value):
            problems.append(Problem(path, problem))
    return problems


def join(path: str, key: str) -> str:
    """The path of a member: ``steps[2].retry``, with odd keys quoted."""
    if not key.replace("_", "a").replace("-", "a").replace("$", "a").isalnum() or len(key) > 64:
        return f"{path}[{quote(key)}]"
    return f"{path}.{key}" if path else key


def describe(value: Any) -> str:
    """A value in a message: short ones as JSON, long ones by their kind."""
    if isinstance(value, str):
        return quote(value)
    kind = json_kind(value)
    if kind in ("object", "array"):
        return f"an {kind}"
    return json.dumps(value)[:40] if value is None or isinstance(value, bool) else f"{value!s:.40}"


def _text(data: bytes | str, what: str) -> str:
    if len(data) > MAX_BYTES:
        raise InvalidError(
            f"{what} has {len(data)} bytes (max {MAX_BYTES})",
            "split it into smaller ones",
        )
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidError(
            f"{what} is not UTF-8 text (byte {error.start})", "save the file as plain UTF-8"
        ) from None
    if not text.strip():
        raise InvalidError(f"{what} is empty", "write a workflow into it: dagnats init workflow")
    return text


def _noting(twice: dict[int, list[str]]) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    def make(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            seen: set[str] = set()
            twice[id(made)] = [key for key, _ in pairs if key in seen or seen.add(key)]
        return made

    return make


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:40]} is too large")
    return value


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"the number {text[:40]}… has {len(text)} digits (max {MAX_DIGITS})")
    return int(text)


def _scalar_problem(value: Any) -> str:
    if isinstance(value, str):
        return "the text holds half of a surrogate pair" if _is_broken(value) else ""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is no JSON number"
    if value is None or isinstance(value, bool | int | float):
        return ""
    return f"a {type(value).__name__} is no JSON value"


def _is_broken(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)
