"""The virtual log: a bounded list that follows its end until the reader looks back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from dagnats.tui.actions import Action
from dagnats.tui.line import Line
from dagnats.tui.widgets.table import Column, Table

T = TypeVar("T")

KEEP = 200_000
"""Rows that are kept by default."""


class Log(Table[T]):
    """Rows in order of arrival, the newest at the bottom.

    Args:
        cell: how a row looks, for the width there is.
        key: what a row is known by.
        keep: how many rows are kept; older ones are dropped and counted in ``dropped``.
    """

    def __init__(
        self,
        cell: Callable[[T], Line],
        key: Callable[[T], str],
        *,
        keep: int = KEEP,
        id: str | None = None,  # noqa: A002
        classes: str | None = None,
    ) -> None:
        column = Column(title="", cell=cell, width=20, flex=1, gap=0)
        super().__init__([column], key, heading=False, id=id, classes=classes)
        self.keep = keep
        self.dropped = 0
        self.following = True
        self.unseen = 0
        self._all: list[T] = []
        self._accepts: Callable[[T], bool] | None = None

    @property
    def all(self) -> Sequence[T]:
        """Every row that is kept, filtered or not."""
        return self._all

    def append(self, items: Iterable[T]) -> None:
        """Add rows at the end."""
        new = list(items)
        self._all += new
        shown = new if self._accepts is None else [row for row in new if self._accepts(row)]
        if self._accepts is not None:
            self.rows = [*self.rows, *shown]
        excess = len(self._all) - self.keep
        if excess > 0:
            self.dropped += excess
            del self._all[:excess]
        self._arrived(len(shown))

    def _arrived(self, number: int) -> None:
        if self._accepts is None:
            self.rows = self._all
        if self.following:
            self.cursor = max(0, len(self.rows) - 1)
            self._known = self.key(self.rows[self.cursor]) if self.rows else ""
            self.repaint()
            self.post_message(self.Moved(self))
            return
        self.unseen += number
        self.show(self.rows)

    def only(self, accepts: Callable[[T], bool] | None) -> None:
        """Show only the rows that are accepted; ``None``: all."""
        self._accepts = accepts
        self.rows = self._all if accepts is None else [row for row in self._all if accepts(row)]
        self._arrived(0)

    def clear(self) -> None:
        """Forget every row."""
        self._all.clear()
        self.dropped = self.unseen = 0
        self.following = True
        self.show(())

    def move_to(self, index: int, *, follow: bool = False) -> None:
        """Put the cursor on a row; at the last row the log follows again."""
        self.following = index >= len(self.rows) - 1
        if self.following:
            self.unseen = 0
        super().move_to(index, follow=follow)
        self._anchor = self.cursor

    def toggle_following(self) -> None:
        """Follow the end, or stop."""
        if self.following:
            self.following = False
        else:
            self.move_to(len(self.rows))
        self.repaint()

    def actions(self) -> list[Action]:
        """Moving, and following."""
        return [
            Action(
                id="log.follow",
                keys=("F",),
                label="follow",
                title="Follow the end, or stop",
                run=self.toggle_following,
            ),
            *super().actions(),
        ]
