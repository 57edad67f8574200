"""What a campaign has shown."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from msgspec import Struct

from dagnats.model.event import EventType
from dagnats.model.run import WorkflowRun, is_terminal
from dagnats.wire.readers import StoredEvent


class FaultRow(Struct, frozen=True):
    """One kind of kill.

    Args:
        victim: what was killed.
        kills: how often.
        recovery_p50_ms: from a kill to the next result that was recorded, in ms.
        recovery_max_ms: the longest of these.
    """

    victim: str
    kills: int
    recovery_p50_ms: float
    recovery_max_ms: float


class StepRow(Struct, frozen=True):
    """One step, over all runs.

    Args:
        step: its id; the items of a map count as one.
        results: results that were recorded.
        executions: times a worker began it.
        repeated: executions of an attempt that a worker had begun before.
        doubled: results recorded for an attempt that had one: always 0, or it is our fault.
    """

    step: str
    results: int
    executions: int
    repeated: int
    doubled: int


class Verdict(Struct, frozen=True, kw_only=True):
    """The whole campaign.

    Args:
        workflow: what was run.
        seed: which campaign it was: the same seed kills in the same order.
        runs: how many runs were started.
        lost: runs that were acknowledged and are not there.
        stuck: runs that did not end in time.
        statuses: how many runs ended how.
        undisturbed: how a run ends when nothing is killed.
        other_outputs: runs that ended with other outputs than the undisturbed one.
        left_over: tasks that stayed in the queue.
        faults: by kind of kill.
        steps: by step.
        seconds: how long it took.
    """

    workflow: str
    seed: int
    runs: int
    lost: int
    stuck: int
    statuses: dict[str, int]
    undisturbed: str
    other_outputs: int
    left_over: int
    faults: list[FaultRow]
    steps: list[StepRow]
    seconds: float

    @property
    def held(self) -> bool:
        """Whether every promise was kept: nothing lost, stuck, doubled or ended otherwise."""
        doubled = sum(row.doubled for row in self.steps)
        others = set(self.statuses) - {self.undisturbed}
        return not (self.lost or self.stuck or doubled or self.left_over or others)


def step_rows(histories: Mapping[str, list[StoredEvent]]) -> list[StepRow]:
    """Count executions and results of every step, in the order of their first execution."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for events in histories.values():
        _count(events, counts)
    return [
        StepRow(step, of["results"], of["executions"], of["repeated"], of["doubled"])
        for step, of in counts.items()
    ]


def _count(events: list[StoredEvent], counts: defaultdict[str, Counter[str]]) -> None:
    begun: Counter[tuple[str, int]] = Counter()
    recorded: Counter[tuple[str, int]] = Counter()
    for stored in events:
        event = stored.event
        of, attempt = counts[event.step_id.partition(".map.")[0]], event.attempt_number or 1
        key = event.step_id, attempt
        if event.type == EventType.STEP_STARTED:
            of["executions"] += 1
            of["repeated"] += begun[key] > 0
            begun[key] += 1
        elif event.type == EventType.STEP_COMPLETED:
            of["results"] += 1
            of["doubled"] += recorded[key] > 0
            recorded[key] += 1
    counts.pop("", None)


def fault_rows(
    kills: list[tuple[str, int]], histories: Mapping[str, list[StoredEvent]]
) -> list[FaultRow]:
    """How long each kill (victim, ns since 1970) kept results from being recorded."""
    results = sorted(
        stored.timestamp_ns
        for events in histories.values()
        for stored in events
        if stored.event.type == EventType.STEP_COMPLETED
    )
    waits: defaultdict[str, list[float]] = defaultdict(list)
    for victim, at in kills:
        later = [moment for moment in results if moment > at]
        waits[victim].append((later[0] - at) / 1e6 if later else 0.0)
    return [
        FaultRow(victim, len(of), round(sorted(of)[len(of) // 2], 1), round(max(of), 1))
        for victim, of in waits.items()
    ]


def ending(run: WorkflowRun | None) -> str:
    """How a run ended; empty while it has not."""
    return run.status if run is not None and is_terminal(run.status) else ""
