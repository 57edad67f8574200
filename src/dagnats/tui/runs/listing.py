"""Which rows are shown in which order, kept up as runs change."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import overload

from dagnats.model.times import SECOND
from dagnats.services.run_filter import SORTS, RunFilter
from dagnats.services.run_rows import RunRow
from dagnats.tui.feed.runs import JOURNAL, Key, RunIndex, order

ANEW_NS = 5 * SECOND
"""How often a list that depends on the time is made anew."""

SORT_NS = SECOND
"""How often a list in another order than that of age is made anew at most."""


class Newest(Sequence[RunRow]):
    """Rows by their keys, from the end: the newest first without turning anything round."""

    def __init__(self, index: RunIndex, keys: list[Key]) -> None:
        self._index = index
        self.keys = keys

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, at: int) -> RunRow: ...
    @overload
    def __getitem__(self, at: slice) -> list[RunRow]: ...
    def __getitem__(self, at: int | slice) -> RunRow | list[RunRow]:
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(len(self.keys)))]
        row = self._index.get(self.keys[-1 - at][1])
        assert row is not None, "a listed run is kept"
        return row


class Listing:
    """The rows that a filter wants.

    Args:
        index: every run.
    """

    def __init__(self, index: RunIndex) -> None:
        self._index = index
        self._filter = RunFilter()
        self._keys: list[Key] = []
        self._sorted: list[RunRow] | None = None
        self._written = -JOURNAL - 1
        self._made = 0

    @property
    def rows(self) -> Sequence[RunRow]:
        """What is shown, in order."""
        return Newest(self._index, self._keys) if self._sorted is None else self._sorted

    def use(self, wanted: RunFilter) -> None:
        """Take another filter; one that only asks for more words looks at what is left only."""
        narrower = (
            wanted.tests == self._filter.tests
            and (wanted.sort, wanted.reverse) == (self._filter.sort, self._filter.reverse)
            and " ".join(wanted.words).startswith(" ".join(self._filter.words))
        )
        self._filter = wanted
        if narrower and self._sorted is None:
            self._narrow()
        else:
            self._written = -JOURNAL - 1

    def _narrow(self) -> None:
        words, get = self._filter.words, self._index.get
        kept: list[Key] = []
        for key in self._keys:
            row = get(key[1])
            if row is not None and all(word in row.text for word in words):
                kept.append(key)
        self._keys = kept

    def update(self, now: int) -> bool:
        """Take over what changed; whether anything did."""
        behind = self._index.written - self._written
        plain = self._filter.sort == "age" and not self._filter.reverse
        if not plain:
            return self._sort(now) if behind and now - self._made >= SORT_NS else False
        if behind > len(self._index.journal) or self._old(now):
            self._make(now)
            return True
        self._sorted = None
        changed = {self._index.journal[-1 - back] for back in range(behind)}
        for run_id in changed:
            self._place(run_id, now)
        self._written = self._index.written
        return bool(changed)

    def _old(self, now: int) -> bool:
        return self._filter.timed and now - self._made >= ANEW_NS

    def _make(self, now: int) -> None:
        accepts = self._filter.accepts
        if self._filter.everything:
            self._keys = [order(row) for row in self._index.newest()]
        else:
            self._keys = [order(row) for row in self._index.newest() if accepts(row, now)]
        self._keys.reverse()
        self._sorted = None
        self._made, self._written = now, self._index.written

    def _sort(self, now: int) -> bool:
        by = SORTS[self._filter.sort]
        rows = [row for row in self._index.newest() if self._filter.accepts(row, now)]
        rows.sort(key=lambda row: by(row, now), reverse=self._filter.reverse)  # pyright: ignore[reportArgumentType, reportCallIssue]
        self._sorted = rows
        self._made, self._written = now, self._index.written
        return True

    def _place(self, run_id: str, now: int) -> None:
        row = self._index.get(run_id)
        if row is None:
            self._keys = [key for key in self._keys if key[1] != run_id]
            return
        key = order(row)
        at = bisect_left(self._keys, key)
        listed = at < len(self._keys) and self._keys[at] == key
        wanted = self._filter.accepts(row, now)
        if wanted and not listed:
            insort(self._keys, key)
        elif listed and not wanted:
            del self._keys[at]
