"""Plain tables: columns two spaces apart, capitals on top, the last column unpadded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import msgspec

from dagnats.cli.render.console import paint, role_of, width
from dagnats.services.text import one_line

T = TypeVar("T")
GAP = "  "
MIN_FLEX = 12
CELL_LIMIT = 10_000
"""The longest cell in characters, wherever it goes: one value must not fill a disk."""


class Column(msgspec.Struct, Generic[T], frozen=True):
    """One column of a table.

    Args:
        head: what stands on top.
        cell: the text of a row.
        wide: only shown with ``-o wide``.
        flex: may be cut to fit a terminal; ids never are.
        status: coloured by its text.
    """

    head: str
    cell: Callable[[T], str]
    wide: bool = False
    flex: bool = False
    status: bool = False


def render(rows: Sequence[T], columns: Sequence[Column[T]], indent: str = "") -> list[str]:
    """The lines of a table, the heads first, fitted to the terminal if there is one."""
    cells = [[one_line(column.cell(row), CELL_LIMIT) for column in columns] for row in rows]
    heads = [column.head for column in columns]
    widths = [max(map(len, texts)) for texts in zip(heads, *cells, strict=True)]
    _fit(widths, columns, width() - len(indent))
    lines = [_line(heads, widths, None)]
    lines += [_line(texts, widths, columns) for texts in cells]
    return [indent + line for line in lines]


def _fit(widths: list[int], columns: Sequence[Column[T]], room: int) -> None:
    """Take from the widest flexible columns what the terminal does not have."""
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - room
    while room > 0 and excess > 0:
        flexible = [i for i, c in enumerate(columns) if c.flex and widths[i] > MIN_FLEX]
        if not flexible:
            return
        widest = max(flexible, key=lambda i: widths[i])
        cut = min(excess, widths[widest] - MIN_FLEX)
        widths[widest] -= cut
        excess -= cut


def _line(texts: Sequence[str], widths: list[int], columns: Sequence[Column[T]] | None) -> str:
    last = len(texts) - 1
    parts: list[str] = []
    for index, text in enumerate(texts):
        shown = one_line(text, widths[index]) if len(text) > widths[index] else text
        padding = "" if index == last else " " * (widths[index] - len(shown))
        status = columns is not None and columns[index].status
        parts.append((paint(shown, role_of(shown)) if status else shown) + padding)
    return GAP.join(parts).rstrip()


def short_ids(ids: Sequence[str]) -> dict[str, str]:
    """Each id cut to 8 characters, or to as many as tell it from the others."""
    length = 8
    distinct = set(ids)
    while len({full[:length] for full in distinct}) < len(distinct):
        length += 4
    return {full: full[:length] for full in distinct}
