"""JSON Schemas of our types. msgspec's own cannot say the default of a raw JSON field."""

from __future__ import annotations

import inspect as python_inspect
from typing import Any, cast

import msgspec
from msgspec import inspect

REF = "#/components/schemas/"

_PLAIN: dict[type[inspect.Type], dict[str, Any]] = {
    inspect.AnyType: {},
    inspect.RawType: {},
    inspect.NoneType: {"type": "null"},
    inspect.BoolType: {"type": "boolean"},
    inspect.BytesType: {"type": "string", "contentEncoding": "base64"},
    inspect.FloatType: {"type": "number"},
}

_BOUNDS = {
    "ge": "minimum",
    "le": "maximum",
    "gt": "exclusiveMinimum",
    "lt": "exclusiveMaximum",
    "min_length": "minLength",
    "max_length": "maxLength",
    "pattern": "pattern",
}


class Schemas:
    """Collects the schemas of structs under their names.

    Attributes:
        components: what was collected.
    """

    def __init__(self) -> None:
        self.components: dict[str, dict[str, Any]] = {}

    def of(self, kind: Any) -> dict[str, Any]:
        """The schema of a type; structs are referred to."""
        return self._of(inspect.type_info(kind))

    def fields(self, kind: type[msgspec.Struct]) -> dict[str, Any]:
        """The schema of a struct itself, not a reference to it."""
        return self._struct(cast("inspect.StructType", inspect.type_info(kind)))

    def _of(self, info: inspect.Type) -> dict[str, Any]:
        plain = _PLAIN.get(type(info))
        if plain is not None:
            return dict(plain)
        match info:
            case inspect.Metadata():
                return {**self._of(info.type), **(info.extra_json_schema or {})}
            case inspect.IntType():
                return {"type": "integer", **_bounds(info)}
            case inspect.StrType():
                return {"type": "string", **_bounds(info)}
            case inspect.StructType():
                return self._reference(info)
            case _:
                return self._compound(info)

    def _compound(self, info: inspect.Type) -> dict[str, Any]:
        match info:
            case inspect.LiteralType():
                return {"enum": list(info.values)}
            case inspect.EnumType():
                return {"enum": [member.value for member in info.cls]}
            case inspect.ListType() | inspect.VarTupleType():
                least = {"minItems": info.min_length} if info.min_length else {}
                return {"type": "array", "items": self._of(info.item_type), **least}
            case inspect.DictType():
                return {"type": "object", "additionalProperties": self._of(info.value_type)}
            case inspect.UnionType():
                return {"anyOf": [self._of(option) for option in info.types]}
            case _:
                raise TypeError(f"no schema for {info}")

    def _reference(self, info: inspect.StructType) -> dict[str, Any]:
        name = info.cls.__name__
        if name not in self.components:
            self.components[name] = {}  # A struct may hold itself.
            self.components[name] = self._struct(info)
        return {"$ref": REF + name}

    def _struct(self, info: inspect.StructType) -> dict[str, Any]:
        properties = {field.encode_name: self._field(field) for field in info.fields}
        about = python_inspect.getdoc(info.cls) or ""
        schema: dict[str, Any] = {
            "type": "object",
            "description": about.partition("\n\nArgs:")[0],
            "properties": properties,
        }
        if required := [field.encode_name for field in info.fields if field.required]:
            schema["required"] = required
        if info.forbid_unknown_fields:
            schema["additionalProperties"] = False
        return schema

    def _field(self, field: inspect.Field) -> dict[str, Any]:
        schema = self._of(field.type)
        if isinstance(field.default, str | int | float) and "$ref" not in schema:
            schema["default"] = field.default
        return schema


def _bounds(info: inspect.IntType | inspect.StrType) -> dict[str, Any]:
    return {
        name: value
        for attribute, name in _BOUNDS.items()
        if (value := getattr(info, attribute, None)) is not None
    }
