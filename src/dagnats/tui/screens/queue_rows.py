"""Task queues as rows: what waits, who serves it, and what keeps it waiting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dagnats.model.records import WorkerRegistration
from dagnats.model.workflow import TASK_TYPES, WorkflowDef
from dagnats.services.health import Health
from dagnats.services.infos import QueueRow
from dagnats.services.run_rows import RunRow


@dataclass(frozen=True, slots=True)
class QueueLine:
    """One task queue.

    Attributes:
        workers: those that announced the task.
        users: the steps that need it, as ``workflow/step``.
        gate: what keeps it waiting, with its role; empty when nothing does.
    """

    task: str
    row: QueueRow
    workers: list[WorkerRegistration]
    users: list[str]
    gate: tuple[str, str]

    @property
    def glyph(self) -> str:
        """Name of the glyph that stands for its state."""
        if self.gate[1] == "bad":
            return "failed"
        if self.row.pending:
            return "queued"
        return "running" if self.row.in_flight else ("ok" if self.served else "pending")

    @property
    def role(self) -> str:
        """How the glyph looks."""
        if self.gate[1]:
            return self.gate[1]
        if self.row.pending:
            return "wait"
        return "run" if self.row.in_flight else ("ok" if self.served else "muted")

    @property
    def served(self) -> bool:
        """Whether anybody would take a task."""
        return self.row.served or bool(self.workers)

    @property
    def text(self) -> str:
        """What the filter looks for words in."""
        names = (worker.worker_id for worker in self.workers)
        return " ".join((self.task, self.gate[0], *self.users, *names))


def queue_lines(health: Health, flows: Mapping[str, WorkflowDef]) -> list[QueueLine]:
    """Every queue, and every task that a workflow needs: what waits and nobody serves first."""
    rows = {row.task: row for row in health.queues}
    needs = needed(flows.values())
    lines = [
        _line(task, rows.get(task) or QueueRow(task=task), health, needs.get(task, []))
        for task in {*rows, *needs}
    ]
    return sorted(lines, key=lambda line: (_rank(line), -line.row.pending, line.task))


def _rank(line: QueueLine) -> int:
    return {"bad": 0, "warn": 1}.get(line.gate[1], 2)


def needed(flows: Iterable[WorkflowDef]) -> dict[str, list[str]]:
    """The steps that need a task, by queue."""
    found: dict[str, list[str]] = {}
    for flow in flows:
        for step in flow.steps:
            if step.task and step.type in TASK_TYPES:
                queue = f"{step.task}.{step.worker_group}" if step.worker_group else step.task
                found.setdefault(queue, []).append(f"{flow.name}/{step.id}")
    return found


def _line(task: str, row: QueueRow, health: Health, users: list[str]) -> QueueLine:
    bare = [worker for worker in health.workers if task in worker.task_types]
    grouped = [
        worker
        for worker in health.workers
        if worker not in bare and any(task.startswith(f"{own}.") for own in worker.task_types)
    ]
    workers = bare or (grouped if row.served else [])
    return QueueLine(task, row, workers, users, _gate(row, workers, users, health))


def _gate(
    row: QueueRow, workers: list[WorkerRegistration], users: list[str], health: Health
) -> tuple[str, str]:
    if not row.served and not workers:
        return ("nobody serves it", "bad") if row.pending else ("no worker", "warn")
    if health.paused.paused:
        return "dispatch is paused", "warn"
    held = {user.partition("/")[0] for user in users} & set(health.paused.workflows)
    if held:
        return f"{min(held)} is paused", "warn"
    if row.pending and not row.waiting:
        return "workers are full", "wait"
    return "", ""


@dataclass(slots=True)
class Depths:
    """How deep the queues were at the last looks, oldest first."""

    keep: int = 60
    seen: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    at: int = 0

    def look(self, health: Health) -> bool:
        """Take over a look; whether it was a new one."""
        if health.at == self.at:
            return False
        self.at = health.at
        known = {row.task: row.pending for row in health.queues}
        for task in {*known, *self.seen}:
            ring = self.seen.setdefault(task, [])
            ring.append(known.get(task, 0))
            del ring[: max(0, len(ring) - self.keep)]
        return True


@dataclass(slots=True)
class Busy:
    """What runs are at, as far as the newest of them tell.

    Attributes:
        workers: how many runs each worker has in hand.
        waiting: the newest runs that are queued at a step, by ``workflow/step``.
    """

    workers: dict[str, int] = field(default_factory=dict[str, int])
    waiting: dict[str, list[RunRow]] = field(default_factory=dict[str, list[RunRow]])

    def at(self, places: Iterable[str], most: int) -> list[RunRow]:
        """The newest runs that are queued at one of some steps."""
        found = [run for place in places for run in self.waiting.get(place, ())]
        return sorted(found, key=lambda run: -run.created_ns)[:most]


def busy_with(runs: Iterable[RunRow], most: int) -> Busy:
    """Look through runs, newest first; ``most`` are kept for each step."""
    busy = Busy()
    for run in runs:
        if run.worker and run.state == "running":
            busy.workers[run.worker] = busy.workers.get(run.worker, 0) + 1
        elif run.state == "queued":
            queued = busy.waiting.setdefault(f"{run.workflow}/{run.step}", [])
            if len(queued) < most:
                queued.append(run)
    return busy
