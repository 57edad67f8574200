"""Why does nothing happen? The missing condition, its evidence, and the command that helps."""

from __future__ import annotations

import hashlib

from msgspec import Struct

from dagnats.engine.flow import RunGate, TaskGate
from dagnats.errors import InvalidError
from dagnats.model.codec import Wire, decode
from dagnats.model.run import DONE_STEP, RunStatus, StepState, StepStatus, WorkflowRun, is_terminal
from dagnats.model.times import MILLISECOND, format_duration, read_time
from dagnats.model.workflow import TASK_TYPES, StepDef, StepType
from dagnats.services.control import paused
from dagnats.services.infos import QueueRow, consumer_info, list_queues
from dagnats.services.run_query import RunView, get_run
from dagnats.services.schedules import find_schedule
from dagnats.services.session import Session
from dagnats.services.status import ENGINE, HISTORY
from dagnats.services.tolerant import entries_of, value_of

SHOWN = 5
"""How many holders of a limit are named."""

MAX_CHILDREN = 10
"""How many nested runs a chain is followed down."""


class Reason(Struct, frozen=True):
    """One link of the chain.

    Args:
        claim: what is missing, or what is waited for.
        evidence: the facts that prove it.
        command: what to run next; empty when waiting is all there is to do.
    """

    claim: str
    evidence: str
    command: str = ""


class _RunSlots(Wire):
    """The record of a workflow's run slots."""

    value: RunGate | None = None


class _TaskSlots(Wire):
    """The record of a task type's slots."""

    value: TaskGate | None = None


async def why(session: Session, run_id: str) -> list[Reason]:
    """Why a run does not get on, the outermost cause first; for an ended run, why it ended so.

    Raises:
        NotFoundError: there is no such run, scheduled or not.
    """
    schedule = await find_schedule(session, run_id)
    if schedule is not None:
        command = f"dagnats run cancel {run_id}"
        return [Reason("the run has not begun", f"it is scheduled for {schedule.run_at}", command)]
    view = await get_run(session, run_id)
    if is_terminal(view.run.status):
        return _ended(view.run)
    reasons = await _held(session, view.run)
    if view.run.status == RunStatus.PENDING:
        return reasons + await _pending(session, view)
    return reasons + await _Steps(session, view).reasons()


def _ended(run: WorkflowRun) -> list[Reason]:
    if run.status == RunStatus.COMPLETED:
        return [Reason("the run has completed", f"at {run.completed_at or 'an unknown time'}")]
    skip = run.steps.get("<admission-skip>")
    failed = [step for step, state in run.steps.items() if state.status == StepStatus.FAILED]
    step = run.failed_step or (failed[0] if failed else "")
    error = run.error or (run.steps[step].error if step in run.steps else "") or "no error recorded"
    where = f'step "{step}": {error}' if step and skip is None else error
    command = f"dagnats dlq replay --run={run.run_id}"
    if run.status not in (RunStatus.FAILED, RunStatus.COMPENSATE_FAILED):
        command = f"dagnats run retry {run.run_id}"
    return [Reason(f"the run has ended: {run.status}", where, command)]


async def _held(session: Session, run: WorkflowRun) -> list[Reason]:
    """What holds every run, or every run of this workflow."""
    found: list[Reason] = []
    engine = await consumer_info(session, HISTORY, ENGINE)
    if engine is None or not engine.get("num_waiting"):
        lag = engine.get("num_pending", 0) if engine else 0
        text = f"nobody pulls from {HISTORY}; {lag} events wait"
        found.append(Reason("no engine is running", text, "dagnats serve"))
    state = await paused(session)
    if state.paused:
        found.append(Reason("dispatch is paused", "engine_control/pause", "dagnats engine resume"))
    if run.workflow_id in state.workflows:
        name = run.workflow_id
        found.append(
            Reason(
                f'dispatch of workflow "{name}" is paused',
                f"engine_control/pause.{name}",
                f"dagnats engine resume --workflow {name}",
            )
        )
    return found


async def _pending(session: Session, view: RunView) -> list[Reason]:
    """Why a run was not let in: all slots of its workflow are taken."""
    name = view.run.workflow_id
    gate = await _gate(session, "runs", name)
    if not isinstance(gate, RunGate):
        bounds = view.definition.concurrency if view.definition else None
        limit = bounds.max_runs if bounds else 0
        text = f"max_runs is {limit}" if limit else "the engine has not taken it up yet"
        return [Reason("the run waits for a run slot", text, f"dagnats run list --workflow={name}")]
    ahead = [run_id for _, run_id in gate.pending]
    place = ahead.index(view.run.run_id) + 1 if view.run.run_id in ahead else len(ahead)
    holders = list(gate.holders)
    return [
        Reason(
            f'all {gate.limit} run slots of workflow "{name}" are taken',
            f"held by {_named(holders)}; this run is number {place} of {len(ahead)} waiting",
            f"dagnats run why {holders[0]}" if holders else "",
        )
    ]


async def _gate(session: Session, kind: str, name: str) -> RunGate | TaskGate | None:
    """The engine's record of a limit; other makes of server keep none."""
    key = f"{kind}.{hashlib.sha256(name.encode()).hexdigest()[:32]}"
    data = await value_of(session.stores.engine_state, key)
    if data is None:
        return None
    record = _RunSlots if kind == "runs" else _TaskSlots
    try:
        return decode(data, record).value
    except InvalidError:
        return None


def _named(ids: list[str]) -> str:
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    return (", ".join(ids[:SHOWN]) or "nobody") + more


class _Steps:
    """The steps of a running run that are under way, each with what it waits for."""

    def __init__(self, session: Session, view: RunView, depth: int = 0) -> None:
        self._session = session
        self._depth = depth
        self._view = view
        self._run = view.run
        self._queues: list[QueueRow] | None = None

    async def reasons(self) -> list[Reason]:
        """One reason per step that could go on but does not."""
        found: list[Reason] = []
        for step_id in self._view.step_ids:
            state = self._run.steps[step_id]
            if state.status in DONE_STEP or state.status == StepStatus.CANCELLED:
                continue
            step = self._view.steps.get(step_id) or StepDef(id=step_id)
            found += await self._of(step, state)
        if not found:
            text = "every step is done or waits for another"
            found = [Reason("the engine has the next move", text, "dagnats status --detail")]
        return found

    async def _of(self, step: StepDef, state: StepState) -> list[Reason]:
        if state.status == StepStatus.QUEUED:
            return [await self._queued(step, state)]
        if state.status == StepStatus.RUNNING:
            return await self._running(step, state)
        waits = [
            parent
            for parent in step.depends_on
            if (known := self._run.steps.get(parent)) is None or known.status not in DONE_STEP
        ]
        if waits or state.status != StepStatus.PENDING:
            return []  # What it waits for has a reason of its own.
        return await self._unsent(step, state)

    async def _unsent(self, step: StepDef, state: StepState) -> list[Reason]:
        """Ready, but not dispatched: a retry that is not due yet, or a limit."""
        if read_time(state.wake_at) is not None:
            return [self._backing_off(step, state)]
        gate = await _gate(self._session, "tasks", step.task) if step.task else None
        if isinstance(gate, TaskGate) and step.max_task_concurrency:
            holders = [holder.partition(".")[0] for holder in gate.holders]
            return [
                Reason(
                    f'step "{step.id}" waits for a slot of task "{step.task}"',
                    f"all {step.max_task_concurrency} are held by {_named(holders)}",
                    f"dagnats run why {holders[0]}" if holders else "",
                )
            ]
        if step.rate_limit or step.keyed_rate_limit:
            text = f'task "{step.task}" has a rate limit'
            return [Reason(f'step "{step.id}" waits for a token', text)]
        return []

    def _backing_off(self, step: StepDef, state: StepState) -> Reason:
        until = self._until(read_time(state.wake_at), "is tried again")
        after = f"after {state.attempts} attempts; last error: {state.error or 'none'}"
        command = f"dagnats step retry {self._run.run_id} {step.id} --reason 'do not wait'"
        return Reason(f'step "{step.id}" {until}', after, command)

    async def _queued(self, step: StepDef, state: StepState) -> Reason:
        row = await self._queue(step)
        since = f"queued since {state.queued_at}" if state.queued_at else "queued"
        name = f'"{step.task}"' + (f' (group "{step.worker_group}")' if step.worker_group else "")
        if row is None or not row.served:
            seen = "no worker ever served it"
            if row is not None and row.consumer:
                seen = f"consumer {row.consumer} exists, but nobody pulls from it"
            pending = row.pending if row else 0
            return Reason(
                f'step "{step.id}" is queued and no worker serves task {name}',
                f"{seen}; {pending} tasks wait; {since}",
                "start a worker for this task; see 'dagnats workers list'",
            )
        return Reason(
            f'step "{step.id}" is queued behind other tasks of {name}',
            f"{row.pending} tasks wait, {row.in_flight} are in hand; {since}",
            "dagnats status --detail",
        )

    async def _queue(self, step: StepDef) -> QueueRow | None:
        if self._queues is None:
            self._queues = await list_queues(self._session)
        wanted = f"{step.task}.{step.worker_group}" if step.worker_group else step.task
        return next((row for row in self._queues if row.task == wanted), None)

    async def _running(self, step: StepDef, state: StepState) -> list[Reason]:
        if step.type == StepType.SLEEP:
            due = read_time(state.wake_at)
            text = f"wake_at is {state.wake_at}" if due else "its timer is set"
            return [Reason(f'step "{step.id}" {self._until(due, "wakes")}', text)]
        if step.type == StepType.WAIT_FOR_EVENT:
            return [await self._waiting(step)]
        if step.type == StepType.APPROVAL:
            return [await self._approval(step)]
        if step.type == StepType.SUB_WORKFLOW and state.child_run_id:
            return await self._child(step, state.child_run_id)
        if step.type in TASK_TYPES and state.wake_at:
            return [self._backing_off(step, state)]
        if step.type in TASK_TYPES:
            return [self._working(step, state)]
        return []

    def _working(self, step: StepDef, state: StepState) -> Reason:
        if state.map_instances:
            total = len(state.map_instances)
            done = sum(item.status == StepStatus.COMPLETED for item in state.map_instances)
            text = f"{done} of {total} items are done"
            return Reason(f'step "{step.id}" works through its items', text)
        since = read_time(state.started_at)
        lasted = self._session.now() - since if since is not None else None
        took = f" for {_rough(lasted)}" if lasted else ""
        who = f"worker {state.worker_id}" if state.worker_id else "a worker"
        command = f"dagnats workers show {state.worker_id}" if state.worker_id else ""
        return Reason(f'step "{step.id}" is being worked on', f"{who} has had it{took}", command)

    async def _waiting(self, step: StepDef) -> Reason:
        async for entry in entries_of(self._session.stores.waiters):
            waiter = entry.value
            if (waiter.run_id, waiter.step_id) == (self._run.run_id, step.id):
                match = waiter.match
                text = f"{match.left} {match.op} {bytes(match.right).decode(errors='replace')}"
                when = f"when {text}" if match.left else "any will do"
                until = f"; gives up at {waiter.expires_at}" if waiter.expires_at else ""
                return Reason(
                    f'step "{step.id}" waits for event "{waiter.event_type}"',
                    f"{when}{until}",
                    f"dagnats event publish {waiter.event_type} '{{…}}'",
                )
        return Reason(f'step "{step.id}" waits for an event', "its waiter is not registered yet")

    async def _approval(self, step: StepDef) -> Reason:
        record = await value_of(self._session.stores.approvals, f"{self._run.run_id}.{step.id}")
        if record is None:
            text = "its token is used up or expired; the decision is on its way"
            return Reason(f'step "{step.id}" waits for approval', text)
        return Reason(
            f'step "{step.id}" waits for approval',
            f"since {record.created_at}, until {record.expires_at}",
            f"dagnats run approve {self._run.run_id} {step.id}",
        )

    async def _child(self, step: StepDef, child_id: str) -> list[Reason]:
        reason = Reason(
            f'step "{step.id}" waits for its child run',
            f"run {child_id}",
            f"dagnats run why {child_id}",
        )
        child = await value_of(self._session.stores.runs, f"run.{child_id}")
        if child is None or is_terminal(child.status) or self._depth >= MAX_CHILDREN:
            return [reason]
        view = await get_run(self._session, child_id)
        return [reason, *await _Steps(self._session, view, self._depth + 1).reasons()]

    def _until(self, due: int | None, what: str) -> str:
        if due is None:
            return f"{what} when its timer is due"
        left = due - self._session.now()
        if left <= 0:
            return f"{what} any moment: its timer was due {_rough(-left)} ago"
        return f"{what} in {_rough(left)}"


def _rough(nanoseconds: int) -> str:
    return format_duration(nanoseconds - nanoseconds % MILLISECOND)
