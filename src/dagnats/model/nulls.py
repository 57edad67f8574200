"""Where nothing and ``null`` meet: what Go writes for the one and reads for the other."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import msgspec
from msgspec import Raw, inspect

_NULL = Raw(b"null")


def without_nulls(value: Any, kind: Any) -> Any:
    """``value`` with every null member left out that its field cannot hold.

    Go writes ``null`` for every slice and map that was never made, such as the ``task_types`` of a
    worker without tasks. Values that we only pass on keep their nulls.

    Args:
        value: a decoded JSON value.
        kind: the type it is to be decoded as.
    """
    return _pruned(value, _info(kind))


@cache
def _info(kind: Any) -> inspect.Type:
    return inspect.type_info(kind)


def _pruned(value: Any, info: inspect.Type) -> Any:
    match info:
        case inspect.StructType() if isinstance(value, dict):
            fields = {field.encode_name: field.type for field in info.fields}
            members = cast("dict[str, Any]", value)
            return {
                key: _pruned(member, fields[key]) if key in fields else member
                for key, member in members.items()
                if member is not None or (key in fields and _holds_null(fields[key]))
            }
        case inspect.ListType() if isinstance(value, list):
            return [_pruned(item, info.item_type) for item in cast("list[Any]", value)]
        case inspect.DictType() if isinstance(value, dict):
            members = cast("dict[str, Any]", value)
            return {key: _pruned(member, info.value_type) for key, member in members.items()}
        case inspect.UnionType():
            given = [each for each in info.types if not isinstance(each, inspect.NoneType)]
            return _pruned(value, given[0]) if len(given) == 1 else value
        case _:
            return value


def _holds_null(info: inspect.Type) -> bool:
    if isinstance(info, inspect.UnionType):
        return info.includes_none
    return isinstance(info, inspect.RawType | inspect.AnyType)


def without_blanks(value: Any) -> Any:
    """``value`` with every empty raw JSON in it gone: absent where that is the default, else null.

    The encoder writes raw values as they are, and nothing at all is not JSON.
    """
    if isinstance(value, msgspec.Struct):
        changes = {
            field.name: _unblank(getattr(value, field.name), field.default)
            for field in msgspec.structs.fields(value)
        }
        return msgspec.structs.replace(value, **changes)
    if isinstance(value, dict):
        members = cast("dict[Any, Any]", value)
        return {key: _unblank(member, None) for key, member in members.items()}
    if isinstance(value, list):
        return [_unblank(item, None) for item in cast("list[Any]", value)]
    return value


def _unblank(value: Any, default: Any) -> Any:
    if not isinstance(value, Raw):
        return without_blanks(value)
    if bytes(value):
        return value
    return default if isinstance(default, Raw) and not bytes(default) else _NULL
