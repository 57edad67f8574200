"""The runs the console knows: the newest as rows in order, all others as exact counts."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, deque
from collections.abc import Iterable, Iterator

from dagnats.services.run_filter import RunFilter
from dagnats.services.run_rows import RunRow

KEEP = 100_000
"""Rows kept; beyond it the oldest ended runs are only counted."""

JOURNAL = 5_000
"""Changes that are remembered; who is further behind reads everything."""

Key = tuple[int, str]


def order(row: RunRow) -> Key:
    """Oldest first."""
    return row.created_ns, row.run_id


class RunIndex:
    """Rows by id and in order of creation, and how many runs there are in each state.

    Args:
        keep: rows kept.

    Attributes:
        version: grows with every change.
        complete: every run that was there at first has been read, so that counts are exact.
        dropped: runs that are counted but no longer kept as rows.
        active: the rows of runs that have not ended.
        journal: ids of the last changes, oldest first; ``written`` says how many there ever were.
    """

    def __init__(self, keep: int = KEEP) -> None:
        self.keep = keep
        self.version = 0
        self.complete = False
        self.dropped: dict[str, str] = {}
        self.states: Counter[str] = Counter()
        self.workflows: Counter[str] = Counter()
        self.active: dict[str, RunRow] = {}
        self.journal: deque[str] = deque(maxlen=JOURNAL)
        self.written = 0
        self._rows: dict[str, RunRow] = {}
        self._order: list[Key] = []

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def total(self) -> int:
        """How many runs there are."""
        return len(self._rows) + len(self.dropped)

    def get(self, run_id: str) -> RunRow | None:
        """A row by its full id."""
        return self._rows.get(run_id)

    def newest(self) -> Iterator[RunRow]:
        """The rows, newest first."""
        rows = self._rows
        for _, run_id in reversed(self._order):
            yield rows[run_id]

    def keys(self) -> list[Key]:
        """The keys of the rows, oldest first."""
        return list(self._order)

    def select(self, wanted: RunFilter, now: int) -> list[Key]:
        """The keys of the rows that a filter wants, oldest first."""
        keys, rows = list(self._order), self._rows
        for word in wanted.words:
            keys = [key for key in keys if word in rows[key[1]].text]
        for test in wanted.tests:
            keys = [key for key in keys if test(rows[key[1]], now)]
        return keys

    def with_prefix(self, prefix: str, most: int = 20) -> list[RunRow]:
        """The newest rows whose id begins with a prefix."""
        found: list[RunRow] = []
        for row in self.newest():
            if row.run_id.startswith(prefix):
                found.append(row)
                if len(found) == most:
                    break
        return found

    def put(self, row: RunRow) -> RunRow | None:
        """Take over a row; the one it replaces, if it was known."""
        old = self._rows.get(row.run_id)
        if old == row:
            return old
        self.version += 1
        if old is None:
            self._forget_dropped(row.run_id)
            insort(self._order, order(row))
            self.workflows[row.workflow] += 1
        else:
            self._count(old.state, -1)
            if order(old) != order(row):
                self._unorder(old)
                insort(self._order, order(row))
        self._rows[row.run_id] = row
        self._note(row.run_id, None if row.ended else row)
        self._count(row.state, 1)
        if len(self._rows) > self.keep + self.keep // 20:
            self._shrink()
        return old

    def put_older(self, rows: Iterable[RunRow]) -> list[RunRow]:
        """Take over rows read back from the past, unless something newer is known; the new ones."""
        new = [
            row for row in rows if row.run_id not in self._rows and row.run_id not in self.dropped
        ]
        fresh: list[Key] = []
        for row in new:
            self._count(row.state, 1)
            if len(self._rows) >= self.keep and row.ended:
                self.dropped[row.run_id] = row.state
                continue
            self._rows[row.run_id] = row
            self._note(row.run_id, None if row.ended else row)
            self.workflows[row.workflow] += 1
            fresh.append(order(row))
        # Nearly sorted already, the older part in front: cheap, and once per page.
        self._order = sorted(fresh) + self._order
        self._order.sort()
        self.version += 1
        return new

    def remove(self, run_id: str) -> RunRow | None:
        """Forget a run that was deleted."""
        row = self._rows.pop(run_id, None)
        if row is None:
            self._forget_dropped(run_id)
            return None
        self.version += 1
        self._note(run_id, None)
        self._unorder(row)
        self._count(row.state, -1)
        self.workflows[row.workflow] -= 1
        return row

    def clear(self) -> None:
        """Forget everything, to read it again."""
        self.version += 1
        self.written += JOURNAL + 1
        self.complete = False
        self.active.clear()
        self._rows.clear()
        self._order.clear()
        self.dropped.clear()
        self.states.clear()
        self.workflows.clear()

    def _note(self, run_id: str, active: RunRow | None) -> None:
        self.journal.append(run_id)
        self.written += 1
        if active is None:
            self.active.pop(run_id, None)
        else:
            self.active[run_id] = active

    def _forget_dropped(self, run_id: str) -> None:
        state = self.dropped.pop(run_id, None)
        if state is not None:
            self._count(state, -1)
            self.version += 1

    def _count(self, state: str, by: int) -> None:
        self.states[state] += by
        if not self.states[state]:
            del self.states[state]

    def _unorder(self, row: RunRow) -> None:
        at = bisect_left(self._order, order(row))
        del self._order[at]

    def _shrink(self) -> None:
        """Keep the newest rows, and every run that goes on."""
        excess = len(self._rows) - self.keep
        kept: list[Key] = []
        for at, (created, run_id) in enumerate(self._order):
            if not excess:
                kept += self._order[at:]
                break
            row = self._rows[run_id]
            if not row.ended:
                kept.append((created, run_id))
                continue
            del self._rows[run_id]
            self.dropped[run_id] = row.state
            excess -= 1
        self._order = kept
        self.written += JOURNAL + 1
