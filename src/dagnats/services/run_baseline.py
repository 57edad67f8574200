"""How long the steps of a workflow usually take, by the runs before."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from dagnats.model.run import RunStatus, StepStatus, WorkflowRun
from dagnats.model.times import MILLISECOND, read_time
from dagnats.services.run_diff import step_duration
from dagnats.services.run_query import RUN_PREFIX
from dagnats.services.session import Session

RUNS = 20
"""How many earlier runs are looked at: enough for a median, few enough to read."""

ENOUGH = 3
"""From how many runs on a duration can be called usual."""

NOTICE = 100 * MILLISECOND
"""Differences below this are noise."""


class Usual(Struct, frozen=True):
    """How long something usually takes.

    Args:
        p50, p95: median and nearly the longest, ns.
        runs: by how many runs.
    """

    p50: int
    p95: int
    runs: int

    def verdict(self, took: int) -> str:
        """``slower``, ``faster`` or ``""``.

        Slower is what takes half as long again as the median and longer than nearly all; faster is
        what takes less than half the median.
        """
        if self.runs < ENOUGH or abs(took - self.p50) < NOTICE:
            return ""
        if took > self.p50 * 1.5 and took > self.p95:
            return "slower"
        return "faster" if took < self.p50 / 2 else ""


class Baseline(Struct, frozen=True):
    """What is usual for a workflow.

    Args:
        runs: ids of the runs it was taken from, newest first.
        whole: how long a run takes.
        steps: how long each step takes, its retries included.
    """

    runs: list[str]
    whole: Usual | None
    steps: dict[str, Usual]


async def baseline(session: Session, run_ids: Iterable[str]) -> Baseline:
    """What these runs say is usual; those that are gone or did not complete say nothing.

    Args:
        session: the connection.
        run_ids: earlier runs of one workflow, newest first.
    """
    keys = [RUN_PREFIX + run_id for run_id in run_ids]
    found = await session.stores.runs.get_many(keys)
    runs = [found[key].value for key in keys if key in found]
    return baseline_of(run for run in runs if run.status == RunStatus.COMPLETED)


def baseline_of(runs: Iterable[WorkflowRun]) -> Baseline:
    """What these runs say is usual."""
    known = list(runs)
    whole = [took for run in known if (took := run_duration(run)) is not None]
    steps: dict[str, list[int]] = {}
    for run in known:
        for step, state in run.steps.items():
            took = step_duration(state)
            if took is not None and state.status == StepStatus.COMPLETED:
                steps.setdefault(step, []).append(took)
    return Baseline(
        [run.run_id for run in known],
        _usual(whole) if whole else None,
        {step: _usual(took) for step, took in steps.items()},
    )


def run_duration(run: WorkflowRun) -> int | None:
    """How long a run took from its creation to its end, ns; ``None`` while that is not known."""
    created, completed = read_time(run.created_at), read_time(run.completed_at)
    return None if created is None or completed is None else max(0, completed - created)


def _usual(durations: list[int]) -> Usual:
    ordered = sorted(durations)
    last = len(ordered) - 1
    return Usual(ordered[last // 2], ordered[round(last * 0.95)], len(ordered))
