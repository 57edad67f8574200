"""What is wrong with a document, and how an offending text is quoted."""

from __future__ import annotations

from msgspec import Struct

LONGEST_QUOTE = 80
"""Characters of an offending text that are shown."""


class Problem(Struct, frozen=True):
    """One broken rule: where in the document, and what."""

    path: str
    text: str
    hint: str = ""


def quote(text: str) -> str:
    """A text in double quotes, bounded, what does not print escaped (Go's ``%q``)."""
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
