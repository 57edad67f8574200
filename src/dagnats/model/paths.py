"""Dot paths into JSON objects (``wire.md`` 7.3): object keys only, no array index."""

from __future__ import annotations

from typing import Any, cast


class PathError(Exception):
    """A dot path that leads nowhere."""


def lookup(data: Any, path: str) -> Any:
    """The value at ``path``.

    Raises:
        PathError: a key is missing, or what should hold it is not an object.
    """
    if not path:
        raise PathError("empty path")
    for key in path.split("."):
        if not isinstance(data, dict):
            raise PathError(f'path "{path}": expected object at "{key}", got {json_kind(data)}')
        members = cast("dict[str, Any]", data)
        if key not in members:
            raise PathError(f'path "{path}": key "{key}" not found')
        data = members[key]
    return data


def json_kind(value: Any) -> str:
    """What JSON calls the type of a decoded value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    for kind, name in ((dict, "object"), (list, "array"), (str, "string")):
        if isinstance(value, kind):
            return name
    return "number"
