"""JSON as the wire speaks it (``wire.md`` 0).

Struct fields keep declaration order, map keys are sorted, and ``<``, ``>``, ``&`` and the two
Unicode line separators are escaped inside strings, so that what we write is byte for byte what
the Go implementation writes for the same value.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from dagnats.errors import InvalidError
from dagnats.model.nulls import without_blanks, without_nulls

T = TypeVar("T")

ABSENT = Raw(b"")
"""The raw JSON field that is not there; see :func:`is_absent`. ``null`` is a value, this is not."""

_encoder = msgspec.json.Encoder(order="deterministic")

# `<`, `>`, `&` and U+2028/9 can only occur inside JSON strings, so escaping the text is safe.
_ESCAPES = (
    (b"<", b"\\u003c"),
    (b">", b"\\u003e"),
    (b"&", b"\\u0026"),
    (b"\xe2\x80\xa8", b"\\u2028"),
    (b"\xe2\x80\xa9", b"\\u2029"),
)
_ESCAPED = b"<>&\xe2"
"""First bytes of what is escaped."""

_blank = re.compile(rb'":[,}]').search
"""Finds an empty raw value, which would not be JSON."""


class Wire(msgspec.Struct, omit_defaults=True, kw_only=True):
    """Base of everything that lies on NATS. Unknown keys are ignored: a newer peer may add some."""


def always(value: T) -> T:
    """A field that is written even when it holds its zero value (no ``omitempty`` in Go)."""
    # msgspec leaves a field out when it *is* its default; a factory's product never is.
    return msgspec.field(default_factory=lambda: value)


def encode(value: Any) -> bytes:
    """Encode ``value`` as compact wire JSON.

    An empty raw value is left out where its field may be absent, and is ``null`` elsewhere.
    """
    data = _encoder.encode(value)
    if _blank(data):
        data = _encoder.encode(without_blanks(value))
    # One pass to see that there is nothing to escape costs less than a search for each.
    if len(data.translate(None, _ESCAPED)) != len(data):
        for plain, escaped in _ESCAPES:
            data = data.replace(plain, escaped)
    return data


def decode(data: bytes | str, kind: type[T]) -> T:
    """Decode wire JSON leniently into ``kind``.

    Raises:
        InvalidError: the bytes are not JSON, or do not have the shape of ``kind``.
    """
    try:
        return _decoder(kind).decode(data)
    except msgspec.ValidationError as error:
        return _decode_nulls(data, kind, error)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidError(f"cannot decode {kind.__name__}: {error}") from None


@lru_cache(maxsize=256)
def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    return msgspec.json.Decoder(kind)


def _decode_nulls(data: bytes | str, kind: type[T], first: msgspec.ValidationError) -> T:
    """Another try without the nulls that Go writes for empty lists and maps: rare, hence second."""
    try:
        plain = without_nulls(msgspec.json.decode(data), kind)
        return msgspec.json.decode(msgspec.json.encode(plain), type=kind)
    except (msgspec.MsgspecError, RecursionError):
        raise InvalidError(f"cannot decode {kind.__name__}: {first}") from None


def parse_json(data: bytes | str) -> Any:
    """Decode any JSON value.

    Raises:
        InvalidError: the bytes are not JSON.
    """
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidError(f"not JSON: {error}") from None


def raw(value: Any) -> Raw:
    """``value`` as an embedded JSON value."""
    return Raw(encode(value))


def is_absent(value: Raw) -> bool:
    """Whether an embedded JSON value is missing altogether."""
    return not bytes(value)
