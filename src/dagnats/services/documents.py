"""The model as JSON documents for people: command line, HTTP API and exports.

They differ from what lies on the wire: durations are text (``"30m"``), step outputs are JSON values
instead of base64, nothing secret is in them.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Raw, Struct, UnsetType

from dagnats.errors import InvalidError
from dagnats.model.codec import decode, is_absent
from dagnats.model.times import format_duration
from dagnats.model.workflow import CONFIG_OF, StepDef

SECRET = frozenset({"dispatch_nonce"})
"""Lets its holder report results for a step: of no use to a reader."""


def document(value: Any) -> Any:
    """``value`` as builtins that ``msgspec.json.encode`` writes; raw JSON stays raw.

    Args:
        value: a struct of the model or of a service, or a list or dict of them.
    """
    if isinstance(value, Raw):
        return compact(bytes(value))
    if isinstance(value, Struct):
        return _struct(value)
    if isinstance(value, dict):
        return {key: document(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list | tuple):
        return [document(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return output_value(value) if isinstance(value, bytes) else value


def compact(data: bytes) -> Raw | None:
    """JSON text without white space, its numbers as they were written; ``None`` for no text."""
    return Raw(msgspec.json.format(data, indent=-1)) if data else None


def output_value(data: bytes) -> Any:
    """A stored output or payload: the JSON value it is, else its text, else ``None``."""
    if not data:
        return None
    try:
        msgspec.json.decode(data)
        return compact(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return data.decode("utf-8", "replace")


def short_duration(nanoseconds: int) -> str:
    """Go's text without trailing zero units: ``30m``, ``1h``, ``1m30s``."""
    text = format_duration(nanoseconds)
    if text.endswith("m0s"):
        text = text.removesuffix("0s")
    if text.endswith("h0m"):
        text = text.removesuffix("0m")
    return text


def _struct(value: Struct) -> dict[str, Any]:
    kind = type(value)
    durations = _durations(kind)
    shown: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        if field.name in SECRET:
            continue
        item = getattr(value, field.name)
        if _left_out(item, field, kind):
            continue
        if field.name in durations:
            shown[field.encode_name] = short_duration(item)
        elif field.name == "config" and isinstance(value, StepDef):
            shown[field.encode_name] = _config(value)
        else:
            shown[field.encode_name] = document(item)
    return shown


def _left_out(item: Any, field: msgspec.structs.FieldInfo, kind: type[Struct]) -> bool:
    if isinstance(item, Raw):
        return is_absent(item)
    if isinstance(item, UnsetType):
        return True
    if not kind.__struct_config__.omit_defaults:
        return False
    if field.default_factory in (list, dict):
        return not item
    # As msgspec decides: a field with another factory is always written (see ``codec.always``).
    return field.default is not msgspec.NODEFAULT and item == field.default


@cache
def _durations(kind: type[Struct]) -> frozenset[str]:
    hints = get_type_hints(kind, include_extras=True)
    return frozenset(name for name, hint in hints.items() if _is_duration(hint))


def _is_duration(hint: Any) -> bool:
    if get_origin(hint) is not Annotated:
        return False
    return any(
        isinstance(mark, msgspec.Meta) and (mark.extra or {}).get("kind") == "duration"
        for mark in get_args(hint)[1:]
    )


def _config(step: StepDef) -> Any:
    """The config of a step with durations as text; as it is stored where it has no known shape."""
    kind = CONFIG_OF.get(step.type)
    if kind is None:
        return document(step.config)
    try:
        return _struct(decode(bytes(step.config), kind))
    except InvalidError:
        return document(step.config)
