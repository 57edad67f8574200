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


GONE = RunRow(run_id="", workflow="", status="unknown", state="unknown")
"""What stands for a run that was removed since the list was made; the next frame has it right."""


class Newest(Sequence[RunRow]):
    """Rows by their keys, from the end: the newest first without turning anything round."""

    def __init__(self, index: RunIndex, keys: list[Key]) -> None:
        self._index = index
        self._keys = keys

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, at: int) -> RunRow: ...
    @overload
    def __getitem__(self, at: slice) -> list[RunRow]: ...
    def __getitem__(self, at: int | slice) -> RunRow | list[RunRow]:
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(len(self._keys)))]
        run_id = self._keys[-1 - at][1]
        return self._index.get(run_id) or GONE

    def find(self, run_id: str) -> int | None:
        """Where a run is."""
        row = self._index.get(run_id)
        if row is None:
            return None
        key = order(row)
        at = bisect_left(self._keys, key)
        if at < len(self._keys) and self._keys[at] == key:
            return len(self._keys) - 1 - at
        return None


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
            self._written, self._made = -JOURNAL - 1, 0

    def _narrow(self) -> None:
        get = self._index.get
        for word in self._filter.words:
            self._keys = [key for key in self._keys if word in (get(key[1]) or GONE).text]

    def update(self, now: int) -> bool:
        """Take over what changed; whether anything did."""
        behind = self._index.written - self._written
        plain = self._filter.sort == "age" and not self._filter.reverse
        if not plain:
            return self._sort(now) if behind and now - self._made >= SORT_NS else False
        if self._filter.everything:
            self._keys, self._written = self._index.keys(), self._index.written
            return bool(behind)
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
        self._keys = self._index.select(self._filter, now)
        self._sorted = None
        self._made, self._written = now, self._index.written

    def _sort(self, now: int) -> bool:
        by, get = SORTS[self._filter.sort], self._index.get
        rows = [get(key[1]) or GONE for key in reversed(self._index.select(self._filter, now))]
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
