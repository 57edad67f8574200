"""Runs as lists show them: one small record each, however large the run."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from dagnats.model.run import DONE_STEP, StepState, StepStatus, WorkflowRun, is_terminal
from dagnats.model.times import read_time
from dagnats.model.workflow import StepType

ERROR_CHARACTERS = 300
"""How much of an error a row keeps."""

WAITING_TYPES = frozenset({StepType.SLEEP, StepType.WAIT_FOR_EVENT, StepType.APPROVAL})
"""Types of steps that wait for a time, an event or a person while they are ``running``."""


class RunRow(Struct, frozen=True, gc=False, kw_only=True):
    """One run.

    Args:
        status: as stored.
        state: finer than ``status`` while the run goes on: ``queued``, ``retrying`` and ``waiting``
            beside ``running``.
        step: the step it is at, or the one that failed.
        done, total: steps that are done, and all.
        created_ns, ended_ns: ns since 1970; 0 if not known or not ended.
        attempts: of the step it is at.
    """

    run_id: str
    workflow: str
    status: str
    state: str
    step: str = ""
    done: int = 0
    total: int = 0
    attempts: int = 0
    created_ns: int = 0
    ended_ns: int = 0
    error: str = ""
    parent: str = ""
    origin: str = ""
    worker: str = ""
    text: str = ""
    """Everything that can be searched for, in lower case."""

    @property
    def ended(self) -> bool:
        """Whether it accepts nothing more."""
        return is_terminal(self.status)

    def duration(self, now: int) -> int | None:
        """How long it took or has taken so far, ns; ``None`` if that is not known."""
        if not self.created_ns:
            return None
        return max(0, (self.ended_ns or now) - self.created_ns)


def row_of(run: WorkflowRun, types: Mapping[str, str] | None = None) -> RunRow:
    """The row of a run.

    Args:
        run: its snapshot.
        types: the types of its steps, where they are known: sleeping is ``running`` without them.
    """
    ended = is_terminal(run.status)
    step_id = run.failed_step if ended else ""
    state = run.status
    if not ended and run.status == "running":
        state, step_id = _at(run, types or {})
    elif ended and not step_id:
        step_id = _last(run)
    step = run.steps.get(step_id)
    error = (run.error or (step.error if step else ""))[:ERROR_CHARACTERS]
    worker = step.worker_id if step else ""
    words = (run.run_id, run.workflow_id, state, step_id, error, worker)
    return RunRow(
        run_id=run.run_id,
        workflow=run.workflow_id,
        status=run.status,
        state=state,
        step=step_id,
        done=sum(known.status in DONE_STEP for known in run.steps.values()),
        total=len(run.steps),
        attempts=step.attempts if step else 0,
        created_ns=read_time(run.created_at) or 0,
        ended_ns=_ended_ns(run) if ended else 0,
        error=error,
        parent=run.parent_run_id,
        origin=run.origin_run_id,
        worker=worker,
        text=" ".join(words).lower(),
    )


_ORDER = ("running", "retrying", "queued", "waiting")
"""What a run with several steps under way is said to be: the first that applies."""


def _at(run: WorkflowRun, types: Mapping[str, str]) -> tuple[str, str]:
    found: dict[str, str] = {}
    for step_id, step in run.steps.items():
        state = _state(step, types.get(step_id, ""))
        if state:
            found.setdefault(state, step_id)
    for state in _ORDER:
        if state in found:
            return state, found[state]
    return run.status, ""


def _state(step: StepState, kind: str) -> str:
    if step.status == StepStatus.RUNNING:
        return "waiting" if kind in WAITING_TYPES else "running"
    if step.status == StepStatus.QUEUED:
        return "queued"
    if step.status == StepStatus.PENDING and step.wake_at and step.attempts:
        return "retrying"
    return ""


def _last(run: WorkflowRun) -> str:
    """The step that finished last; the last one where times are not told."""
    best, at = "", ""
    for step_id, step in run.steps.items():
        if step.status not in (StepStatus.PENDING, StepStatus.SKIPPED) and step.finished_at >= at:
            best, at = step_id, step.finished_at
    return best


def _ended_ns(run: WorkflowRun) -> int:
    ended = read_time(run.completed_at)
    if ended is not None:
        return ended
    # Other makes of server do not say when a run ended; the last step's end is close.
    return max((read_time(step.finished_at) or 0 for step in run.steps.values()), default=0)
