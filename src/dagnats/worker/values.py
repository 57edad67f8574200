"""JSON to the types of a handler's annotations and back.

Whatever msgspec understands is understood: plain types, dataclasses, TypedDicts, named tuples,
attrs classes, ``msgspec.Struct``. Pydantic is used when the annotated type is made with it; it
is never imported otherwise.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, cast, get_args

import msgspec
from msgspec import Raw

from dagnats.errors import UsageError
from dagnats.model.codec import ABSENT

Decoder = Callable[[bytes], Any]


class InputError(Exception):
    """The task's input does not fit the handler's annotation."""


class OutputError(Exception):
    """What the handler returned cannot be written as JSON."""


def decoder(kind: Any) -> Decoder:
    """How JSON becomes a value of ``kind``; the result raises :class:`InputError`.

    Raises:
        UsageError: JSON cannot become a value of ``kind``.
    """
    return _pydantic_decoder(kind) if _is_pydantic(kind) else _msgspec_decoder(kind)


def _msgspec_decoder(kind: Any) -> Decoder:
    name = type_name(kind)
    try:
        decode = msgspec.json.Decoder(kind).decode
        if _has_custom(kind):
            raise TypeError("it is an ordinary class")
    except (TypeError, NameError) as error:
        raise UsageError(
            f"{name} cannot be read from JSON: {error}",
            "annotate with a dataclass, TypedDict, msgspec.Struct, pydantic model or plain type",
        ) from None

    def read(data: bytes) -> Any:
        try:
            return decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InputError(f"input does not fit {name}: {error}") from None

    return read


def _has_custom(kind: Any) -> bool:
    """Whether there is a class in ``kind`` that msgspec knows nothing about."""
    if any(_has_custom(part) for part in get_args(kind) if isinstance(part, type)):
        return True
    return isinstance(msgspec.inspect.type_info(kind), msgspec.inspect.CustomType)


def _pydantic_decoder(kind: Any) -> Decoder:
    import pydantic  # The user's own type brought it in. # pyright: ignore[reportMissingImports]

    validate = pydantic.TypeAdapter(kind).validate_json
    name = type_name(kind)

    def read(data: bytes) -> Any:
        try:
            return validate(data)
        except ValueError as error:
            raise InputError(f"input does not fit {name}: {error}") from None

    return read


def _is_pydantic(kind: Any) -> bool:
    if "pydantic" not in sys.modules:
        return False
    if hasattr(kind, "__pydantic_core_schema__"):
        return True
    return any(_is_pydantic(part) for part in get_args(kind))


def type_name(kind: Any) -> str:
    """A type as a person writes it."""
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)


def encode_output(value: Any) -> Raw:
    """A handler's result as JSON; ``None`` is no output at all.

    Raises:
        OutputError: it cannot be written as JSON; names the type.
    """
    if value is None or value is ABSENT:
        return ABSENT
    try:
        data = _encoder.encode(value)
        # An embedded Raw is copied unseen, and a broken one would break the whole event.
        msgspec.json.decode(data, type=Raw)
    except BaseException as error:
        # The user's own code runs in here (properties, model serializers) and may raise anything.
        raise OutputError(f"cannot write {_described(value)} as JSON: {error!r:.500}") from error
    return Raw(data)


def _described(value: Any) -> str:
    kind = cast("type[Any]", type(value))
    name = f"{kind.__module__}.{kind.__qualname__}"
    return f"a result of type {name.removeprefix('builtins.')}"


def _foreign(value: Any) -> Any:
    """What msgspec cannot write itself: pydantic models know how to."""
    dump = getattr(value, "model_dump_json", None)
    if callable(dump):
        return Raw(str(dump()).encode())
    raise TypeError(f"objects of type {type(value).__qualname__} have no JSON form")


_encoder = msgspec.json.Encoder(enc_hook=_foreign)
