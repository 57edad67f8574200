"""JSON Schema checks of inputs and outputs, through jsonschema-rs."""

from __future__ import annotations

from typing import Any

from dagnats.errors import InvalidError
from dagnats.model.codec import parse_json

PROBLEMS_SHOWN = 20
"""More problems than this of one value are not listed."""


def check_schema(schema: bytes, data: bytes) -> list[str]:
    """The problems of ``data`` against ``schema``, as ``path: what``; empty when it fits."""
    import jsonschema_rs

    try:
        # Schemas come from users: nothing they refer to is fetched.
        validator = jsonschema_rs.validator_for(parse_json(schema), retriever=_refuse)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        return [f"invalid schema: {error!s:.200}".splitlines()[0]]
    except InvalidError as error:
        return [f"invalid schema: {error.message}"]
    try:
        value = parse_json(data)
    except InvalidError as error:
        return [f"invalid data: {error.message}"]
    problems: list[str] = []
    for error in validator.iter_errors(value):
        where = ".".join(str(part) for part in error.instance_path) or "(root)"
        problems.append(f"{where}: {error.message}")
        if len(problems) == PROBLEMS_SHOWN:
            break
    return problems


def _refuse(uri: str) -> Any:
    raise ValueError(f"schema refers to {uri}, which is not fetched")
