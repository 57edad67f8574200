"""How the runs of each workflow went in the last day, counted from the runs the console knows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from dagnats.model.times import HOUR
from dagnats.services.run_rows import RunRow

HOURS = 24
SAMPLES = 2_000
"""Durations kept per workflow; the newest."""

SLICE = 2_000
"""Runs looked at before keys are answered again."""


@dataclass(slots=True)
class FlowStats:
    """One workflow.

    Attributes:
        hours: runs that were started in each of the last hours, oldest first.
        durations: of completed runs, ns.
        states: runs that go on, or failed within the day, by state.
        newest: the run that was started last.
    """

    hours: list[int] = field(default_factory=lambda: [0] * HOURS)
    durations: list[int] = field(default_factory=list[int])
    states: dict[str, int] = field(default_factory=dict[str, int])
    completed: int = 0
    failed: int = 0
    newest: RunRow | None = None

    @property
    def started(self) -> int:
        """How many were started within the day."""
        return sum(self.hours)

    @property
    def good(self) -> float | None:
        """The share of those that ended which completed; ``None`` when none ended."""
        ended = self.completed + self.failed
        return self.completed / ended if ended else None

    def quantile(self, share: float) -> int | None:
        """A quantile of the durations, ns."""
        known = sorted(self.durations)
        return known[min(len(known) - 1, int(share * len(known)))] if known else None

    def add(self, run: RunRow, now: int) -> None:
        """Count a run; runs come newest first."""
        if self.newest is None:
            self.newest = run
        back = (now - run.created_ns) // HOUR
        recent = 0 <= back < HOURS
        if recent:
            self.hours[HOURS - 1 - back] += 1
        if not run.ended or (recent and run.status == "failed"):
            self.states[run.state] = self.states.get(run.state, 0) + 1
        if recent and run.status in ("failed", "compensate_failed"):
            self.failed += 1
        if recent and run.status == "completed":
            self.completed += 1
            if len(self.durations) < SAMPLES and (took := run.duration(now)) is not None:
                self.durations.append(took)


async def stats_of(runs: Iterable[RunRow], now: int) -> dict[str, FlowStats]:
    """By workflow; gives way to keys while it counts."""
    found: dict[str, FlowStats] = {}
    for at, run in enumerate(list(runs)):
        found.setdefault(run.workflow, FlowStats()).add(run, now)
        if at % SLICE == SLICE - 1:
            await asyncio.sleep(0)
    return found
