"""What is kept of the runs: snapshots against their histories, tasks and timers that are owed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from msgspec import Struct

from dagnats.engine.fold import fold
from dagnats.errors import DagnatsError, InvalidError, NotFoundError
from dagnats.model.event import EventType
from dagnats.model.run import StepState, StepStatus, WorkflowRun, is_terminal
from dagnats.model.times import SECOND, read_time
from dagnats.model.workflow import TASK_TYPES, StepDef, WorkflowDef
from dagnats.services.control import paused
from dagnats.services.doctor.findings import Cure, Finding, Repair, Severity
from dagnats.services.infos import consumer_info
from dagnats.services.run_query import RUN_PREFIX
from dagnats.services.session import Session
from dagnats.services.status import ENGINE, HISTORY
from dagnats.wire import subjects
from dagnats.wire.readers import StoredEvent

PATIENCE = 10 * SECOND
"""How long a task or a timer may be on its way before it counts as lost, in ns."""

AT_ONCE = 16
"""How many runs are examined side by side."""


class Case(Struct, frozen=True):
    """One run: what is kept of it, as of one moment."""

    run: WorkflowRun
    revision: int
    events: list[StoredEvent]
    definition: WorkflowDef | None
    acknowledged: int


async def runs(session: Session, limit: int | None) -> AsyncIterator[Finding | None]:
    """Examine runs, those written last first; ``None`` for each in which nothing was found.

    Args:
        session: the connection.
        limit: how many runs; ``None``: all.
    """
    batch: list[str] = []
    seen = 0
    async for entry in session.stores.runs.newest():
        batch.append(entry.value.run_id)
        seen += 1
        if len(batch) == AT_ONCE:
            for findings in await asyncio.gather(*(_examine(session, run) for run in batch)):
                for finding in findings or [None]:
                    yield finding
            batch = []
        if seen == limit:
            break
    for findings in await asyncio.gather(*(_examine(session, run) for run in batch)):
        for finding in findings or [None]:
            yield finding


async def _examine(session: Session, run_id: str) -> list[Finding]:
    found = await _look(session, run_id)
    if not found:
        return []
    # The run moves while it is looked at. What is really wrong is wrong again.
    await asyncio.sleep(0.3)
    return await _look(session, run_id)


async def _look(session: Session, run_id: str) -> list[Finding]:
    case = await find_case(session, run_id)
    if case is None:
        return []
    first = case.events[0].event.type if case.events else ""
    if first != EventType.WORKFLOW_STARTED:
        return [] if is_terminal(case.run.status) else [_without_history(case)]
    return _against_history(case) or await _owed(session, case)


async def find_case(session: Session, run_id: str) -> Case | None:
    """What is kept of a run; ``None`` when it is gone."""
    # In this order: whatever was acknowledged before is in the snapshot we see.
    engine = await consumer_info(session, HISTORY, ENGINE)
    entry = await session.stores.runs.get(RUN_PREFIX + run_id)
    if entry is None:
        return None
    run = entry.value
    definition = None
    if run.revision:
        pinned = await session.stores.revisions.get(f"{run.workflow_id}.{run.revision}")
        definition = pinned.value if pinned else None
    return Case(
        run=run,
        revision=entry.revision,
        events=await session.stores.history.read(run_id),
        definition=definition,
        acknowledged=engine["ack_floor"]["stream_seq"] if engine else 0,
    )


def _without_history(case: Case) -> Finding:
    return Finding(
        severity=Severity.ERROR,
        check="runs",
        subject=case.run.run_id,
        problem=f"is {case.run.status}, but the beginning of its history is gone",
        advice=f"it can still be ended: dagnats run cancel {case.run.run_id}",
    )


# --- the snapshot against the history ---------------------------------------------------------


def _against_history(case: Case) -> list[Finding]:
    run, last = case.run, case.events[-1].seq
    if run.applied_seq > last:
        return [
            _finding(case, f"its snapshot knows event {run.applied_seq}, its log ends at {last}")
        ]
    if case.definition is None:
        return []  # Another make's run, or one whose definition was cleaned: nothing to compare.
    try:
        folded = expected(case)
    except InvalidError as error:
        return [_finding(case, f"its history cannot be applied: {error.message}")]
    difference = _difference(folded, run)
    if not difference:
        return []
    return [_finding(case, difference, Repair(Cure.SNAPSHOT, run.run_id))]


def expected(case: Case, secret: bytes = b"") -> WorkflowRun:
    """The snapshot as the history has it.

    Args:
        case: the run.
        secret: the engine's, for a snapshot that is to be kept.

    Raises:
        InvalidError: the history cannot be applied.
    """
    if case.definition is None:
        raise InvalidError("its definition is not known")
    upto = max(case.run.applied_seq, case.acknowledged)
    return fold(case.definition, case.events, upto, secret)


def _difference(wanted: WorkflowRun, run: WorkflowRun) -> str:
    if wanted.status != run.status:
        return f"its snapshot says {run.status}, its history {wanted.status}"
    for step_id, state in wanted.steps.items():
        stored = run.steps.get(step_id)
        if stored is None:
            return f'its snapshot does not know step "{step_id}"'
        for field in ("status", "attempts", "iterations", "dispatch", "output", "error"):
            if getattr(stored, field) != getattr(state, field):
                return (
                    f'step "{step_id}": {field} is {_shown(getattr(stored, field))} in the '
                    f"snapshot, {_shown(getattr(state, field))} in the history"
                )
    return ""


def _shown(value: object) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return repr(text if len(text) <= 40 else f"{text[:40]}…")


def _finding(case: Case, problem: str, repair: Repair | None = None) -> Finding:
    return Finding(
        severity=Severity.ERROR,
        check="runs",
        subject=case.run.run_id,
        problem=problem,
        advice="" if repair else f"see 'dagnats run events {case.run.run_id}'",
        repair=repair,
    )


# --- what somebody owes a run that is under way -----------------------------------------------


async def _owed(session: Session, case: Case) -> list[Finding]:
    if is_terminal(case.run.status) or case.definition is None:
        return []
    now, found = session.now(), list[Finding]()
    for step in [*case.definition.steps, *case.run.dynamic_steps]:
        state = case.run.steps.get(step.id)
        if state is None:
            continue
        problem = _overdue(state, now)
        if not problem and _waits_for_a_task(step, state, now):
            problem = await _lost_task(session, case.run, step)
        if problem:
            retry = Repair(Cure.RETRY, case.run.run_id, step.id)
            found.append(_finding(case, f'step "{step.id}" {problem}', retry))
    return found


def _overdue(state: StepState, now: int) -> str:
    due = read_time(state.wake_at)
    if due is None or now - due < PATIENCE or state.status not in _UNDER_WAY:
        return ""
    return f"should have gone on at {state.wake_at}: its timer is lost"


_UNDER_WAY = frozenset({StepStatus.QUEUED, StepStatus.RUNNING})


def _waits_for_a_task(step: StepDef, state: StepState, now: int) -> bool:
    if step.type not in TASK_TYPES or state.status not in _UNDER_WAY or state.wake_at:
        return False
    held = step.max_task_concurrency or step.rate_limit is not None
    queued = read_time(state.queued_at)
    # Where a limit may hold it back there need not be a task yet.
    return queued is not None and now - queued > PATIENCE and not (held and not state.started_at)


async def _lost_task(session: Session, run: WorkflowRun, step: StepDef) -> str:
    switches = await paused(session)
    if switches.paused or run.workflow_id in switches.workflows:
        return ""
    try:
        where = [subjects.task(step.task, run.run_id, step.worker_group)]
        if run.sticky_worker:
            where.append(subjects.sticky(step.task, run.sticky_worker, run.run_id))
    except DagnatsError:
        return ""
    for stream, subject in zip(("TASK_QUEUES", "STICKY_TASKS"), where, strict=False):
        try:
            await session.bus.api(f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject})
        except NotFoundError:
            continue
        return ""
    return "is under way, but its task is in no queue"
