"""Text from strangers, made fit for a terminal.

Run inputs, step outputs, log lines and error strings may hold escape sequences, direction
overrides or a megabyte on one line. Everything that reaches a terminal passes through here.
"""

from __future__ import annotations

import re

# C0 without \n and \t, DEL, C1, Arabic letter mark, bidi marks, embeddings, overrides and
# isolates, lone surrogates: what terminals act upon or cannot encode.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_UNSAFE_IN_LINE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def sanitize(text: str, limit: int | None = None) -> str:
    """``text`` with everything a terminal would act upon turned into visible escapes.

    Newlines and tabs stay.

    Args:
        text: anything.
        limit: the longest result before escaping, in characters; what is cut off is counted.
    """
    return _UNSAFE.sub(_visible, _bounded(text, limit))


def one_line(text: str, width: int = 0) -> str:
    """``text`` as one safe line; newlines and tabs become visible escapes as well.

    Args:
        text: anything.
        width: the longest result in characters, the last of which is then an ellipsis; 0: no bound.
    """
    # An escape is never shorter than its character, so more than `width` of them cannot show.
    head = text[: width + 1] if width else text
    line = _UNSAFE_IN_LINE.sub(_visible, head)
    if width and len(line) > width:
        return line[: width - 1] + "…"
    return line


def _bounded(text: str, limit: int | None) -> str:
    if limit is None or len(text) <= limit:
        return text
    return f"{text[:limit]}… ({len(text) - limit} more characters)"


def _visible(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
