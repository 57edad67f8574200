"""What is wrong with a document, and how an offending text is quoted."""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

from dagnats.errors import InvalidError

PROBLEMS_SHOWN = 100
"""More problems than this are counted, not listed."""

_PLAIN = re.compile(r"[-\w. /=]*", re.ASCII)
"""What needs no escape; nearly every name is of this kind."""

LONGEST_QUOTE = 80
"""Characters of an offending text that are shown."""


class Problem(Struct, frozen=True):
    """One broken rule: where in the document, and what."""

    path: str
    text: str
    hint: str = ""


class Advice(Struct, frozen=True):
    """Something odd that is no broken rule: its kind, for programs, and what it is, for people."""

    kind: str
    message: str


def quote(text: str) -> str:
    """A text in double quotes, bounded, what does not print escaped (Go's ``%q``)."""
    if len(text) <= LONGEST_QUOTE and _PLAIN.fullmatch(text):
        return f'"{text}"'
    shown = text[:LONGEST_QUOTE]
    body = "".join(_escaped(character) for character in shown)
    return f'"{body}"' if len(shown) == len(text) else f'"{body}…"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    code = ord(character)
    return short or (f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}")


def invalid(problems: Sequence[Problem], prefix: str = "") -> InvalidError:
    """The error that carries problems: the first as its message, all of them in ``problems``.

    Args:
        problems: at least one.
        prefix: put before each, e.g. ``invalid trigger: ``.
    """
    texts = [
        prefix + (f"{each.path}: {each.text}" if each.path else each.text) for each in problems
    ]
    hint = problems[0].hint or (f"{len(texts)} problems in all" if len(texts) > 1 else "")
    shown = texts[:PROBLEMS_SHOWN]
    if len(texts) > len(shown):
        shown.append(f"and {len(texts) - len(shown)} more problems")
    return InvalidError(texts[0], hint, tuple(shown))
