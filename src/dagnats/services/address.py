"""Addresses of screens, shared by console, deep links and ``run list --where`` (``tui.md`` 4.2).

``kind [id…] [key:value…] [/text]``, for example ``runs wf:etl-* !status:failed,retrying /503``.
"""

from __future__ import annotations

from msgspec import Struct

from dagnats.errors import InvalidError

LONGEST = 2_000
"""Characters of an address; a longer one is refused before it is read."""


class Term(Struct, frozen=True, kw_only=True):
    """One condition: ``key`` has (or, negated, has not) one of ``values``."""

    key: str
    values: tuple[str, ...]
    negated: bool = False


class Address(Struct, frozen=True, kw_only=True):
    """A screen and what it shows."""

    kind: str
    ids: tuple[str, ...] = ()
    terms: tuple[Term, ...] = ()
    text: str = ""


def parse_address(line: str) -> Address:
    """Read an address; a leading ``:`` is optional, double quotes keep spaces together.

    Raises:
        InvalidError: the line is empty, too long, has an open quote, or a term without value.
    """
    if len(line) > LONGEST:
        raise InvalidError(f"address of {len(line)} characters", f"use at most {LONGEST}")
    words, text = _words(line.strip().removeprefix(":"))
    if not words:
        raise InvalidError("empty address", "name a screen, such as 'runs'")
    ids: list[str] = []
    terms: list[Term] = []
    for word, quoted in words[1:]:
        if ":" in word and not quoted:
            terms.append(_term(word))
        else:
            ids.append(word)
    kind = words[0][0]
    return Address(kind=kind, ids=tuple(ids), terms=tuple(terms), text=text)


def format_address(address: Address) -> str:
    """The line that reads back as ``address``."""
    parts = [address.kind, *(_quote(part) for part in address.ids)]
    for term in address.terms:
        values = ",".join(term.values)
        value = f'"{values}"' if " " in values else values
        parts.append(f"{'!' if term.negated else ''}{term.key}:{value}")
    return " ".join(parts) + (f" /{address.text}" if address.text else "")


def _words(text: str) -> tuple[list[tuple[str, bool]], str]:
    """The words, whether each began with a quote, and what follows an unquoted ``/`` word."""
    words: list[tuple[str, bool]] = []
    word, inside, quoted = "", False, False
    for at, char in enumerate(f"{text} "):
        if char == "/" and not (word or inside or quoted):
            return words, text[at + 1 :]
        if char == '"':
            quoted = quoted or not word
            inside = not inside
        elif char == " " and not inside:
            if word:
                words.append((word, quoted))
            word, quoted = "", False
        else:
            word += char
    if inside:
        raise InvalidError(f"open quote in address: {text.strip()[:80]}", 'close it with "')
    return words, ""


def _term(word: str) -> Term:
    negated = word.startswith("!")
    key, _, value = word.removeprefix("!").partition(":")
    values = tuple(part for part in value.split(",") if part)
    if not key or not values:
        raise InvalidError(f"incomplete term in address: {word[:80]}", "write key:value")
    return Term(key=key, values=values, negated=negated)


def _quote(text: str) -> str:
    return f'"{text}"' if " " in text or ":" in text or text.startswith("/") else text
