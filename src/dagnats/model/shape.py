"""Plain values as structs of the model, strictly: one walker over what msgspec knows of a struct.

Unlike msgspec's own conversion it names every fault at once, each with its path, takes durations as
text, and suggests the field that was probably meant. It reads values from JSON and YAML alike.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from typing import Any, TypeVar, cast

import msgspec
from msgspec import inspect

from dagnats.model.codec import raw
from dagnats.model.document import describe, join
from dagnats.model.problems import Problem, invalid, quote
from dagnats.model.times import DURATION, parse_duration
from dagnats.model.workflow import CONFIG_OF, StepDef

T = TypeVar("T", bound=msgspec.Struct)

_INT64 = 1 << 63
_Field = inspect.Field


def read_shape(tree: Any, kind: type[T]) -> T:
    """``tree`` as a ``kind``; ``null`` counts as not given.

    Args:
        tree: what a JSON or YAML decoder made and ``document.tree_problems`` found sound.
        kind: the struct to make.

    Raises:
        InvalidError: with every field that is unknown or of the wrong type.
    """
    reader = _Reader()
    made = reader.read(tree, struct_info(kind), "")
    if reader.problems:
        raise invalid(reader.problems)
    return cast("T", made)


@cache
def struct_info(kind: type[msgspec.Struct]) -> inspect.StructType:
    """What msgspec knows of a struct."""
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    return info


class _Reader:
    """One pass over a document. What cannot be read is noted and left at its default."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def read(self, value: Any, info: inspect.Type, path: str) -> Any:
        """``value`` as the type says."""
        match info:
            case inspect.Metadata():
                if info.extra == DURATION:
                    return self._duration(value, path)
                return self.read(value, info.type, path)
            case inspect.UnionType(types=types):
                return self._union(value, types, path)
            case inspect.StructType():
                return self._struct(value, info, path)
            case inspect.ListType(item_type=item):
                return self._list(value, item, path)
            case inspect.DictType(value_type=member):
                return self._dict(value, member, path)
            case inspect.RawType():
                return raw(value)
            case inspect.AnyType():
                return value
            case _:
                return self._scalar(value, info, path)

    def _wrong(self, path: str, expected: str, value: Any) -> None:
        self.problems.append(Problem(path, f"expected {expected}, got {describe(value)}"))

    def _duration(self, value: Any, path: str) -> int:
        if isinstance(value, str):
            try:
                return parse_duration(value, days=True)
            except ValueError:
                self._wrong(path, 'a duration such as "30s", "1h30m" or "7d"', value)
                return 0
        if isinstance(value, int) and not isinstance(value, bool):
            return self._int(value, path)
        self._wrong(path, 'a duration such as "30s", or whole nanoseconds', value)
        return 0

    def _union(self, value: Any, types: tuple[inspect.Type, ...], path: str) -> Any:
        """``T | None`` (``null`` never gets here) or ``int | float``."""
        given = [kind for kind in types if not isinstance(kind, inspect.NoneType)]
        if len(given) == 1:
            return self.read(value, given[0], path)
        return self._scalar(value, inspect.FloatType(), path)

    def _scalar(self, value: Any, info: inspect.Type, path: str) -> Any:
        is_bool = isinstance(value, bool)
        match info:
            case inspect.IntType() if isinstance(value, int) and not is_bool:
                return self._int(value, path)
            case inspect.FloatType() if isinstance(value, int | float) and not is_bool:
                return self._int(value, path) if isinstance(value, int) else value
            case inspect.BoolType() if is_bool:
                return value
            case inspect.StrType() if isinstance(value, str):
                return value
            case _:
                self._wrong(path, _EXPECTED[type(info)], value)
                return _ZERO[type(info)]

    def _int(self, value: int, path: str) -> int:
        if not -_INT64 <= value < _INT64:
            self._wrong(path, "a number that fits 64 bits", value)
            return 0
        return value

    def _list(self, value: Any, item: inspect.Type, path: str) -> list[Any]:
        if not isinstance(value, list):
            self._wrong(path, "an array", value)
            return []
        items = cast("list[Any]", value)
        return [self.read(each, item, f"{path}[{index}]") for index, each in enumerate(items)]

    def _dict(self, value: Any, member: inspect.Type, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._wrong(path, "an object", value)
            return {}
        members = cast("dict[str, Any]", value)
        return {key: self.read(each, member, join(path, key)) for key, each in members.items()}

    def _struct(self, value: Any, info: inspect.StructType, path: str) -> Any:
        if not isinstance(value, dict):
            self._wrong(path, "an object", value)
            return info.cls()
        members = cast("dict[str, Any]", value)
        fields = {field.encode_name: field for field in info.fields}
        for key in members:
            if key not in fields:
                self._unknown(key, fields, members, path)
        made = {
            field.name: self._member(members, field, info, path)
            for name, field in fields.items()
            if members.get(name) is not None
        }
        return info.cls(**made)

    def _member(
        self, members: dict[str, Any], field: _Field, info: inspect.StructType, path: str
    ) -> Any:
        value, where = members[field.encode_name], join(path, field.encode_name)
        kind = _config_kind(members) if info.cls is StepDef and field.name == "config" else None
        if kind is not None:
            return raw(self.read(value, struct_info(kind), where))
        return self.read(value, field.type, where)

    def _unknown(
        self, key: str, fields: dict[str, _Field], members: dict[str, Any], path: str
    ) -> None:
        text = f"unknown field {quote(key)}"
        kind = _config_kind(members) if "config" in fields else None
        if kind is not None and key in kind.__struct_fields__:
            text += f" (it belongs into config: did you mean {quote(f'config.{key}')}?)"
        elif near := get_close_matches(key.lower(), fields, 1):
            text += f" (did you mean {quote(near[0])}?)"
        else:
            text += f" (known: {', '.join(fields)})"
        self.problems.append(Problem(path, text))


def _config_kind(step: dict[str, Any]) -> type[msgspec.Struct] | None:
    """The shape of a step's config. A type that does not exist is reported by the rules."""
    kind = step.get("type")
    return CONFIG_OF.get(kind) if isinstance(kind, str) else None


_EXPECTED: dict[type[inspect.Type], str] = {
    inspect.IntType: "an integer",
    inspect.FloatType: "a number",
    inspect.BoolType: "true or false",
    inspect.StrType: "text",
}
_ZERO: dict[type[inspect.Type], Any] = {
    inspect.IntType: 0,
    inspect.FloatType: 0,
    inspect.BoolType: False,
    inspect.StrType: "",
}
