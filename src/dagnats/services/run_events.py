"""What happened in a run: its events, its outputs, its failures, any moment of its past."""

from __future__ import annotations

import msgspec
from msgspec import Raw, Struct

from dagnats.engine.fold import Recorded, fold
from dagnats.errors import InvalidError, NotFoundError
from dagnats.model.codec import decode
from dagnats.model.event import Event, EventType, StartPayload
from dagnats.model.records import DeadLetter
from dagnats.model.run import RunStatus, WorkflowRun
from dagnats.model.times import format_time, read_time
from dagnats.model.workflow import WorkflowDef
from dagnats.services.run_query import RunView, definition_of, find_run, get_run
from dagnats.services.run_why import Reason, why
from dagnats.services.session import Session
from dagnats.services.tolerant import value_of
from dagnats.services.triggers import MASK

FAILURES = frozenset({EventType.STEP_FAILED.value, EventType.WORKFLOW_FAILED.value})


class RunEvent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of a run's history, its payload as text."""

    type: str
    run_id: str
    step_id: str = ""
    timestamp: str = ""
    data: str = ""
    trace_parent: str = ""
    seq: int = 0
    worker_id: str = ""
    attempt_number: int = 0

    @property
    def trace_id(self) -> str:
        """The W3C trace id, 32 hex digits; empty when the event carries none."""
        parts = self.trace_parent.split("-")
        return parts[1] if len(parts) == 4 and len(parts[1]) == 32 else ""


class RunOutputs(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the terminal steps of a run put out.

    Args:
        outputs: text by step; ``None`` while the run is not completed.
        steps: the terminal steps in order, those without output included.
    """

    run_id: str
    status: str
    outputs: dict[str, str] | None = None
    steps: list[str] = []


class Inspection(Struct, frozen=True):
    """Everything about one run in one place."""

    view: RunView
    failures: list[RunEvent]
    dead_letters: list[DeadLetter]
    reasons: list[Reason]


def event_of(stored: Recorded) -> RunEvent:
    """A stored event as it is shown."""
    event = stored.event
    known = read_time(event.timestamp)
    return RunEvent(
        type=event.type,
        run_id=event.run_id,
        step_id=event.step_id,
        timestamp=format_time(stored.timestamp_ns if known is None else known),
        data=_shown(event).decode(errors="replace"),
        trace_parent=event.trace_parent,
        seq=stored.seq,
        worker_id=event.worker_id,
        attempt_number=event.attempt_number,
    )


def _shown(event: Event) -> bytes:
    """An event's payload without the token that decides an approval: a reader is no approver."""
    data = bytes(event.payload)
    if event.type != EventType.APPROVAL_REQUESTED or b"token" not in data:
        return data
    try:
        given = msgspec.json.decode(data, type=dict[str, Raw])
    except msgspec.MsgspecError:
        return data
    return msgspec.json.encode({**given, "token": MASK})


async def run_events(
    session: Session,
    run_id: str,
    type: str = "",  # noqa: A002
    step: str = "",
) -> list[RunEvent]:
    """All events of a run, in order, filtered by exact type and step.

    Raises:
        NotFoundError: there is neither an event nor a snapshot of such a run.
    """
    events = [event_of(stored) for stored in await session.stores.history.read(run_id)]
    if not events:
        await find_run(session, run_id)
    return [
        event
        for event in events
        if (not type or event.type == type) and (not step or event.step_id == step)
    ]


async def trace_id(session: Session, run: WorkflowRun) -> str:
    """The W3C id of a run's trace, that of its first event (``wire.md`` 12.1); or nothing."""
    parent = run.trace_parent
    if not parent:
        first = await session.stores.history.first(run.run_id)
        parent = first.event.trace_parent if first else ""
    return RunEvent(type="", run_id=run.run_id, trace_parent=parent).trace_id


async def run_outputs(session: Session, run_id: str) -> RunOutputs:
    """The outputs of the steps nobody depends on.

    Raises:
        NotFoundError: there is no such run, or its definition is gone.
    """
    view = await get_run(session, run_id)
    run = view.run
    if run.status != RunStatus.COMPLETED:
        return RunOutputs(run_id=run.run_id, status=run.status)
    if view.definition is None:
        raise NotFoundError(
            f'the definition of workflow "{run.workflow_id}" is gone',
            f"see every step with 'dagnats run status {run.run_id} --json'",
        )
    steps = terminal_steps(view)
    outputs = {
        step: run.steps[step].output.decode(errors="replace")
        for step in steps
        if step in run.steps and run.steps[step].output
    }
    return RunOutputs(run_id=run.run_id, status=run.status, outputs=outputs, steps=steps)


def terminal_steps(view: RunView) -> list[str]:
    """The steps with no dependents, in order; what only runs on failure is none of them."""
    steps = view.steps
    needed = {parent for step in steps.values() for parent in step.depends_on}
    rescuers = {step.on_failure for step in steps.values()}
    rescuers |= {step.compensate for step in steps.values()}
    return [step for step in steps if step not in needed and step not in rescuers]


async def inspect_run(session: Session, run_id: str) -> Inspection:
    """A run with its failures, its dead letters, and why it does not move if it does not.

    Raises:
        NotFoundError: there is no such run.
    """
    view = await get_run(session, run_id)
    events = [event_of(stored) for stored in await session.stores.history.read(run_id)]
    dead = [letter async for letter in session.stores.dead_letters.scan(run_id=run_id)]
    return Inspection(
        view,
        [event for event in events if event.type in FAILURES],
        dead,
        await why(session, run_id),
    )


async def run_at(session: Session, run_id: str, seq: int) -> WorkflowRun:
    """The run as it was right after the event with this sequence: time travel.

    Raises:
        NotFoundError: the history does not reach back to the start of the run.
        InvalidError: the start of the run cannot be read.
    """
    stored = await session.stores.history.read(run_id)
    if not stored or stored[0].event.type != EventType.WORKFLOW_STARTED:
        raise NotFoundError(f'the history of run "{run_id[:64]}" is gone')
    definition = await definition_at_start(session, stored[0].event)
    return fold(definition, stored, seq)


async def definition_at_start(session: Session, event: Event) -> WorkflowDef:
    """The definition that a run began with.

    Args:
        session: the connection.
        event: the first of the run's history.

    Raises:
        InvalidError: the event cannot be read, or no definition is known.
        NotFoundError: the event carries no definition, and there is no such run.
    """
    start = decode(bytes(event.payload) or b"{}", StartPayload)
    if bytes(start.workflow_def):
        return decode(bytes(start.workflow_def), WorkflowDef)
    run = await find_run(session, event.run_id)
    found = await definition_of(session, run)
    if found is None:
        found = await value_of(session.stores.definitions, run.workflow_id)
    if found is None:
        raise InvalidError(f'the definition of run "{event.run_id}" is gone')
    return found
