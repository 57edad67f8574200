"""How a run comes to be: from which payload, whether it may run now, what it starts with."""

from __future__ import annotations

from msgspec import Raw

from dagnats.engine.effects import AddWaiter, Emit
from dagnats.engine.ending import DEADLINE, end
from dagnats.engine.plan import Plan
from dagnats.engine.plans import Known, Plans
from dagnats.engine.run import Run
from dagnats.engine.turn import Env, Turn
from dagnats.engine.waits import cancel_waiters
from dagnats.errors import InvalidError
from dagnats.model.codec import decode, is_absent, parse_json
from dagnats.model.event import Event, EventType, StartPayload
from dagnats.model.gotext import go_text
from dagnats.model.paths import PathError, lookup
from dagnats.model.run import RunStatus, StepState, StepStatus, WorkflowRun
from dagnats.model.schema import check_schema
from dagnats.model.times import SECOND, format_time
from dagnats.model.trigger import TriggerEnvelope
from dagnats.model.workflow import PriorityConfig, WorkflowDef


def new_run(event: Event, now: int, env: Env, plans: Plans) -> tuple[Run, str]:
    """The run a ``workflow.started`` event describes, and why it cannot run (``""``: it can)."""
    try:
        known, start = _read(event, env, plans)
        return _run_of(event, known, start, now), ""
    except InvalidError as error:
        return _stillborn(event, now), error.message


def _read(event: Event, env: Env, plans: Plans) -> tuple[Known, StartPayload]:
    """The three accepted payloads of ``wire.md`` 5.3."""
    data = bytes(event.payload) or b"null"
    start = decode(data, StartPayload)
    if not is_absent(start.workflow_def):
        return plans.read(bytes(start.workflow_def)), start
    if (envelope := _envelope(data)) is not None:
        found = env.definition(envelope.workflow_id)
        if found is None:
            raise InvalidError(f'workflow "{envelope.workflow_id}" not found')
        return plans.check(found), StartPayload(input=event.payload)
    return plans.read(data), StartPayload()


def _envelope(data: bytes) -> TriggerEnvelope | None:
    envelope = decode(data, TriggerEnvelope)
    return envelope if envelope.trigger and envelope.workflow_id else None


def _run_of(event: Event, known: Known, start: StartPayload, now: int) -> Run:
    revision, plan = known
    attached = start.parent_run_id and not start.detached
    snapshot = WorkflowRun(
        run_id=event.run_id,
        workflow_id=plan.definition.name,
        status=RunStatus.RUNNING,
        input=start.input,
        created_at=format_time(now),
        parent_run_id=start.parent_run_id if attached else "",
        parent_step_id=start.parent_step_id if attached else "",
        root_run_id=start.root_run_id if attached and start.root_run_id else event.run_id,
        trace_parent=event.trace_parent,
        revision=revision,
        depth=start.depth,
        origin_run_id=start.origin_run_id,
    )
    for step_id, output in start.reuse.items():
        if step_id in plan.steps and step_id not in plan.aux:
            snapshot.steps[step_id] = _reused(bytes(output), now)
    return Run(snapshot, plan)


def _reused(output: bytes, now: int) -> StepState:
    return StepState(status=StepStatus.COMPLETED, output=output, finished_at=format_time(now))


def _stillborn(event: Event, now: int) -> Run:
    """A run whose payload cannot be run; it exists so that its caller can see why."""
    name = ""
    try:
        start = decode(bytes(event.payload) or b"null", StartPayload)
        envelope = decode(bytes(event.payload) or b"null", TriggerEnvelope)
        name = envelope.workflow_id
        if not is_absent(start.workflow_def):
            name = decode(bytes(start.workflow_def), WorkflowDef).name
    except InvalidError:
        name = ""  # Not even the name can be read; the error says what is wrong.
    snapshot = WorkflowRun(
        run_id=event.run_id,
        workflow_id=name,
        status=RunStatus.RUNNING,
        created_at=format_time(now),
        root_run_id=event.run_id,
        trace_parent=event.trace_parent,
    )
    return Run(snapshot, Plan(WorkflowDef(name=name)))


def enter(turn: Turn) -> None:
    """Let a new run in: schema, singleton, priority, run slot (RUN-7); else it ends or waits."""
    problem = _schema_problem(turn)
    if problem:
        end(turn, RunStatus.FAILED, f"input validation: {problem}")
        return
    if not _pass_singleton(turn):
        return
    turn.run.snapshot.priority_offset = _priority(turn)
    admit(turn)
    if not turn.run.terminal:
        for waiter, since in cancel_waiters(turn):
            turn.do(AddWaiter(waiter, since))


def admit(turn: Turn) -> None:
    """Take a run slot and set the deadline, or wait as ``pending``."""
    run, snapshot = turn.run, turn.run.snapshot
    bounds = run.plan.definition.concurrency
    limit = bounds.max_runs if bounds else 0
    effective = turn.now - snapshot.priority_offset * SECOND
    if not _has_slot(turn, limit, effective):
        snapshot.status = RunStatus.PENDING.value
        waiting = EventType.WORKFLOW_WAITING
        turn.emit(waiting, msg_id=f"{run.id}.{waiting}.{turn.seq}")
        return
    snapshot.status = RunStatus.RUNNING.value
    timeout = run.plan.definition.timeout
    if timeout > 0:
        snapshot.deadline = format_time(turn.now + timeout)
        event = turn.event_of(EventType.WORKFLOW_TIMEOUT, DEADLINE)
        turn.timer("run", turn.now + timeout, event, f"{run.id}.workflow.timeout.{turn.seq}")


def _has_slot(turn: Turn, limit: int, effective: int) -> bool:
    """Whether the run may begin; an event that is applied again is decided as it was."""
    flow, workflow, run_id = turn.env.flow, turn.run.snapshot.workflow_id, turn.run.id
    if flow.had_to_wait(workflow, run_id, turn.seq):
        return False
    if flow.was_in(workflow, run_id, turn.seq) or flow.admit(workflow, limit, run_id, effective):
        return True
    flow.wait(workflow, run_id, turn.seq)
    return False


def _schema_problem(turn: Turn) -> str:
    schema = turn.run.plan.definition.input_schema
    given = turn.run.snapshot.input
    if is_absent(schema) or is_absent(given):
        return ""
    data = bytes(given)
    envelope = _envelope(data) if data.lstrip()[:1] == b"{" else None
    if envelope is not None:
        data = bytes(envelope.data) or b"null"
    problems = check_schema(bytes(schema), data)
    return problems[0] if problems else ""


def _value_at(data: Raw, path: str) -> str | None:
    try:
        return go_text(lookup(parse_json(bytes(data) or b"null"), path))
    except (PathError, InvalidError):
        return None


def _priority(turn: Turn) -> int:
    config: PriorityConfig | None = turn.run.plan.definition.priority
    if config is None:
        return 0
    value = _value_at(turn.run.snapshot.input, config.key)
    if value is None:
        return 0
    return max(-600, min(600, config.rules.get(value, config.default_offset)))


def _pass_singleton(turn: Turn) -> bool:
    definition, run = turn.run.plan.definition, turn.run
    if definition.singleton is None:
        return True
    key = definition.name
    if definition.singleton.key:
        value = _value_at(run.snapshot.input, definition.singleton.key)
        key = key if value is None else f"{key}.{value}"
    flow = turn.env.flow
    if flow.was_refused(definition.name, run.id, turn.seq):
        _skip(turn, "another run")
        return False
    known = flow.was_in(definition.name, run.id, turn.seq)
    holder = run.id if known else flow.lock(key, run.id)
    if holder == run.id:
        run.snapshot.singleton_key = key
        return True
    if definition.singleton.mode == "skip":
        _skip(turn, holder)
        return False
    flow.take_over(key, run.id)
    flow.leave(definition.name, holder, turn.seq)
    run.snapshot.singleton_key = key
    _cancel_other(turn, holder)
    return True


def _skip(turn: Turn, holder: str) -> None:
    reason = f"singleton skip: run already active: {holder}"
    turn.run.snapshot.steps = {
        "<admission-skip>": StepState(status=StepStatus.FAILED, error=reason)
    }
    end(turn, RunStatus.CANCELLED, reason)
    # After its end, which says that it has given back what it never had.
    turn.env.flow.refuse(turn.run.snapshot.workflow_id, turn.run.id, turn.seq)


def _cancel_other(turn: Turn, holder: str) -> None:
    event = turn.event_of(EventType.WORKFLOW_CANCELLED, run_id=holder)
    turn.do(Emit(event, f"{holder}.{EventType.WORKFLOW_CANCELLED}"))
