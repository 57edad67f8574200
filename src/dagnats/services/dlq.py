"""The dead-letter queue: see, replay, discard, and triage by kind of failure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Callable, Iterable

from msgspec import Raw, Struct

from dagnats.errors import ConflictError, DagnatsError, InvalidError, NotFoundError, UsageError
from dagnats.model.codec import ABSENT, encode, raw
from dagnats.model.event import Event, EventType, ReopenPayload
from dagnats.model.records import DeadLetter
from dagnats.model.run import RunStatus
from dagnats.model.times import format_time
from dagnats.services import audit
from dagnats.services.infos import stream_info
from dagnats.services.run_query import RUN_PREFIX
from dagnats.services.runs import parse_json_input
from dagnats.services.session import Session
from dagnats.wire import subjects
from dagnats.wire.publisher import Outgoing

REOPENABLE = frozenset({RunStatus.FAILED.value, RunStatus.COMPENSATE_FAILED.value})
DEAD = "DEAD_LETTERS"
HISTORY_CONSUMER = "WORKFLOW_HISTORY"
"""What stands in the consumer header of a history event that could not be processed."""

FINGERPRINT_CHARACTERS = 200
"""How much of an error text tells one kind of failure from another."""


class DeadPage(Struct, frozen=True):
    """Dead letters, oldest first.

    Args:
        entries: those that were wanted.
        total: how many there are in the queue, wanted or not.
        truncated: more were wanted than are shown.
    """

    entries: list[DeadLetter]
    total: int
    truncated: bool = False


class Replayed(Struct, frozen=True, kw_only=True):
    """A dead letter that was replayed and has left the queue."""

    sequence: int
    replayed: bool = True
    task: str = ""
    run_id: str = ""
    step_id: str = ""


class ReplayFailure(Struct, frozen=True):
    """A dead letter that could not be replayed, and why."""

    sequence: int
    error: str


class ReplayedRun(Struct, frozen=True, kw_only=True):
    """The dead letters of a run that were replayed."""

    run_id: str
    replayed: int
    sequences: list[int]
    entries: list[Replayed] = []
    failed: list[ReplayFailure] = []


class Discarded(Struct, frozen=True, kw_only=True):
    """A dead letter that was thrown away."""

    sequence: int
    discarded: bool = True
    run_id: str = ""
    step_id: str = ""


class DeadGroup(Struct, frozen=True, kw_only=True):
    """Dead letters that failed in the same way.

    Args:
        fingerprint: the task and its error, without numbers and ids; or what else they were
            grouped by.
        id: four hex digits that stand for it.
        first, last: times of the oldest and newest.
        sample: the newest error text.
        sequences: every entry, oldest first.
    """

    fingerprint: str
    id: str
    task: str
    count: int
    first: str
    last: str
    sample: str
    sequences: list[int]


async def list_dead(
    session: Session,
    run_id: str = "",
    limit: int | None = 50,
    newest: bool = False,
    after: int = 0,
) -> DeadPage:
    """Dead letters, oldest first.

    Args:
        session: the connection.
        run_id: only those of this run.
        limit: how many; ``None``: all.
        newest: if there are more than ``limit``, the newest of them instead of the oldest.
        after: only those behind this sequence.

    Raises:
        UsageError: ``limit`` is not positive.
    """
    if limit is not None and limit < 1:
        raise UsageError("--limit must be positive; use --all for no limit")
    store, total = session.stores.dead_letters, await session.stores.dead_letters.count()
    if newest and limit and not run_id and not after:
        entries = sorted(await store.newest(limit), key=lambda letter: letter.sequence)
        return DeadPage(entries, total, total > len(entries))
    entries: list[DeadLetter] = []
    async for letter in store.scan(after, run_id):
        if limit is not None and len(entries) == limit and not newest:
            return DeadPage(entries, total, truncated=True)
        entries.append(letter)
    shown = entries[-limit:] if limit else entries
    return DeadPage(shown, total, len(shown) < len(entries))


async def get_dead(session: Session, sequence: int) -> DeadLetter:
    """One dead letter.

    Raises:
        NotFoundError: there is none with this sequence.
    """
    letter = await session.stores.dead_letters.get(sequence) if sequence > 0 else None
    if letter is None:
        raise NotFoundError(
            f"dead letter with sequence {sequence} not found", "list them with 'dagnats dlq list'"
        )
    return letter


async def replay(
    session: Session,
    sequence: int,
    input: bytes | None = None,  # noqa: A002
) -> Replayed:
    """Reopen the failed run at the failed step, and take the entry out of the queue.

    Args:
        session: the connection.
        sequence: the entry.
        input: JSON that the step gets instead of its recorded input.

    Raises:
        NotFoundError: there is no such entry, or its run is gone.
        ConflictError: the run is not failed.
        InvalidError: the entry cannot be replayed, or the input is not JSON.
    """
    letter = await get_dead(session, sequence)
    given = ABSENT if input is None else parse_json_input(input)
    await _check_replayable(session, letter)
    await session.bus.publisher.publish(_reopen(letter, given, session.now()))
    await session.stores.dead_letters.delete(sequence)
    await audit.record(session, "dlq.retry", str(sequence), {"run_id": letter.run_id})
    return Replayed(
        sequence=sequence, task=letter.task, run_id=letter.run_id, step_id=letter.step_id
    )


async def _check_replayable(session: Session, letter: DeadLetter) -> None:
    if letter.consumer == HISTORY_CONSUMER or not letter.run_id:
        raise InvalidError(
            f"dead letter {letter.sequence} is a history event, which cannot be replayed",
            f"see it with 'dagnats dlq show {letter.sequence}'",
        )
    entry = await session.stores.runs.get(RUN_PREFIX + letter.run_id)
    if entry is None:
        raise NotFoundError(
            f"run {letter.run_id} of dead letter {letter.sequence} is gone",
            f"discard it with 'dagnats dlq discard {letter.sequence}'",
        )
    if entry.value.status not in REOPENABLE:
        raise ConflictError(
            f"run {letter.run_id} of dead letter {letter.sequence} is not failed "
            f"(status: {entry.value.status})",
            f"discard it with 'dagnats dlq discard {letter.sequence}' if nobody needs it",
        )


def _reopen(letter: DeadLetter, given: Raw, now: int) -> Outgoing:
    event = Event(
        type=EventType.WORKFLOW_REOPENED.value,
        run_id=letter.run_id,
        step_id=letter.step_id,
        timestamp=format_time(now),
        payload=raw(ReopenPayload(dead_letter=letter.sequence, input=given)),
    )
    # Two people who replay one entry reopen the run once.
    msg_id = f"{letter.run_id}.{event.type}.{letter.sequence}"
    return Outgoing(subjects.history(letter.run_id), encode(event), msg_id)


async def replay_run(session: Session, run_id: str) -> ReplayedRun:
    """Replay what is dead of one run. Older entries of the same run leave the queue with it.

    One replay reopens the run as a whole, at every step that failed; the entry that did is the
    newest. Nothing dead of the run is no error: ``replayed`` is 0 then.
    """
    letters = [letter async for letter in session.stores.dead_letters.scan(run_id=run_id)]
    done: list[Replayed] = []
    failed: list[ReplayFailure] = []
    if letters:
        newest = letters[-1]
        try:
            done.append(await replay(session, newest.sequence))
        except DagnatsError as error:
            failed.append(ReplayFailure(newest.sequence, error.message))
        else:
            for letter in letters[:-1]:
                await session.stores.dead_letters.delete(letter.sequence)
    return ReplayedRun(
        run_id=run_id,
        replayed=len(done),
        sequences=[entry.sequence for entry in done],
        entries=done,
        failed=failed,
    )


async def discard(session: Session, sequence: int) -> Discarded:
    """Throw a dead letter away; its run stays as it is.

    Raises:
        NotFoundError: there is none with this sequence.
    """
    letter = await get_dead(session, sequence)
    await session.stores.dead_letters.delete(sequence)
    await audit.record(session, "dlq.discard", str(sequence), {"run_id": letter.run_id})
    return Discarded(sequence=sequence, run_id=letter.run_id, step_id=letter.step_id)


async def follow_dead(session: Session, after_seq: int | None = None) -> AsyncIterator[DeadLetter]:
    """Dead letters as they arrive, for ever.

    Args:
        session: the connection.
        after_seq: begin behind this sequence; 0: with the oldest; ``None``: from now on.
    """
    after = after_seq
    if after is None:
        info = await stream_info(session, DEAD)
        after = int(info["state"]["last_seq"]) if info else 0
    async for letter in session.stores.dead_letters.follow(after):
        yield letter


def fingerprint(letter: DeadLetter) -> str:
    """What a failure has in common with others of its kind: the task, and the error without
    numbers, quoted parts and long hex words.
    """
    text = letter.error[:FINGERPRINT_CHARACTERS].lower()
    text = re.sub(r"\"[^\"]*\"|'[^']*'", "…", text)
    text = re.sub(r"\b[0-9a-f]*[0-9][0-9a-f-]{7,}\b|\d+", "#", text)
    return f"{letter.task}: {' '.join(text.split())}"


GROUPINGS: dict[str, Callable[[DeadLetter], str]] = {
    "error": fingerprint,
    "step": lambda letter: f"{letter.task} / {letter.step_id}",
    "task": lambda letter: letter.task,
    "run": lambda letter: letter.run_id,
}
"""What dead letters can be grouped by."""


def group_dead(
    entries: Iterable[DeadLetter], kind_of: Callable[[DeadLetter], str] = fingerprint
) -> list[DeadGroup]:
    """Dead letters by kind of failure, the most frequent first.

    Args:
        entries: the letters.
        kind_of: what those of a group have in common; see :data:`GROUPINGS`.
    """
    kinds: dict[str, list[DeadLetter]] = {}
    for letter in sorted(entries, key=lambda letter: letter.sequence):
        kinds.setdefault(kind_of(letter), []).append(letter)
    groups = [_group(kind, letters) for kind, letters in kinds.items()]
    return sorted(groups, key=lambda group: (-group.count, group.fingerprint))


def group_id(kind: str) -> str:
    """Four hex digits that stand for a kind of failure."""
    return hashlib.sha256(kind.encode()).hexdigest()[:4]


def _group(kind: str, letters: list[DeadLetter]) -> DeadGroup:
    return DeadGroup(
        fingerprint=kind,
        id=group_id(kind),
        task=letters[0].task,
        count=len(letters),
        first=letters[0].timestamp,
        last=letters[-1].timestamp,
        sample=letters[-1].error,
        sequences=[letter.sequence for letter in letters],
    )


_CLASSES = (
    ("timeout", ("timeout", "timed out", "deadline")),
    ("panic", ("panic", "traceback", "segfault", "crash")),
    ("unrecoverable", ("non-retriable", "non_retriable", "unrecoverable", "permanent")),
    ("max-attempts", ("max attempts", "attempts exhausted", "max_attempts")),
)


def reason_class(error: str) -> str:
    """Rough class of a failure by its text: timeout, panic, unrecoverable, max-attempts, other."""
    text = error.lower()
    for name, words in _CLASSES:
        if any(word in text for word in words):
            return name
    return "other"
