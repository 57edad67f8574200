"""What a wait looks for, and what ends it.

The right side of a match is looked up once, when the wait begins.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Raw

from dagnats.engine.run import Run
from dagnats.engine.turn import Turn
from dagnats.errors import InvalidError
from dagnats.model.codec import parse_json, raw
from dagnats.model.conditions import matches
from dagnats.model.event import Event, EventType
from dagnats.model.paths import PathError, lookup
from dagnats.model.records import EventWaiter, ResolvedMatch
from dagnats.model.times import format_time, read_time
from dagnats.model.workflow import Match


def resolve(run: Run, match: Match) -> ResolvedMatch:
    """A match with its right side looked up in the run.

    Raises:
        PathError: the right side is not there.
    """
    return ResolvedMatch(left=match.left, op=match.op, right=raw(_right_side(run, match.right)))


def _right_side(run: Run, path: str) -> object:
    head, _, rest = path.partition(".")
    if head == "input":
        return lookup(_parsed(bytes(run.snapshot.input)), rest)
    # step.{id}.{anything}.{path}; step ids may contain dots, so the longest known one wins.
    known = [step_id for step_id in run.snapshot.steps if rest.startswith(f"{step_id}.")]
    if head != "step" or not known:
        raise PathError(f'"{path}" names neither input nor a step of this run')
    step_id = max(known, key=len)
    _, _, inner = rest[len(step_id) + 1 :].partition(".")
    output = run.state(step_id).output
    if not output:
        raise PathError(f'step "{step_id}" has no output to compare with')
    return lookup(_parsed(output), inner)


def _parsed(data: bytes) -> object:
    try:
        return parse_json(data or b"null")
    except InvalidError as error:
        raise PathError(error.message) from None


def cancel_waiters(turn: Turn) -> Iterator[tuple[EventWaiter, int]]:
    """The waiters of the run's ``cancel_on`` rules; one whose right side is missing never fits."""
    for index, rule in enumerate(turn.run.plan.definition.cancel_on):
        try:
            match = resolve(turn.run, rule.match) if rule.match.left else ResolvedMatch()
        except PathError:
            continue
        expires = format_time(turn.now + rule.timeout) if rule.timeout else ""
        yield (
            EventWaiter(
                run_id=turn.run.id,
                step_id=f"__cancel_{index}",
                event_type=rule.event,
                match=match,
                action="cancel",
                expires_at=expires,
            ),
            turn.now,
        )


def fits(waiter: EventWaiter, data: object, moment: int) -> bool:
    """Whether an event ends a wait.

    Args:
        waiter: who waits.
        data: the event's body.
        moment: when it was published, ns since 1970.
    """
    expires = read_time(waiter.expires_at)
    if expires is not None and moment > expires:
        return False
    if not waiter.match.left:
        return True
    try:
        left = lookup(data, waiter.match.left)
    except PathError:
        return False
    return matches(left, waiter.match.op, parse_json(bytes(waiter.match.right)))


def match_event(waiter: EventWaiter, body: bytes, seq: int, moment: int) -> tuple[Event, str]:
    """What a published event that fits means for the run that waits, and its message id.

    Args:
        waiter: who waits.
        body: what was published.
        seq: its sequence among the published events.
        moment: when it was published, ns since 1970.
    """
    if waiter.action == "cancel":
        type_, step_id = EventType.WORKFLOW_CANCELLED, ""
        msg_id = f"{waiter.run_id}.{type_}"
    else:
        type_, step_id = EventType.WAIT_MATCHED, waiter.step_id
        msg_id = f"{waiter.run_id}.{step_id}.{type_}.{seq}"
    event = Event(
        type=type_.value,
        run_id=waiter.run_id,
        step_id=step_id,
        timestamp=format_time(moment),
        payload=Raw(body),
    )
    return event, msg_id
