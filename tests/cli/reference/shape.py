"""Whether output looks as an example of the reference does.

The examples are transcribed as they stand there. Their ids, times and sizes stand for any id, time
and size; white space stands for any alignment; an object stands for one with the same keys. All
other words must be the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_KINDS = (
    (r"[0-9a-f]{8,12}\.{3}", r"[0-9a-f]{32}"),
    (r"abc123\.{3}", r"[0-9a-f]{16,32}"),
    (r"trig-[0-9a-f]{8,16}", r"trig-[0-9a-f]{16}"),
    (r"[0-9a-f]{8}", r"[0-9a-f]{8,32}"),
    (r"[0-9a-f]{16}", r"[0-9a-f]{16,32}"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"),
    (r"\d{4}-\d\d-\d\d", r"\d{4}-\d\d-\d\d"),
    (r"\d\d:\d\d:\d\d", r"\d\d:\d\d:\d\d"),
    (r"\d\d:\d\d", r"\d\d:\d\d"),
)
ANYTHING = "[events stream...]"


def shown(actual: str, example: str, vary: Mapping[str, str] | None = None) -> None:
    """Check output against an example.

    Args:
        actual: what was printed.
        example: lines of the reference, with or without their ``#``; a line ``...`` and
            ``[events stream...]`` stand for any lines.
        vary: patterns for words that the state of the test decides.
    """
    lines = [line.removeprefix("#").strip() for line in example.strip().splitlines()]
    pattern = "".join(_line(line, vary or {}) for line in lines)
    assert re.fullmatch(pattern, actual), f"expected\n{example}\ngot\n{actual}"


def _line(line: str, vary: Mapping[str, str]) -> str:
    if line in ("...", ANYTHING):
        return r"(?:.*\n)*?"
    if line.startswith("{"):
        return _json(line)
    words = [_word(word, vary) for word in line.split()]
    return r"[ ]*" + r"[ ]+".join(words) + r"[ ]*\n" if words else r"\n"


def _json(text: str) -> str:
    """An object with these keys in this order; white space is not significant in JSON."""
    keys = re.findall(r'"(\w+)":', text)
    return r"[ ]*\{.*" + ".*".join(f'"{key}":' for key in keys) + r".*\}\n"


def _word(word: str, vary: Mapping[str, str]) -> str:
    if word in vary:
        return vary[word]
    for example, pattern in _KINDS:
        found = re.search(rf"(?<![0-9A-Za-z]){example}(?![0-9A-Za-z.])", word)
        if found:
            before, after = word[: found.start()], word[found.end() :]
            return re.escape(before) + pattern + re.escape(after)
    return re.escape(word)
