"""Acting on one step of a live run: by hand, or by deciding an approval."""

from __future__ import annotations

import asyncio
import hashlib
import hmac

import msgspec
from msgspec import Struct

from dagnats.errors import ConflictError, NotFoundError, RefusedError, UsageError
from dagnats.model.codec import ABSENT, encode, raw
from dagnats.model.event import Event, EventType, OverridePayload
from dagnats.model.records import ApprovalToken
from dagnats.model.run import DONE_STEP, StepStatus
from dagnats.model.times import format_time, read_time
from dagnats.services import audit
from dagnats.services.run_query import find_run
from dagnats.services.runs import live_run, parse_json_input
from dagnats.services.session import Session
from dagnats.services.tolerant import entries_of, entry_of
from dagnats.wire import msgids, subjects
from dagnats.wire.kv import Entry
from dagnats.wire.publisher import Outgoing

ACTIONS = ("complete", "fail", "skip", "retry", "cancel")
MASK = "********"
EFFECT_WAIT_S = 2.0
"""How long an override waits until the snapshot shows it."""


class Overridden(Struct, frozen=True):
    """A step that was acted on; ``status`` is what its snapshot says afterwards."""

    run_id: str
    step_id: str
    action: str
    status: str


class Decided(Struct, frozen=True):
    """An approval that was decided."""

    run_id: str
    step_id: str
    status: str


async def override_step(
    session: Session,
    run_id: str,
    step: str,
    action: str,
    reason: str,
    output: bytes | None = None,
) -> Overridden:
    """Complete, fail, skip, retry or cancel a step by hand; the history keeps who and why.

    Args:
        session: the connection.
        run_id: the full id of a live run.
        step: a step of it that is not done.
        action: one of ``ACTIONS``.
        reason: why; it must say something.
        output: with ``complete``, the step's output as JSON.

    Raises:
        UsageError: the action is unknown, the reason is missing, or an output makes no sense.
        NotFoundError: there is no such run or step.
        ConflictError: the run has ended, or the step's state does not allow it.
    """
    _check_action(action, reason, output)
    run = await live_run(session, run_id)
    state = run.steps.get(step)
    if state is None:
        raise NotFoundError(
            f'run {run_id} has no step "{step}"', f"steps: {', '.join(sorted(run.steps))}"
        )
    if state.status in DONE_STEP:
        raise ConflictError(f'step "{step}" is done (status: {state.status})')
    if action == "retry" and state.status not in (StepStatus.QUEUED, StepStatus.RUNNING):
        raise ConflictError(f'step "{step}" is not queued or running (status: {state.status})')
    given = ABSENT if output is None else parse_json_input(output, "output")
    payload = OverridePayload(action=action, reason=reason, actor=session.actor, output=given)
    now = session.now()
    await _publish(session, run_id, step, EventType.STEP_OVERRIDE, raw(payload), f".{now}")
    await audit.record(
        session, f"step.{action}", f"{run_id}.{step}", {"reason": reason, "was": state.status}
    )
    status = await _status_after(session, run_id, step, encode(state))
    return Overridden(run_id, step, action, status)


def _check_action(action: str, reason: str, output: bytes | None) -> None:
    if action not in ACTIONS:
        raise UsageError(f'unknown action "{action}"; valid: {", ".join(ACTIONS)}')
    if not reason.strip():
        raise UsageError("--reason is required", "say why, for whoever reads the history")
    if output is not None and action != "complete":
        raise UsageError(f"an output makes no sense with {action}")


async def _status_after(session: Session, run_id: str, step: str, before: bytes) -> str:
    """The step's status once it has changed, or after 2 s as it is."""
    deadline = asyncio.get_running_loop().time() + EFFECT_WAIT_S
    while True:
        state = (await find_run(session, run_id)).steps.get(step)
        late = asyncio.get_running_loop().time() > deadline
        if state is None or late or encode(state) != before:
            return state.status if state else ""
        await asyncio.sleep(0.02)


async def approve(
    session: Session, run_id: str, step: str, body: bytes | None = None, token: str | None = None
) -> Decided:
    """Let an approval step pass; see :func:`_decide`."""
    return await _decide(session, run_id, step, body, token, EventType.APPROVAL_GRANTED)


async def reject(
    session: Session, run_id: str, step: str, body: bytes | None = None, token: str | None = None
) -> Decided:
    """Make an approval step fail; see :func:`_decide`."""
    return await _decide(session, run_id, step, body, token, EventType.APPROVAL_REJECTED)


async def _decide(
    session: Session,
    run_id: str,
    step: str,
    body: bytes | None,
    token: str | None,
    verdict: EventType,
) -> Decided:
    """Use the approval's token up, then say what was decided.

    Args:
        session: the connection.
        run_id: the full id of the run.
        step: the step that waits.
        body: JSON; the output of the step, or the reason of its failure.
        token: what the caller presents; ``None``: an operator, whose access to the store is proof.
        verdict: the event to publish.

    Raises:
        InvalidError: the body is not JSON; the token is still good then.
        NotFoundError: nothing waits for approval there.
        RefusedError: the token is not the right one.
        ConflictError: somebody else was faster.
    """
    given = ABSENT if body is None else parse_json_input(body, "body")
    entry = await entry_of(session.stores.approvals, f"{run_id}.{step}")
    if entry is None:
        raise NotFoundError(
            f'nothing waits for approval at step "{step[:64]}" of run {run_id[:64]}',
            "it may be decided or expired; see 'dagnats run status'",
        )
    _check_token(session, entry, token)
    try:
        await session.stores.approvals.delete(entry.key, entry.revision)
    except ConflictError:
        raise ConflictError("token already consumed: somebody else has decided") from None
    try:
        await _publish(session, run_id, step, verdict, given, f".{entry.revision}")
    except BaseException:
        await session.stores.approvals.put(entry.key, entry.value)  # It was not used after all.
        raise
    status = "approved" if verdict == EventType.APPROVAL_GRANTED else "rejected"
    await audit.record(session, f"approval.{status}", f"{run_id}.{step}")
    return Decided(run_id, step, status)


def _check_token(session: Session, entry: Entry[ApprovalToken], token: str | None) -> None:
    expires = read_time(entry.value.expires_at)
    if expires is not None and expires <= session.now():
        raise ConflictError("token not found or expired", "the approval has timed out")
    if token is None:
        return
    # Digests first: comparing takes the same time whatever the lengths.
    given, known = (hashlib.sha256(text.encode()).digest() for text in (token, entry.value.token))
    if not hmac.compare_digest(given, known):
        raise RefusedError("invalid token")


async def _publish(
    session: Session, run_id: str, step: str, kind: EventType, payload: msgspec.Raw, unique: str
) -> None:
    event = Event(
        type=kind.value,
        run_id=run_id,
        step_id=step,
        timestamp=format_time(session.now()),
        payload=payload,
    )
    msg_id = msgids.event(run_id, event.type, step) + unique
    await session.bus.publisher.publish(Outgoing(subjects.history(run_id), encode(event), msg_id))


async def pending_approvals(session: Session) -> list[ApprovalToken]:
    """What waits for somebody's decision, longest first. Tokens are masked."""
    found = [
        msgspec.structs.replace(entry.value, token=MASK)
        async for entry in entries_of(session.stores.approvals)
    ]
    return sorted(found, key=lambda record: (read_time(record.created_at) or 0, record.run_id))
