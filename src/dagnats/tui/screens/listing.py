"""What the screens that are lists have in common: filters, headings, JSON, dialogs over many."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from dagnats.errors import DagnatsError, InvalidError
from dagnats.model.times import DAY, SECOND, read_time
from dagnats.services.address import Address, Term
from dagnats.tui.actions import Action, going
from dagnats.tui.format import NONE, age, clock, span
from dagnats.tui.jsontree import JsonTree, node_line
from dagnats.tui.line import Line, safe
from dagnats.tui.theme import Look
from dagnats.tui.view import View
from dagnats.tui.widgets.text import Text

JSON_ROWS = 400
"""Rows of a document that are painted; ``y`` copies the whole."""


PAIRED = 72
"""Cells from which on short rows stand beside each other."""


class Filter:
    """Which rows of a list an address means: ``key:value`` terms and words after ``/``.

    Args:
        address: of the list.
        keys: the keys its terms may have.

    Raises:
        InvalidError: a term has another key.
    """

    def __init__(self, address: Address, keys: Iterable[str] = ()) -> None:
        known = tuple(keys)
        for term in address.terms:
            if term.key not in known:
                names = ", ".join(known) or "no filters here"
                raise InvalidError(f"unknown filter {term.key[:40]}:", f"there are {names}")
        self._terms = address.terms
        self._words = address.text.lower().split()

    @property
    def everything(self) -> bool:
        """Whether it wants every row."""
        return not self._terms and not self._words

    def accepts(self, values: Mapping[str, str], text: str) -> bool:
        """Whether a row is wanted.

        Args:
            values: of the row by key; a key that is missing accepts anything.
            text: what words are looked for in, in any case.
        """
        plain = text.lower()
        if not all(word in plain for word in self._words):
            return False
        return all(_holds(term, values.get(term.key)) for term in self._terms)


def _holds(term: Term, value: str | None) -> bool:
    if value is None:
        return True
    found = any(value == wanted or fnmatch.fnmatchcase(value, wanted) for wanted in term.values)
    return found != term.negated


def term(address: Address, key: str) -> str:
    """The first value of a term, or nothing."""
    return next((each.values[0] for each in address.terms if each.key == key), "")


def with_text(address: Address, text: str) -> Address:
    """The address with other words to look for."""
    return msgspec.structs.replace(address, text=text)


def with_term(address: Address, key: str, value: str) -> Address:
    """The address with another value for a term; an empty one leaves the term out."""
    kept = tuple(each for each in address.terms if each.key != key)
    added = (Term(key=key, values=(value,)),) if value else ()
    return msgspec.structs.replace(address, terms=(*kept, *added))


class ListView(View):
    """A view of one list: it takes over the address, and refilters as ``/`` is typed.

    Attributes:
        keys: of the terms its filter understands.
    """

    keys: tuple[str, ...] = ()

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.here = Address(kind=kind)
        self.only = Filter(self.here)
        self._second = 0

    def navigate(self, address: Address) -> None:
        """Filter as asked; what makes no sense is reported, and changes nothing."""
        try:
            self.only = Filter(address, self.keys)
        except DagnatsError as error:
            self.host.report(f"{error.message} ({error.hint})", "bad")
            return
        self.here = address
        self.refiltered()

    def refiltered(self) -> None:
        """The address has changed."""

    def address(self) -> Address:
        """The filter."""
        return self.here

    def age(self) -> None:
        """Let ages move when a second has passed: where much happens, no tick comes."""
        second = self.host.now() // SECOND
        if second != self._second:
            self._second = second
            self.tick()

    def detail_actions(self) -> list[Action]:
        """Scrolling the pane beside the list, without leaving the list."""
        pane = next((p for p in self.panes() if isinstance(p, Text) and p.ground != "bg"), None)
        if pane is None:
            return []
        return [
            going("detail.down", "Scroll the detail down", lambda: pane.scroll(3), "J"),
            going("detail.up", "Scroll the detail up", lambda: pane.scroll(-3), "K"),
        ]

    def filter(self, text: str) -> None:
        """The words must occur."""
        self.navigate(with_text(self.here, text))
        self.flush()
        self.changed()


def title(text: str, width: int, about: str = "") -> Line:
    """A heading inside a pane, with a note at its right."""
    row = Line().add(text, "muted bold")
    return row.right(Line().add(about, "faint"), width) if about else row


def labelled(label: str, value: object, role: str = "text", width: int = 11) -> Line:
    """``label value`` with the values under each other."""
    return Line().add(label, "muted", width=width).gap().add(value, role)


def paired(rows: list[Line], width: int) -> list[Line]:
    """Short rows, two beside each other where there is room for them."""
    half = width // 2
    if width < PAIRED or any(row.width > half - 2 for row in rows):
        return rows
    lines: list[Line] = []
    for at in range(0, len(rows), 2):
        row = Line().extend(rows[at])
        if at + 1 < len(rows):
            row.to(half).extend(rows[at + 1])
        lines.append(row)
    return lines


def when(text: str, now: int) -> str:
    """A time on the wire as an age, or as how long until it comes; a dash for none."""
    moment = read_time(text)
    if not moment:
        return NONE
    return f"{age(now - moment)} ago" if moment <= now else f"in {span(moment - now)}"


def moment_of(text: str, now: int) -> str:
    """A time on the wire without its date if that is today's; a dash for none."""
    moment = read_time(text)
    if moment and moment // DAY == now // DAY:
        return clock(moment)
    return stamp(text)


def editable(value: Any) -> str:
    """JSON to be edited: what a terminal would act upon, or not show, is escaped."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode(errors="replace")
    return "".join(char if safe(char) == char or char == "\n" else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def stamp(text: str) -> str:
    """A time on the wire as ``Nov 25 10:03:57``; a dash for none."""
    moment = read_time(text)
    if not moment:
        return NONE
    return datetime.fromtimestamp(moment // SECOND, tz=UTC).strftime("%b %d %H:%M:%S")


def json_lines(data: bytes, look: Look, most: int = JSON_ROWS) -> list[Line]:
    """A document, everything open, at most so many rows."""
    if not data:
        return [Line().add("none", "muted")]
    tree = JsonTree(data)
    tree.open_all()
    rows = tree.rows()
    lines = [node_line(tree, node, look) for node in rows[:most]]
    if len(rows) > most:
        lines.append(Line().add(f"{len(rows) - most:,} more rows; y copies all", "muted"))
    return lines


def change_lines(changes: Iterable[tuple[str, str, str]], width: int) -> list[Line]:
    """What an edit changes: path, and the value before and after."""
    lines: list[Line] = []
    for path, old, new in changes:
        lines.append(Line().add(path, "accent", most=width))
        lines.append(Line().add("  - ", "bad").add(old, "muted", most=width - 4))
        lines.append(Line().add("  + ", "ok").add(new, "text", most=width - 4))
    return lines or [Line().add("nothing is changed", "muted")]
