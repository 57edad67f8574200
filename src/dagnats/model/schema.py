"""JSON Schema checks of inputs and outputs, through jsonschema-rs.

Schemas and values come from users: nothing a schema refers to is fetched, patterns may backtrack so
far and no further, and messages are bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from dagnats.errors import InvalidError
from dagnats.model.codec import parse_json

if TYPE_CHECKING:
    import jsonschema_rs

PROBLEMS_SHOWN = 20
"""More problems than this of one value are not listed."""

LONGEST_MESSAGE = 200
"""Characters of a problem that are shown; the checker quotes the offending value in full."""

BACKTRACKING = 100_000
"""Steps back a pattern may take; a text that needs more does not match."""

LISTED_UP_TO = 64 * 1024
"""Of a value with more bytes than this only the first problem is looked for."""


def check_schema(schema: bytes, data: bytes) -> list[str]:
    """The problems of ``data`` against ``schema``, as ``path: what``; empty when it fits."""
    try:
        validator = _compiled(schema)
    except InvalidError as error:
        return [error.message]
    try:
        value = parse_json(data)
        if validator.is_valid(value):
            return []
        return [_shown(error) for error in _errors(validator, value, len(data))]
    except InvalidError as error:
        return [f"invalid data: {error.message}"]
    except ValueError as error:
        return [f"invalid data: {_bounded(str(error))}"]


def schema_problem(schema: bytes) -> str:
    """What is wrong with a schema itself; ``""`` when it is good."""
    try:
        _compiled(schema)
    except InvalidError as error:
        return error.message
    return ""


@lru_cache(maxsize=128)
def _compiled(schema: bytes) -> jsonschema_rs.Validator:
    import jsonschema_rs

    try:
        return jsonschema_rs.validator_for(
            parse_json(schema),
            retriever=_refuse,
            pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=BACKTRACKING),
        )
    except InvalidError as error:
        raise InvalidError(f"invalid schema: {error.message}") from None
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        raise InvalidError(f"invalid schema: {_bounded(str(error))}") from None


def _errors(
    validator: jsonschema_rs.Validator, value: Any, size: int
) -> Iterable[jsonschema_rs.ValidationError]:
    import jsonschema_rs

    if size <= LISTED_UP_TO:
        return list(validator.iter_errors(value))[:PROBLEMS_SHOWN]
    try:
        validator.validate(value)
    except jsonschema_rs.ValidationError as error:
        return [error]
    return []


def _shown(error: jsonschema_rs.ValidationError) -> str:
    where = ".".join(str(part)[:64] for part in error.instance_path) or "(root)"
    return f"{where}: {_bounded(error.message)}"


def _bounded(text: str) -> str:
    line = text.split("\n", 1)[0]
    return line if len(line) <= LONGEST_MESSAGE else f"{line[:LONGEST_MESSAGE]}…"


def _refuse(uri: str) -> dict[str, Any]:
    raise ValueError(f"schema refers to {uri}, which is not fetched")
