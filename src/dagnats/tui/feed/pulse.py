"""The last hour in minutes: runs started, ended, failed, and how long they took."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field

from dagnats.model.times import MINUTE
from dagnats.services.run_rows import RunRow

SLOTS = 60
"""Minutes kept."""

SAMPLES = 400
"""Durations kept per minute; beyond it every other is dropped."""


FAILURES, USUAL = 2_000, 200
"""Failures kept; durations kept per workflow."""


@dataclass(slots=True)
class Minute:
    """What happened in one minute."""

    started: int = 0
    ended: int = 0
    failed: int = 0
    depth: int = 0
    durations: list[int] = field(default_factory=list[int])


class Pulse:
    """Rings of minutes.

    Args:
        now: ns since 1970; the rings begin here.
    """

    def __init__(self, now: int = 0) -> None:
        self._slot = now // MINUTE
        self._minutes: deque[Minute] = deque((Minute() for _ in range(SLOTS)), maxlen=SLOTS)
        self._usual: dict[str, deque[int]] = {}
        self.failures: deque[RunRow] = deque(maxlen=FAILURES)

    def advance(self, now: int) -> None:
        """Let time pass."""
        slot = now // MINUTE
        for _ in range(min(slot - self._slot, SLOTS)):
            self._minutes.append(Minute())
        self._slot = max(self._slot, slot)

    def changed(self, old: RunRow | None, new: RunRow) -> None:
        """A run is new, or has changed."""
        if old is None and (minute := self._of(new.created_ns)) is not None:
            minute.started += 1
        if new.ended and (old is None or not old.ended):
            self._ended(new)

    def _ended(self, row: RunRow) -> None:
        failed = row.status in ("failed", "compensate_failed")
        if failed:
            self.failures.append(row)
        elif row.status == "completed" and (taken := row.duration(row.ended_ns)) is not None:
            self._usual.setdefault(row.workflow, deque(maxlen=USUAL)).append(taken)
        minute = self._of(row.ended_ns)
        if minute is not None:
            minute.ended += 1
            minute.failed += failed
            self._sample(minute, row)

    def usual(self, workflow: str, share: float = 0.5) -> int | None:
        """A quantile of how long the last completed runs of a workflow took, ns."""
        found = sorted(self._usual.get(workflow, ()))
        return found[min(len(found) - 1, int(share * len(found)))] if found else None

    def newest_failures(self, most: int) -> list[RunRow]:
        """The runs that failed last, the newest first."""
        unique = {row.run_id: row for row in self.failures}
        return heapq.nlargest(most, unique.values(), key=lambda row: row.ended_ns)

    def queued(self, depth: int) -> None:
        """Tasks that wait now; a minute keeps its highest."""
        minute = self._minutes[-1]
        minute.depth = max(minute.depth, depth)

    def _of(self, moment: int) -> Minute | None:
        if not moment:
            return None
        back = self._slot - moment // MINUTE
        return self._minutes[-1 - back] if 0 <= back < SLOTS else None

    def _sample(self, minute: Minute, row: RunRow) -> None:
        taken = row.duration(row.ended_ns)
        if taken is not None:
            minute.durations.append(taken)
            if len(minute.durations) > SAMPLES:
                minute.durations = minute.durations[::2]

    def series(self, name: str) -> list[int]:
        """Sixty values, oldest first: ``started``, ``ended``, ``failed`` or ``depth``."""
        return [getattr(minute, name) for minute in self._minutes]

    def quantile(self, share: float, last: int = SLOTS) -> int | None:
        """A quantile of the durations of the last minutes, ns."""
        found = sorted(d for minute in list(self._minutes)[-last:] for d in minute.durations)
        return found[min(len(found) - 1, int(share * len(found)))] if found else None

    def quantiles(self, share: float) -> list[int]:
        """A quantile per minute; 0 where nothing ended."""
        series: list[int] = []
        for minute in self._minutes:
            found = sorted(minute.durations)
            series.append(found[min(len(found) - 1, int(share * len(found)))] if found else 0)
        return series
