"""Starting, retrying, cancelling and signalling one run."""

from __future__ import annotations

import asyncio
import hashlib
import secrets

from msgspec import Raw, Struct

from dagnats.errors import ConflictError, InvalidError, RefusedError, TooLargeError
from dagnats.model.codec import ABSENT, encode, is_absent, parse_json, raw
from dagnats.model.event import Event, EventType, StartPayload
from dagnats.model.gotext import go_text
from dagnats.model.paths import PathError, lookup
from dagnats.model.records import ScheduledRun
from dagnats.model.run import RunStatus, WorkflowRun, is_terminal
from dagnats.model.schema import check_schema
from dagnats.model.times import DAY, SECOND, format_duration, format_time, parse_time
from dagnats.model.workflow import WorkflowDef
from dagnats.services import audit
from dagnats.services.run_query import RUN_PREFIX, appearing_run, find_run
from dagnats.services.schedules import cancel_schedule, find_schedule
from dagnats.services.session import Session
from dagnats.services.tolerant import value_of
from dagnats.services.workflows import get_workflow
from dagnats.telemetry.context import TRACEPARENT
from dagnats.telemetry.spans import context_for
from dagnats.wire import msgids, subjects
from dagnats.wire.publisher import Outgoing
from dagnats.wire.subjects import is_key

MAX_AHEAD = 365 * DAY
"""How far ahead a run may be scheduled (``engine.md`` SCHED-1)."""

MAX_SCHEDULED = 100_000
"""How many runs may be scheduled at once (``engine.md`` SCHED-1)."""

MAX_SIGNAL_BYTES = 1 << 20
"""A signal's payload (``engine.md`` SIG-1)."""

CANCEL_WAIT_S = 2.0
"""How long a cancel waits until the snapshot shows it."""


class Started(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A run that was asked for.

    Args:
        status: ``started``, ``scheduled``, or ``existing``: its idempotency key names this run.
        run_at: when a scheduled run starts, as the caller wrote it.
    """

    run_id: str
    status: str = "started"
    run_at: str = ""


class Retried(Struct, frozen=True):
    """A new run made from an old one."""

    original_run_id: str
    workflow: str
    new_run_id: str


class Cancelled(Struct, frozen=True):
    """A run that was cancelled.

    Args:
        scheduled: it was cancelled before it began.
        confirmed: its snapshot shows it; otherwise no engine has acted on it yet.
    """

    run_id: str
    cancelled: bool = True
    scheduled: bool = False
    confirmed: bool = True


class Signalled(Struct, frozen=True):
    """A signal that was sent."""

    run_id: str
    signal: str
    sent: bool = True


def new_run_id() -> str:
    """A fresh run id: 32 hex digits."""
    return secrets.token_hex(16)


def check_input(definition: WorkflowDef, data: bytes | None) -> Raw:
    """The input of a run as it is published; no input at all is allowed and not checked.

    Raises:
        InvalidError: it is not JSON, or does not fit the workflow's input schema.
    """
    if data is None:
        return ABSENT
    value = parse_json_input(data)
    if is_absent(definition.input_schema):
        return value
    problems = check_schema(bytes(definition.input_schema), bytes(value))
    if problems:
        raise InvalidError(
            f"input validation: {problems[0]}",
            f"the schema is in 'dagnats workflow show {definition.name} --json'",
            tuple(problems),
        )
    return value


def parse_json_input(data: bytes, what: str = "input") -> Raw:
    """JSON given by a person, compacted.

    Raises:
        InvalidError: it is not JSON.
    """
    try:
        return raw(parse_json(data))
    except InvalidError as error:
        shown = data[:64].decode(errors="replace")
        text = f"{what} is {error.message}: {shown!r}"
        raise InvalidError(text, "quote it for the shell") from None


def start_event(run_id: str, payload: StartPayload, now: int) -> Outgoing:
    """The message that starts a run, within the trace of the request or task that asks for it."""
    trace_parent = context_for(run_id)
    event = Event(
        type=EventType.WORKFLOW_STARTED.value,
        run_id=run_id,
        timestamp=format_time(now),
        payload=raw(payload),
        trace_parent=trace_parent,
    )
    headers = {TRACEPARENT: trace_parent} if trace_parent else {}
    msg_id = msgids.event(run_id, event.type)
    return Outgoing(subjects.history(run_id), encode(event), msg_id, headers)


async def start_run(
    session: Session,
    workflow: str,
    input: bytes | None = None,  # noqa: A002
    at: str | None = None,
) -> Started:
    """Start a run, or schedule it.

    With an idempotency key in the definition, the same key value names the same run: its id is
    reserved before anything is published, so two starts at once make one run.

    Args:
        session: the connection.
        workflow: name of a registered workflow.
        input: a JSON value; ``None``: no input.
        at: RFC 3339 time at which the run is to start; ``None``: now.

    Raises:
        NotFoundError: there is no such workflow.
        InvalidError: the input or the time is wrong.
    """
    due = check_time(at, session.now()) if at else 0
    definition = await get_workflow(session, workflow)
    payload = StartPayload(workflow_def=raw(definition), input=check_input(definition, input))
    run_id, reserved = await reserve(session, definition, payload.input)
    if not reserved and await run_is_known(session, run_id):
        return Started(run_id=run_id, status="existing")
    if at and due:
        await _schedule(session, definition.name, run_id, payload.input, at)
        return Started(run_id=run_id, status="scheduled", run_at=at)
    await session.bus.publisher.publish(start_event(run_id, payload, session.now()))
    return Started(run_id=run_id)


def near(at: str, now: int) -> str | None:
    """A start time as :func:`start_run` takes it; one that is not a second ahead means now.

    Clients of the HTTP API send the present as a time, and their clocks differ from ours
    (``wire.md`` 12.2).
    """
    try:
        due = parse_time(at) or 0 if at else 0
    except ValueError:
        return at
    return at if at and abs(due - now) > SECOND else None


def check_time(at: str, now: int) -> int:
    """Nanoseconds of a start time.

    Raises:
        InvalidError: it is not RFC 3339, in the past, or too far ahead.
    """
    try:
        due = parse_time(at) or 0
    except ValueError as error:
        raise InvalidError(
            f"invalid --at time (use RFC3339): {error}", "write it as 2026-01-15T09:00:00Z"
        ) from None
    if due <= now:
        raise InvalidError(f"run_at must be in the future: {at}")
    if due - now > MAX_AHEAD:
        most = format_duration(MAX_AHEAD)
        raise InvalidError(f"run_at exceeds maximum schedule-ahead of {most}: {at}")
    return due


def idempotency_key(definition: WorkflowDef, given: Raw) -> str:
    """The bucket key that stands for an input (``engine.md`` FLOW-62); empty when there is none."""
    if not definition.idempotency_key or is_absent(given):
        return ""
    try:
        value = lookup(parse_json(bytes(given)), definition.idempotency_key)
    except PathError:
        return ""
    return hashlib.sha256(f"{definition.name}.{go_text(value)}".encode()).hexdigest()


async def reserve(session: Session, definition: WorkflowDef, given: Raw) -> tuple[str, bool]:
    """The id of the run to start, and whether it is new."""
    run_id, key = new_run_id(), idempotency_key(definition, given)
    if not key:
        return run_id, True
    bucket = session.stores.idempotency
    for _ in range(3):  # An entry may expire between the two calls.
        try:
            await bucket.create(key, run_id)
        except ConflictError:
            entry = await bucket.get(key)
            if entry is not None:
                return entry.value, False
            continue
        return run_id, True
    raise ConflictError("the idempotency key is being taken by others", "try again")


async def run_is_known(session: Session, run_id: str) -> bool:
    """Whether a reserved run exists: its starter may have died before it published anything."""
    stores = session.stores
    return bool(
        await stores.runs.get(RUN_PREFIX + run_id)
        or await value_of(stores.scheduled, run_id)
        or await stores.history.first(run_id)
    )


async def _schedule(session: Session, workflow: str, run_id: str, given: Raw, at: str) -> None:
    stores = session.stores
    if await stores.scheduled.count() >= MAX_SCHEDULED:
        raise RefusedError(
            f"{MAX_SCHEDULED} runs are scheduled already",
            "cancel some, see 'dagnats run list --scheduled'",
        )
    record = ScheduledRun(
        run_id=run_id,
        workflow_id=workflow,
        input=given,
        run_at=at,
        created_at=format_time(session.now()),
    )
    # The record first: whoever hears the message looks for it.
    await stores.scheduled.put(run_id, record)
    await session.bus.publisher.publish(
        Outgoing(subjects.scheduled(run_id), encode(record), msgids.scheduled(run_id))
    )


async def retry_run(
    session: Session,
    run_id: str,
    input: bytes | None = None,  # noqa: A002
) -> Retried:
    """Start a run of the same workflow, with the same input unless another is given.

    It takes the current definition, and is a new run whatever the idempotency key says.

    Raises:
        NotFoundError: the run or its workflow does not exist.
        InvalidError: the input given is wrong.
    """
    old = await find_run(session, run_id)
    definition = await get_workflow(session, old.workflow_id)
    given = old.input if input is None else check_input(definition, input)
    payload = StartPayload(workflow_def=raw(definition), input=given, origin_run_id=old.run_id)
    new_id = new_run_id()
    await session.bus.publisher.publish(start_event(new_id, payload, session.now()))
    return Retried(old.run_id, old.workflow_id, new_id)


async def cancel_run(session: Session, run_id: str) -> Cancelled:
    """Cancel a run, or a scheduled one before it begins.

    Waits, 2 s at most, until the snapshot shows it.

    Raises:
        NotFoundError: there is no such run.
        ConflictError: it has ended already.
    """
    if await cancel_schedule(session, run_id):
        return Cancelled(run_id, scheduled=True)
    run = await live_run(session, run_id)
    await session.bus.publisher.publish(cancel_event(run_id, run.reopened, session.now()))
    await audit.record(session, "run.cancel", run_id)
    return Cancelled(run_id, confirmed=await _until_cancelled(session, run_id))


async def live_run(session: Session, run_id: str) -> WorkflowRun:
    """A run that has not ended; one that was just started is waited for.

    Raises:
        NotFoundError: there is no such run.
        ConflictError: it has ended already, or is scheduled and has not begun.
    """
    if await find_schedule(session, run_id):
        raise ConflictError(f"run {run_id} has not begun yet (status: scheduled)")
    run = await appearing_run(session, run_id)
    if is_terminal(run.status):
        raise ConflictError(f"run {run_id} has already ended (status: {run.status})")
    return run


def cancel_event(run_id: str, reopened: int, now: int) -> Outgoing:
    """The message that cancels a run. A reopened run may be cancelled a second time."""
    event = Event(
        type=EventType.WORKFLOW_CANCELLED.value, run_id=run_id, timestamp=format_time(now)
    )
    return Outgoing(
        subjects.history(run_id), encode(event), msgids.event(run_id, event.type, "", reopened)
    )


async def _until_cancelled(session: Session, run_id: str) -> bool:
    deadline = asyncio.get_running_loop().time() + CANCEL_WAIT_S
    while asyncio.get_running_loop().time() < deadline:
        run = await find_run(session, run_id)
        if run.status == RunStatus.CANCELLED:
            return True
        if is_terminal(run.status):
            raise ConflictError(f"run {run_id} ended first (status: {run.status})")
        await asyncio.sleep(0.02)
    return False


async def signal_run(session: Session, run_id: str, name: str, payload: bytes) -> Signalled:
    """Send a named signal to a live run.

    Raises:
        InvalidError: the payload is not JSON, or the name cannot be a key.
        TooLargeError: the payload exceeds 1 MiB.
        NotFoundError: there is no such run.
        ConflictError: it has ended.
    """
    if not is_key(name):
        raise InvalidError(
            f"signal name {name[:64]!r} is not valid", "use letters, digits and - _ / = . only"
        )
    if len(payload) > MAX_SIGNAL_BYTES:
        raise TooLargeError(
            f"signal payload of {len(payload)} bytes exceeds the limit of {MAX_SIGNAL_BYTES} bytes"
        )
    value = parse_json_input(payload, "payload")
    await live_run(session, run_id)
    await session.stores.signals.put(f"{run_id}.{name}", bytes(value))
    await audit.record(session, "run.signal", run_id, {"signal": name})
    return Signalled(run_id, name)
