"""Dot paths into JSON objects (``wire.md`` 7.3): object keys only, no array index."""

from __future__ import annotations

from typing import Any


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
            raise PathError(f'path "{path}": expected object at "{key}", got {_kind(data)}')
        if key not in data:
            raise PathError(f'path "{path}": key "{key}" not found')
        data = data[key]
    return data


def _kind(value: Any) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")
